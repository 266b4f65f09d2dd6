"""What a server has answered, refused and failed, counted while it serves.

The request path only adds to plain numbers, on the event loop's thread and without a lock; who
wants to know copies them from another thread. What happens rarely, such as a swap, takes a lock.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from time import monotonic
from typing import Any

from renewal.serve.outcome import MIXED, Outcome
from renewal.serve.served import Served
from renewal.serve.status import Counts, Event, Labels

_REFUSED, _FAILED = 400, 500
_N_EVENTS = 8
_PAGE = "page"

SECONDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Upper ends of the buckets of request times; one more bucket takes what is longer."""
SWAP_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper ends of the buckets of swap times."""
_MS = tuple(1e3 * each for each in SECONDS)


class _Series:
    """What one version has answered through one arm; ``mixed``: requests of several arms."""

    __slots__ = (
        "buckets",
        "failed_ms",
        "last_us",
        "n_failed",
        "n_failed_rows",
        "n_rows",
        "total_ms",
    )

    def __init__(self) -> None:
        self.n_rows = 0
        self.n_failed_rows = 0
        self.n_failed = 0
        self.failed_ms = 0.0
        self.last_us = 0
        self.total_ms = 0.0
        self.buckets = [0] * (len(_MS) + 1)


class Counters:
    """Counts of requests, rows and their times by model, version and arm.

    Notes
    -----
    A request costs about a microsecond: `open`, `scored`, `answered` and `close` together.
    They belong on the event loop's thread; the other verbs may be called from anywhere.

    Examples
    --------
    >>> counters = Counters()
    >>> counters.open(); counters.answered(404); counters.close()
    >>> counters.stats()["n_refused"]
    1
    """

    def __init__(self) -> None:
        self._series: dict[Labels, _Series] = {}
        self._replies: dict[tuple[str, str, str, str, int], int] = {}
        self._n_open = 0
        self._n_gone = 0
        self._last_s = monotonic()
        self._lock = threading.Lock()
        self._rare: dict[str, dict[Labels, list[float]]] = {}
        self._events: deque[Event] = deque(maxlen=_N_EVENTS)

    def open(self) -> None:
        """Count a request that has come."""
        self._n_open += 1
        self._last_s = monotonic()

    def close(self) -> None:
        """Count a request as over."""
        self._n_open -= 1
        self._last_s = monotonic()

    def gone(self) -> None:
        """Count a client that left before its request was complete."""
        self._n_gone += 1

    def answered(
        self, status: int, protocol: str = _PAGE, outcome: Outcome | None = None, *, model: str = ""
    ) -> None:
        """Count a reply.

        Parameters
        ----------
        status : int
            HTTP; of gRPC what HTTP would have said, so that one alarm covers both.
        protocol : str, default "page"
            That of the front; what is no prediction is ``page``.
        outcome : Outcome or None
            What was answered; None where there is no prediction in it.
        model : str, default ""
            Where there is no outcome: a model of the server, never what a client has made up.
        """
        if outcome is None:
            key = (model, "", "", protocol, status)
        else:
            key = (outcome.model, outcome.version, outcome.arm, protocol, status)
        try:
            self._replies[key] += 1
        except KeyError:
            self._replies[key] = 1

    def scored(self, model: str, served: Served) -> None:
        """Count the rows that each version answered, or failed on, and the request's time."""
        parts = served.parts
        part = parts[0]
        # One part is the rule, and this way it costs half a microsecond.
        series = self._series.get((model, part.loaded.number, part.arm))
        if series is None or part.scores is None or len(parts) != 1:
            series = self._count_rows(model, served)
        else:
            series.n_rows += len(part.rows)
        took_ms = served.latency_ms
        series.total_ms += took_ms
        series.last_us = served.predicted_us
        series.buckets[bisect_left(_MS, took_ms)] += 1

    def shadowed(self, model: str, served: Served) -> None:
        """Count rows that were scored for evidence only; from any thread."""
        for part in served.parts:
            name = "shadow_rows" if part.scores is not None else "failed_shadow_rows"
            self._add(name, (model, part.loaded.version.name), float(len(part.rows)))

    def labelled(self, model: str, n_labels: int) -> None:
        """Count labels that came by feedback; from any thread."""
        self._add("labels", (model,), float(n_labels))

    def swapped(self, model: str, what: str, took_s: float) -> None:
        """Count a swap; from any thread.

        Parameters
        ----------
        model : str
            Whose.
        what : str
            A few words for people, such as ``canary v1 90% + v2 10%``.
        took_s : float, seconds
            From its start to the flip of the pointer.
        """
        buckets = [0.0] * (len(SWAP_SECONDS) + 2)
        buckets[bisect_left(SWAP_SECONDS, took_s)] = 1.0
        buckets[-1] = took_s
        self._add("swap_seconds", (model,), *buckets)
        self._events.append(Event(time.time(), model, what))

    def swap_failed(self, model: str, why: str) -> None:
        """Count a swap that failed; from any thread."""
        self._add("failed_swaps", (model,), 1.0)
        self._events.append(Event(time.time(), model, why, is_failure=True))

    @property
    def n_open(self) -> int:
        """Requests that are not answered yet."""
        return self._n_open

    @property
    def quiet_s(self) -> float:
        """Seconds since a request came or was answered; 0 while one is open."""
        return 0.0 if self._n_open else monotonic() - self._last_s

    @property
    def events(self) -> list[Event]:
        """The newest swaps and failed swaps, the oldest first."""
        return list(self._events)

    def last_ms(self, model: str, number: str) -> int:
        """Return when a version answered last, in milliseconds since 1970; 0: never here."""
        found = [
            each.last_us for key, each in self._series.copy().items() if key[:2] == (model, number)
        ]
        return max(found, default=0) // 1000

    def counts(self) -> Counts:
        """Return everything that only grows, in the form in which workers are added up."""
        # dict.copy does not let go of the interpreter: the loop's thread cannot add meanwhile.
        series = [(_named(key), each) for key, each in self._series.copy().items()]
        replies = self._replies.copy()
        counts: Counts = {
            "replies": [((*key[:4], str(key[4])), [float(n)]) for key, n in replies.items()],
            "rows": [(key, [float(each.n_rows)]) for key, each in series if key[1] != MIXED],
            "failed_rows": [
                (key, [float(each.n_failed_rows)]) for key, each in series if key[1] != MIXED
            ],
            "request_seconds": [
                (key, [*map(float, each.buckets), each.total_ms / 1e3]) for key, each in series
            ],
            "failed_requests": [
                (key, [float(each.n_failed), each.failed_ms / 1e3])
                for key, each in series
                if key[1] != MIXED
            ],
            "gone": [((), [float(self._n_gone)])],
        }
        with self._lock:
            rare = {
                family: [(labels, list(values)) for labels, values in each.items()]
                for family, each in self._rare.items()
            }
        return {**counts, **rare}

    def stats(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        by_status: dict[int, int] = {}
        for key, n in self._replies.copy().items():
            by_status[key[4]] = by_status.get(key[4], 0) + n
        rows: dict[str, dict[str, int]] = {}
        failed: dict[str, dict[str, int]] = {}
        for series, each in self._series.copy().items():
            model, version, _arm = _named(series)
            for found, n in ((rows, each.n_rows), (failed, each.n_failed_rows)):
                if n:
                    there = found.setdefault(model, {})
                    there[version] = there.get(version, 0) + n
        return {
            "n_requests": sum(by_status.values()),
            "n_refused": sum(n for status, n in by_status.items() if _REFUSED <= status < _FAILED),
            "n_failed": sum(n for status, n in by_status.items() if status >= _FAILED),
            "n_gone": self._n_gone,
            "n_open": self._n_open,
            "by_status": by_status,
            "rows": rows,
            "failed_rows": failed,
        }

    def _count_rows(self, model: str, served: Served) -> _Series:
        """Count the rows of every part; return where the request's time belongs."""
        for part in served.parts:
            series = self._of(model, part.loaded.number, part.arm)
            if part.scores is None:
                series.n_failed_rows += len(part.rows)
                series.n_failed += 1
                series.failed_ms += served.latency_ms
            else:
                series.n_rows += len(part.rows)
        return series if len(served.parts) == 1 else self._of(model, MIXED, MIXED)

    def _of(self, model: str, number: str, arm: str) -> _Series:
        key = (model, number, arm)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        return series

    def _add(self, family: str, labels: Labels, *values: float) -> None:
        with self._lock:
            there = self._rare.setdefault(family, {})
            before = there.get(labels, [0.0] * len(values))
            there[labels] = [a + b for a, b in zip(before, values, strict=True)]


def _named(key: Labels) -> Labels:
    model, number, arm = key
    return (model, number if number == MIXED else f"v{number}", arm)
