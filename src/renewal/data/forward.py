"""Timed data is judged forward: fit on the past, judge on what came after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from renewal.core.clock import aware, to_us
from renewal.core.duration import format_duration
from renewal.core.errors import Invalid

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ForwardWindow:
    """Where fitting ends and judging begins, in event time.

    Parameters
    ----------
    fit_until_us : int, microseconds since 1970
        Rows before it may be fitted.
    judge_from_us, judge_until_us : int, microseconds since 1970
        Rows from the first on and before the second are judged. What lies between
        `fit_until_us` and `judge_from_us` is the embargo: used for neither.
    """

    fit_until_us: int
    judge_from_us: int
    judge_until_us: int

    def fitted(self, event_us: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which rows may be fitted, shape (n,)."""
        return np.asarray(event_us < self.fit_until_us, np.bool_)

    def judged(self, event_us: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Return which rows are judged, shape (n,)."""
        return np.asarray(
            (event_us >= self.judge_from_us) & (event_us < self.judge_until_us), np.bool_
        )


def forward_window(
    now: datetime, holdout: timedelta, embargo: timedelta, block: timedelta
) -> ForwardWindow:
    """Return the window that judges the last `holdout` before `now`.

    Judging begins at ``now - holdout``, moved back to the start of a block so that the
    first block is whole; fitting ends `embargo` before that.

    Parameters
    ----------
    now : datetime
        Aware.
    holdout : timedelta, more than 0
        Length of what is judged, at least.
    embargo : timedelta, at least 0
        Gap that keeps labels that were not known yet, and twins of judged rows, out of
        the fit; usually the label delay.
    block : timedelta, more than 0
        Unit of independent evidence.

    Raises
    ------
    Invalid
        On lengths outside these ranges, or a `now` without a zone.

    Examples
    --------
    >>> from datetime import UTC
    >>> from renewal.core.clock import from_us
    >>> day = timedelta(days=1)
    >>> window = forward_window(datetime(2013, 3, 31, 15, tzinfo=UTC), 14 * day, day, day)
    >>> [str(from_us(us))[:13] for us in (window.fit_until_us, window.judge_from_us)]
    ['2013-03-16 00', '2013-03-17 00']
    """
    zero = timedelta(0)
    if holdout <= zero or embargo < zero or block <= zero:
        lengths = [
            str(length) if length < zero else format_duration(length)
            for length in (holdout, embargo, block)
        ]
        raise Invalid(
            "forward_window",
            needs="a holdout and a block longer than 0 and an embargo of at least 0",
            came=f"a holdout of {lengths[0]}, an embargo of {lengths[1]}, a block of {lengths[2]}",
            todo="Correct the gate's options.",
        )
    until_us = to_us(aware(now, who="forward_window"))
    block_us = block // _MICROSECOND
    from_us = (until_us - holdout // _MICROSECOND) // block_us * block_us
    return ForwardWindow(from_us - embargo // _MICROSECOND, from_us, until_us)
