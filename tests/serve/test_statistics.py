"""The statistics extension: counts that add up, by version, in Triton's shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

DURATIONS = {
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
}


@pytest.fixture
def client(home: Any) -> Any:
    home.declare()
    first, second = home.version(seed=0), home.version(seed=1)
    home.champion(first)
    home.canary(first, second, 0.5, shadow=False)
    return home.client(home.start())


def stats(client: Any, path: str = "/v2/models/stats") -> dict[str, Any]:
    found = client.send("GET", path)
    assert found.status == 200
    return {f"{each['name']} {each['version']}": each for each in found.body["model_stats"]}


def test_requests_rows_and_batches_are_counted_by_version(client: Any) -> None:
    for version, n_rows in (("1", 3), ("1", 2), ("2", 5)):
        body = _request(n_rows)
        assert (
            client.send("POST", f"/v2/models/flights/versions/{version}/infer", body).status == 200
        )
    found = stats(client)
    assert set(found) == {"flights 1", "flights 2"}
    one, two = found["flights 1"], found["flights 2"]
    assert (one["inference_count"], one["execution_count"]) == (5, 2)
    assert (two["inference_count"], two["execution_count"]) == (5, 1)
    assert set(one["inference_stats"]) == DURATIONS
    assert one["inference_stats"]["success"]["count"] == 2
    assert [each["batch_size"] for each in one["batch_stats"]] == [2, 3]
    for each in found.values():
        times = each["inference_stats"]
        parts = times["queue"]["ns"] + times["compute_infer"]["ns"]
        assert abs(parts - times["success"]["ns"]) <= 2
        assert all(part["ns"] >= 0 for part in times.values())
        # By the clock of the server, which these tests hold still.
        assert each["last_inference"] == 1_767_225_600_000


def test_of_one_version_and_of_none(client: Any) -> None:
    assert set(stats(client, "/v2/models/flights/stats")) == {"flights 1", "flights 2"}
    assert set(stats(client, "/v2/models/flights/versions/champion/stats")) == {"flights 1"}
    for wrong in ("flights/versions/7", "none"):
        refused = client.send("GET", f"/v2/models/{wrong}/stats")
        assert refused.status == 404
        assert set(refused.body) == {"error"}


class _Moody(LogisticRegression):  # type: ignore[misc]  # scikit-learn ships no types
    """Raises on rows whose first column is large."""

    def predict_proba(self, values: Any) -> Any:
        if np.asarray(values)[:, 0].max() > 100:
            raise FloatingPointError("too large")
        return super().predict_proba(values)


def test_failures_are_counted_apart(home: Any) -> None:
    home.declare()
    version = home.version(estimator=_Moody())
    home.champion(version)
    client = home.client(home.start(native="thread", trust=(f"{_Moody.__module__}._Moody",)))
    assert client.infer("flights").status == 200
    body = _request(1)
    body["inputs"][0]["data"] = [1000.0]
    assert client.send("POST", "/v2/models/flights/infer", body).status == 500
    found = stats(client)["flights 1"]["inference_stats"]
    assert (found["success"]["count"], found["fail"]["count"]) == (1, 1)
    assert found["fail"]["ns"] > 0


def _request(n_rows: int) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": name, "shape": [n_rows], "datatype": "FP64", "data": [0.5] * n_rows}
            for name in ("distance", "hour", "carrier_delay")
        ]
    }
