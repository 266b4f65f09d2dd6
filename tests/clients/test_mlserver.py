"""MLServer's types, codecs and command line, as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def said(answers: Callable[..., Any]) -> Any:
    """Return what they saw."""
    return answers("mlserver", "mlserver_client.py")


def test_metadata_is_of_their_types(said: Any) -> None:
    assert said["server"]["name"] == "renewal"
    assert said["model"]["name"] == "flights"
    assert [each["name"] for each in said["model"]["inputs"]] == [
        "distance", "hour", "carrier_delay"
    ]  # fmt: skip


def test_their_codecs_are_understood(said: Any) -> None:
    frame = said["frame"]
    probability = np.reshape(frame["outputs"]["probability"], (3, 2))
    assert np.ravel(frame["outputs"]["label"]).tolist() == probability.argmax(axis=1).tolist()
    for form in ("matrix", "flat"):
        assert said[form]["outputs"] == frame["outputs"], form
    assert frame["version"] == "1"
    assert said["version"]["version"] == "2"
    assert said["version"]["outputs"] != frame["outputs"]
    assert said["parameters"]["id"] == "mine"
    assert said["parameters"]["outputs"] == {"label": frame["outputs"]["label"]}
    assert {"prediction_id", "version", "arm"} <= set(frame["parameters"])


def test_errors_are_of_their_type(said: Any) -> None:
    assert said["unknown"]["status"] == 404
    assert said["wrong"]["status"] == 400
    assert "houur" in said["wrong"]["error"]


@pytest.mark.parametrize("name", ["command", "binary_command"])
def test_the_command_infers_over_a_file(said: Any, name: str) -> None:
    answered = sorted(said[name], key=lambda each: each["parameters"]["batch_index"])
    assert len(answered) == 3
    for at, each in enumerate(answered):
        outputs = {output["name"]: output["data"] for output in each["outputs"]}
        alone = said["frame"]["outputs"]
        assert outputs["label"] == np.ravel(alone["label"])[at : at + 1].tolist()
        np.testing.assert_allclose(outputs["probability"], np.ravel(alone["probability"][at]))
