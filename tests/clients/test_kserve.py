"""KServe's clients, as they come: V1 and V2 over REST, and gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def said(answers: Callable[..., Any], server: Any) -> Any:
    """Return what the clients saw."""
    return answers("kserve", "kserve_client.py", f"127.0.0.1:{server.grpc_port}")


def check_labels(outputs: Any, n_rows: int = 3) -> None:
    probability = np.reshape(outputs["probability"], (n_rows, 2))
    assert outputs["label"] == probability.argmax(axis=1).tolist()


def test_v1_health(said: Any) -> None:
    v1 = said["v1"]
    assert v1["live"] is True
    assert v1["ready"] is True
    assert v1["unknown_ready"]["status"] == 404


def test_v1_predicts_in_every_form(said: Any) -> None:
    v1 = said["v1"]
    predictions = v1["instances"]["predictions"]
    assert v1["lists"]["predictions"] == predictions
    outputs = v1["inputs"]["outputs"]
    assert outputs["label"] == [row["label"] for row in predictions]
    assert outputs["probability"] == [row["probability"] for row in predictions]
    check_labels(outputs)
    assert v1["version"]["predictions"] != predictions  # the second version
    assert [type(value) for value in v1["regression"]["predictions"]] == [float] * 3
    assert set(v1["headers"]) == {
        "x-renewal-version", "x-renewal-arm", "x-renewal-prediction-id"
    }  # fmt: skip


def test_v1_errors_are_the_clients_own(said: Any) -> None:
    for name, status in (("unknown", 404), ("wrong", 400), ("explain", 501)):
        failed = said["v1"][name]
        assert failed["status"] == status
        # The client writes the text of {"error": ...} into its exception, else the whole body.
        assert "{" not in failed["text"].split("for url")[0], failed["text"]


def test_v2_health(said: Any) -> None:
    v2 = said["v2"]
    assert [v2[name] for name in ("live", "ready", "model_ready", "unknown_ready")] == [
        True, True, True, False
    ]  # fmt: skip


def test_v2_infers_in_json_and_in_binary(said: Any) -> None:
    v2 = said["v2"]
    check_labels(v2["json"]["outputs"])
    assert v2["json"]["version"] == "v1"
    for name in ("binary", "binary_out"):
        assert v2[name]["outputs"] == v2["json"]["outputs"], name
    assert v2["wanted"]["outputs"] == {"label": v2["json"]["outputs"]["label"]}
    assert v2["wanted"]["id"] == "mine"
    assert v2["version"]["version"] == "v2"
    assert v2["version"]["outputs"] != v2["json"]["outputs"]
    rows = said["v1"]["inputs"]["outputs"]
    assert np.ravel(v2["json"]["outputs"]["probability"]).tolist() == pytest.approx(
        np.ravel(rows["probability"]).tolist(), abs=1e-12
    )


def test_v2_errors_are_the_clients_own(said: Any) -> None:
    for name, status in (("unknown", 404), ("wrong", 400)):
        failed = said["v2"][name]
        assert failed["status"] == status
        assert "{" not in failed["text"].split("for url")[0], failed["text"]


def test_grpc(said: Any) -> None:
    grpc = said["grpc"]
    assert [grpc[name] for name in ("live", "ready", "model_ready")] == [True, True, True]
    for name in ("typed", "raw"):
        assert grpc[name]["outputs"] == said["v2"]["json"]["outputs"], name
    assert grpc["typed"]["id"] == "mine"
    assert grpc["version"]["version"] == "2"
    assert grpc["unknown"]["status"] == "NOT_FOUND"
    assert grpc["unknown_ready"]["status"] == "NOT_FOUND"
    assert grpc["wrong"]["status"] == "INVALID_ARGUMENT"
