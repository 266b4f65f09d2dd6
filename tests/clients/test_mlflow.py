"""MLflow's scoring client, as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from renewal import __version__


@pytest.fixture(scope="module")
def said(answers: Callable[..., Any]) -> Any:
    """Return what the client saw."""
    return answers("kserve", "mlflow_client.py")


def test_the_version_is_ours(said: Any) -> None:
    assert said["version"] == __version__


def test_every_form_gives_the_same_predictions(said: Any) -> None:
    expected = said["dataframe_split"]
    assert [type(value) for value in expected] == [float] * 3
    for form in ("shuffled", "unnamed", "matrix", "list", "records", "instances", "inputs"):
        assert said[form] == expected, form
    assert said["frame"] == [3, 1]


def test_labels_and_probabilities_by_model_and_version(said: Any) -> None:
    labels = [int(row[1] > row[0]) for row in said["probabilities"]]
    assert said["labels"] == labels
    assert said["second"] != said["probabilities"]
    assert all(sum(row) == pytest.approx(1) for row in said["second"])


def test_errors_are_told_by_the_client(said: Any) -> None:
    for name, status, code in (
        ("unknown", 404, "RESOURCE_DOES_NOT_EXIST"),
        ("unnamed_model", 400, "BAD_REQUEST"),
        ("wrong", 400, "BAD_REQUEST"),
    ):
        assert f"error code {status}" in said[name]
        assert code in said[name]
