"""What a generator's records say of swaps: failures, silence, and which version answered when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.serving.load import Report
from bench.serving.mover import Moved

_OK = 200


@dataclass(frozen=True, slots=True)
class Part:
    """Requests that were due in a span of time; latencies and silence in milliseconds."""

    n: int
    n_failed: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    stall_ms: float

    def __str__(self) -> str:
        """Write it on one line."""
        return (
            f"{self.n:,} requests, {self.n_failed} failed, p50 {self.p50_ms:.2f}, p99"
            f" {self.p99_ms:.2f}, p99.9 {self.p999_ms:.2f}, max {self.max_ms:.1f}, largest stall"
            f" {self.stall_ms:.1f} ms"
        )


def part(records: NDArray[np.void], from_s: float, to_s: float) -> Part:
    """Return what came of the requests that were due in a span of time."""
    found = records[(records["due"] >= from_s) & (records["due"] < to_s)]
    if not len(found):
        return Part(0, 0, *[float("nan")] * 5)
    times = (found["done"] - found["due"]) * 1e3
    p50, p99, p999 = np.quantile(times, (0.5, 0.99, 0.999), method="higher")
    n_failed = int((found["status"] != _OK).sum())
    stall = float(silences(found).max(initial=0.0)) * 1e3
    return Part(
        len(found), n_failed, float(p50), float(p99), float(p999), float(times.max()), stall
    )


def silences(records: NDArray[np.void]) -> NDArray[np.float64]:
    """Return how long it was silent before each answer while somebody waited; seconds.

    Examples
    --------
    Two requests, due at 0 and at 1 s, answered at 0.5 s and at 3 s: nobody waits from 0.5 s
    to 1 s, so the longest silence is 2 s.

    >>> from bench.serving.load import RECORD
    >>> rows = [(0.0, 0.0, 0.5, 200, 0), (1.0, 1.0, 3.0, 200, 0)]
    >>> silences(np.array(rows, RECORD)).tolist()
    [0.5, 2.0]
    """
    ordered = records[np.argsort(records["done"], kind="stable")]
    done = ordered["done"]
    # Of those that are not answered yet, since when the first waits.
    waits = np.minimum.accumulate(ordered["due"][::-1])[::-1]
    before = np.concatenate([waits[:1], done[:-1]])
    found: NDArray[np.float64] = done - np.maximum(before, waits)
    return found


@dataclass(frozen=True, slots=True)
class Followed:
    """How a move was followed.

    Parameters
    ----------
    move : Moved
        The move.
    first_s : float
        Seconds from its call to the first answer of its version; NaN: none before the next.
    last_s : float
        Seconds from its call to the last answer of the version before; 0: none after it.
    """

    move: Moved
    first_s: float
    last_s: float


def followed(report: Report, moves: Sequence[Moved]) -> list[Followed]:
    """Return how each move was followed before the next one was made."""
    done, names = report.records["done"], _names(report)
    found = []
    for at, move in enumerate(moves):
        until_s = moves[at + 1].called_s if at + 1 < len(moves) else np.inf
        span = (done >= move.called_s) & (done < until_s)
        its = done[span & (names == move.version)]
        others = done[span & (names != move.version) & (names != "")]
        first_s = float(its.min()) - move.called_s if len(its) else float("nan")
        last_s = float(others.max()) - move.called_s if len(others) else 0.0
        found.append(Followed(move, first_s, last_s))
    return found


@dataclass(frozen=True, slots=True)
class Versions:
    """Whether every answer came of a version that was live.

    Parameters
    ----------
    n_current : int
        Of the newest champion at the time of the answer.
    n_before : int
        Of the champion before it: the server had not followed yet.
    n_wrong : int
        Of neither, or answers that name no version.
    """

    n_current: int
    n_before: int
    n_wrong: int


def versions(report: Report, moves: Sequence[Moved], first: str) -> Versions:
    """Compare the version of every good answer with the champions of its time."""
    good = report.records["status"] == _OK
    done, names = report.records["done"][good], _names(report)[good]
    live = np.array([first, first, *[each.version for each in moves]])
    newest = np.searchsorted([each.called_s for each in moves], done, side="right")
    is_current = names == live[newest + 1]
    is_before = ~is_current & (names == live[newest])
    n_wrong = int((~is_current & ~is_before).sum())
    return Versions(int(is_current.sum()), int(is_before.sum()), n_wrong)


def _names(report: Report) -> NDArray[np.str_]:
    """Return the version of each record; empty where it names none."""
    known = np.array([*[each.text for each in report.marks], ""])
    found: NDArray[np.str_] = known[report.records["mark"]]
    return found
