"""What a server has answered, refused and failed, counted while it serves."""

from __future__ import annotations

import threading
from collections import Counter
from time import monotonic
from typing import Any

from renewal.serve.served import Served

_REFUSED, _FAILED = 400, 500


class Counters:
    """Counts of requests by status, and of rows and failures by model and version.

    Notes
    -----
    The lock is held for a few additions; every method costs about a microsecond.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_status: Counter[int] = Counter()
        self._rows: dict[str, Counter[str]] = {}
        self._failures: dict[str, Counter[str]] = {}
        self._n_open = 0
        self._n_gone = 0
        self._last_s = monotonic()

    def open(self) -> None:
        """Count a request that has come."""
        with self._lock:
            self._n_open += 1
            self._last_s = monotonic()

    def close(self) -> None:
        """Count a request as over."""
        with self._lock:
            self._n_open -= 1
            self._last_s = monotonic()

    def gone(self) -> None:
        """Count a client that left before its request was complete."""
        with self._lock:
            self._n_gone += 1

    def answered(self, status: int) -> None:
        """Count a reply."""
        with self._lock:
            self._by_status[status] += 1

    def scored(self, model: str, served: Served) -> None:
        """Count the rows that each version answered, or failed on."""
        with self._lock:
            rows = self._rows.setdefault(model, Counter())
            failures = self._failures.setdefault(model, Counter())
            for part in served.parts:
                counted = failures if part.scores is None else rows
                counted[part.loaded.version.name] += len(part.rows)

    @property
    def n_open(self) -> int:
        """Requests that are not answered yet."""
        return self._n_open

    @property
    def quiet_s(self) -> float:
        """Seconds since a request came or was answered; 0 while one is open."""
        with self._lock:
            return 0.0 if self._n_open else monotonic() - self._last_s

    def stats(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        with self._lock:
            by_status = dict(self._by_status)
            return {
                "n_requests": sum(by_status.values()),
                "n_refused": sum(
                    n for status, n in by_status.items() if _REFUSED <= status < _FAILED
                ),
                "n_failed": sum(n for status, n in by_status.items() if status >= _FAILED),
                "n_gone": self._n_gone,
                "n_open": self._n_open,
                "by_status": by_status,
                "rows": {model: dict(each) for model, each in self._rows.items()},
                "failed_rows": {model: dict(each) for model, each in self._failures.items()},
            }
