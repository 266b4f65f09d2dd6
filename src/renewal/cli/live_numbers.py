"""What the live view says in numbers: counts of all workers, and what they grew by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from renewal.serve.status import Counts, Ended, Labels, WorkerStatus

WINDOW_S = 5.0
"""Over how long rates and times are taken."""

Series = Mapping[tuple[str, ...], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the run folder said at one moment.

    Parameters
    ----------
    at_s : float, seconds
        When; of any clock that only goes forward.
    workers : sequence of WorkerStatus
        All that live.
    counts : mapping
        Of the living and the gone, by family and labels.
    """

    at_s: float
    workers: Sequence[WorkerStatus]
    counts: Mapping[str, Series] = field(default_factory=dict)

    def of(self, family: str) -> Series:
        """Return the counts of a family."""
        return self.counts.get(family, {})


def seen(at_s: float, workers: Sequence[WorkerStatus], ended: Ended) -> Seen:
    """Add up what workers say."""
    added = import_module("renewal.serve.status").added
    counts: Counts = added([ended.counts, *(each.counts for each in workers)])
    return Seen(at_s, workers, {family: dict(series) for family, series in counts.items()})


class Change:
    """What two looks differ by."""

    def __init__(self, before: Seen, now: Seen) -> None:
        self.now = now
        self._before = before
        self._took_s = now.at_s - before.at_s

    def between(self, family: str, labels: Labels) -> list[float]:
        """Return by how much the numbers of a series have grown."""
        now = self.now.of(family).get(labels, ())
        before = self._before.of(family).get(labels, [0.0] * len(now))
        return [b - a for a, b in zip(before, now, strict=True)]

    def rate(self, grown: float) -> float:
        """Return a number per second."""
        return grown / self._took_s if self._took_s > 0 else 0.0


def quantile(buckets: Sequence[float], share: float) -> str:
    """Return the ms below which a share of the requests lay, straight within a bucket.

    Parameters
    ----------
    buckets : sequence of float
        The count of each bucket of request times, then the sum of the times.
    share : float in (0, 1)
        0.5 for the median.
    """
    total = sum(buckets[:-1])
    if not total:
        return ""
    bounds = (0.0, *import_module("renewal.serve.counters").SECONDS)
    left = share * total
    for (low, high), n in zip(pairwise(bounds), buckets, strict=False):
        if left <= n:
            return ms_text(low + (high - low) * left / n)
        left -= n
    return f">{ms_text(bounds[-1])}"


def ms_text(seconds: float) -> str:
    """Return a time in milliseconds, with three digits at least.

    Examples
    --------
    >>> ms_text(0.00123), ms_text(0.25), ms_text(2.0)
    ('1.23', '250', '2,000')
    """
    found = 1e3 * seconds
    return f"{found:,.0f}" if found >= 100 else f"{found:.3g}"


def duration_text(seconds: float) -> str:
    """Return a stretch of time in words.

    Examples
    --------
    >>> duration_text(59), duration_text(61), duration_text(7260)
    ('59s', '1m01s', '2h01m')
    """
    minutes, left = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{left:02d}s" if minutes else f"{left}s"
    )


def number_text(number: float) -> str:
    """Return a number in at most seven characters, up to ten million.

    Examples
    --------
    >>> number_text(0.25), number_text(12345), number_text(1234567)
    ('0.25', '12,345', '1,235k')
    """
    if number and number < 10:
        return f"{number:.2g}"
    return f"{number:,.0f}" if number < 1e5 else f"{number / 1e3:,.0f}k"
