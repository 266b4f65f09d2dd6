"""The exposition of several workers: added up, escaped, and never more labels than models."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from renewal.serve.counters import SECONDS
from renewal.serve.prometheus_metrics import exposition
from renewal.serve.status import ArmStatus, Counts, Ended, ModelStatus, WorkerStatus


def counts(n: float, model: str = "flights", arm: str = "champion") -> Counts:
    """Return counts of n requests of one row each, all of which took a millisecond."""
    buckets = [0.0] * (len(SECONDS) + 2)
    buckets[SECONDS.index(0.001)] = n
    buckets[-1] = n * 0.001
    return {
        "replies": [((model, "v1", arm, "v2", "200"), [n])],
        "rows": [((model, "v1", arm), [n])],
        "request_seconds": [((model, "v1", arm), buckets)],
    }


def worker(number: int, n: float, seq: int = 1, arm: str = "champion") -> WorkerStatus:
    """Return a worker that has answered n requests by the plan of a number."""
    share = 1.0 / seq
    models = {"flights": ModelStatus(seq, "canary", [ArmStatus(arm, "v1", share)], {"v1": 2})}
    return WorkerStatus(
        number,
        100 + number,
        1000.0 + number,
        2000.0,
        is_ready=number == 0,
        models=models,
        gauges={"memory_bytes": 5.0},
        counts=counts(n, arm=arm),
    )


def page(workers: list[WorkerStatus], ended: Ended | None = None) -> dict[str, dict[str, float]]:
    """Return the samples by name and by the values of their labels, joined."""
    found: dict[str, dict[str, float]] = {}
    body, _kind = exposition("", workers, ended or Ended())
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            labels = " ".join(value for _name, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_workers_and_the_gone_are_added_up() -> None:
    found = page([worker(0, 3.0), worker(1, 4.0)], Ended(["x"], counts(5.0)))
    assert found["renewal_requests_total"] == {"champion flights v2 200 v1": 12.0}
    assert found["renewal_request_seconds_count"] == {"champion flights v1": 12.0}
    assert abs(found["renewal_request_seconds_sum"]["champion flights v1"] - 0.012) < 1e-12
    below = found["renewal_request_seconds_bucket"]
    assert below["champion 0.0005 flights v1"] == 0.0
    assert below["champion 0.001 flights v1"] == 12.0
    assert below["champion +Inf flights v1"] == 12.0
    assert found["renewal_queue_rows"] == {"flights v1": 4.0}
    assert found["process_resident_memory_bytes"] == {"": 10.0}
    assert found["process_start_time_seconds"] == {"": 1000.0}
    assert found["renewal_worker_ready"] == {"0": 1.0, "1": 0.0}


def test_weights_are_those_of_the_newest_plan_and_each_worker_tells_its_own() -> None:
    """Breaks when a worker that lags behind hides the plan, or hides that it lags."""
    found = page([worker(0, 1.0, seq=4), worker(1, 1.0, seq=2)])
    assert found["renewal_plan_weight"] == {"champion flights v1": 0.25}
    assert found["renewal_plan_seq"] == {"flights 0": 4.0, "flights 1": 2.0}


def test_label_values_are_escaped() -> None:
    arm = 'a"b\\c\nd'
    found = page([worker(0, 1.0, arm=arm)])
    assert found["renewal_rows_total"] == {f"{arm} flights v1": 1.0}


def test_a_model_that_nobody_knows_is_no_label() -> None:
    """Breaks when requests for made-up models fill the memory of Prometheus."""
    ended = Ended(["x"], {"replies": [
        (("made-up", "", "", "v2", "404"), [1.0]),
        (("another", "", "", "v2", "404"), [2.0]),
    ]})  # fmt: skip
    found = page([worker(0, 1.0)], ended)
    assert found["renewal_requests_total"] == {
        "champion flights v2 200 v1": 1.0,
        "  v2 404 ": 3.0,
    }


def test_every_family_has_its_help_and_type_even_before_the_first_request() -> None:
    body, _kind = exposition("", [WorkerStatus(0, 1, 0.0, 0.0)], Ended())
    lines = body.decode().splitlines()
    told = [line.split()[2] for line in lines if line.startswith("# HELP")]
    typed = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert told == typed
    assert len(set(told)) == len(told)
    assert {"renewal_requests_total", "renewal_swap_total", "renewal_request_seconds"} <= set(told)
