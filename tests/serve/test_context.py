"""Whom the work is for: beside the lines that a failing version and a load leave in the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from renewal.serve.context import known, working_for
from renewal.serve.json_log import JsonFormatter


class Capricious(LogisticRegression):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier that fails on a large distance."""

    def predict_proba(self, X: Any) -> Any:  # noqa: N803  # scikit-learn's name
        """Fail where the first column is large."""
        if np.asarray(X, dtype=float)[:, 0].max() > 1000:
            raise RuntimeError("too far\nfor me")
        return super().predict_proba(X)


class Lines(logging.Handler):
    """Keeps every line as the JSON log writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line; in the thread that wrote it, as its context is that thread's."""
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    handler = Lines()
    logger = logging.getLogger("renewal.serve")
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def test_what_is_set_ends_with_its_block() -> None:
    with working_for(model="a", request_id="1"):
        with working_for(model="b", version="v1"):
            assert known() == {"model": "b", "version": "v1", "request_id": "1"}
        assert known() == {"model": "a", "request_id": "1"}
    assert known() == {}


def test_a_failing_request_is_named_by_its_id(
    home: Any, lines: list[dict[str, Any]], infer_request: Callable[..., dict[str, Any]]
) -> None:
    """Breaks when an operator cannot find the request that a traceback is of."""
    home.declare()
    home.champion(home.version(estimator=Capricious()))
    server = home.start(
        native="thread",
        compiled="never",
        trust=(f"{Capricious.__module__}.Capricious",),
    )
    asked = infer_request()
    for each in asked["inputs"]:
        each["data"] = [5000.0]
    asked["id"] = "order\n66"
    answer = home.client(server).send("POST", "/v2/models/flights/infer", asked)
    assert answer.status == 500
    (line,) = [each for each in lines if each["event"] == "prediction failed"]
    assert (line["model"], line["version"], line["request_id"]) == ("flights", "v1", "order\n66")
    assert line["exception"].endswith("RuntimeError: too far\nfor me")


def test_a_line_of_a_load_names_its_model(home: Any, lines: list[dict[str, Any]]) -> None:
    """Breaks when a line that says only which version could be of any model."""
    home.declare()
    table = pa.table({"carrier": ["UA", "AA"] * 40})
    # It refuses the blank text of a made-up row, and the line of that names the version alone.
    picky = make_pipeline(OneHotEncoder(handle_unknown="error"), LogisticRegression())
    home.champion(home.version(table=table, estimator=picky))
    home.start(native="thread")
    (line,) = [each for each in lines if each["event"] == "warm-up without a real row"]
    assert (line["model"], line["version"]) == ("flights", "v1")
