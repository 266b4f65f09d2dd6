"""Counts of requests, rows and times: none lost, none under a wrong name."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from renewal.core.plan import Arm, Plan
from renewal.serve.counters import SECONDS, SWAP_SECONDS, Counters
from renewal.serve.outcome import Outcome
from renewal.serve.served import Served
from renewal.serve.status import Counts, plan_words

Make = Callable[..., Served]


def of(counts: Counts, family: str) -> dict[tuple[str, ...], list[float]]:
    """Return the series of a family."""
    return dict(counts.get(family, []))


def test_rows_are_counted_by_who_answered_them(served: Make) -> None:
    """Breaks when rows of one version are counted for another, or failed ones as answered."""
    counters = Counters()
    counters.scored("flights", served("A", 3))
    counters.scored("flights", served("B", 2))
    counters.scored("flights", served("C", 5, has_failed=True))
    counters.scored("flights", served("D", 3, ("a", "b")))
    counts = counters.counts()
    first, second = ("flights", "v1", "champion"), ("flights", "v2", "champion")
    assert of(counts, "rows") == {first: [7.0], second: [1.0]}
    assert of(counts, "failed_rows") == {first: [5.0], second: [0.0]}
    assert counters.stats()["rows"] == {"flights": {"v1": 7, "v2": 1}}
    assert counters.stats()["failed_rows"] == {"flights": {"v1": 5}}


def test_a_requests_time_counts_once_in_its_bucket(served: Make) -> None:
    """Breaks when a request of two arms counts twice, or a time lands one bucket off."""
    counters = Counters()
    for latency_ms in (0.5, 0.51, 9999.0, 10001.0):
        counters.scored("flights", served("A")._replace(latency_ms=latency_ms))
    counters.scored("flights", served("B", 2, ("a", "b"))._replace(latency_ms=2.0))
    times = of(counters.counts(), "request_seconds")
    own = times["flights", "v1", "champion"]
    assert [(at, n) for at, n in enumerate(own[:-1]) if n] == [
        (SECONDS.index(0.0005), 1.0),
        (SECONDS.index(0.001), 1.0),
        (SECONDS.index(10.0), 1.0),
        (len(SECONDS), 1.0),
    ]
    assert abs(own[-1] - 20.00101) < 1e-9
    assert sum(times["flights", "mixed", "mixed"][:-1]) == 1.0
    assert sum(sum(each[:-1]) for each in times.values()) == 5.0


def test_replies_are_counted_by_status_protocol_and_who_answered() -> None:
    counters = Counters()
    outcome = Outcome("flights", "v3", "3", "candidate", "P", "P", MappingProxyType({}), (), 1)
    counters.answered(200, "v2", outcome)
    counters.answered(200, "v2", outcome)
    counters.answered(429, "v1", model="flights")
    counters.answered(404, "v2")
    counters.answered(500)
    assert of(counters.counts(), "replies") == {
        ("flights", "v3", "candidate", "v2", "200"): [2.0],
        ("flights", "", "", "v1", "429"): [1.0],
        ("", "", "", "v2", "404"): [1.0],
        ("", "", "", "page", "500"): [1.0],
    }
    stats = counters.stats()
    assert (stats["n_requests"], stats["n_refused"], stats["n_failed"]) == (5, 2, 1)
    assert stats["by_status"] == {200: 2, 429: 1, 404: 1, 500: 1}


def test_quiet_is_measured_from_the_end_of_the_last_request() -> None:
    counters = Counters()
    counters.open()
    assert (counters.n_open, counters.quiet_s) == (1, 0.0)
    counters.gone()
    counters.close()
    assert counters.n_open == 0
    assert counters.quiet_s > 0.0
    assert of(counters.counts(), "gone") == {(): [1.0]}


def test_swaps_and_failures_are_counted_and_the_newest_are_told() -> None:
    counters = Counters()
    plan = Plan("flights", "canary", (Arm("champion", "a", 0.9), Arm("candidate", "b", 0.1)))
    for number in range(10):
        counters.swapped("flights", f"{number}", 0.3)
    counters.swapped("flights", plan_words(plan, {"a": "v1", "b": "v2"}), 1000.0)
    counters.swap_failed("flights", "no such bytes")
    counts = counters.counts()
    times = of(counts, "swap_seconds")["flights",]
    assert times[SWAP_SECONDS.index(0.5)] == 10.0
    assert times[len(SWAP_SECONDS)] == 1.0
    assert times[-1] == 1003.0
    assert of(counts, "failed_swaps") == {("flights",): [1.0]}
    told = [(each.what, each.is_failure) for each in counters.events]
    assert len(told) == 8
    assert told[-2:] == [("canary: v1 90%, v2 10%", False), ("no such bytes", True)]


def test_shadow_rows_and_labels_have_their_own_counts(served: Make) -> None:
    counters = Counters()
    counters.shadowed("flights", served("A", 3, is_shadow=True))
    counters.shadowed("flights", served("A", 2, is_shadow=True, has_failed=True))
    counters.labelled("flights", 4)
    counters.labelled("flights", 1)
    counts = counters.counts()
    assert of(counts, "shadow_rows") == {("flights", "v1"): [3.0]}
    assert of(counts, "failed_shadow_rows") == {("flights", "v1"): [2.0]}
    assert of(counts, "labels") == {("flights",): [5.0]}
    assert counters.stats()["rows"] == {}
