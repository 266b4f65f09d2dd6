"""Durations as people write them: ``90s``, ``2m``, ``1d``, ``2w``."""

from __future__ import annotations

import re
from datetime import timedelta

from renewal.core.errors import Invalid

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_FORM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def parse_duration(text: str | timedelta, *, who: str = "parse_duration") -> timedelta:
    """Read a duration such as ``"14d"``; a timedelta passes through.

    Parameters
    ----------
    text : str or timedelta
        A number and one of the units ms, s, m, h, d, w.
    who : str
        The verb that asks, for the message.

    Returns
    -------
    timedelta
        Never negative.

    Raises
    ------
    Invalid
        When `text` is no duration.

    Examples
    --------
    >>> parse_duration("2w")
    datetime.timedelta(days=14)
    """
    found: timedelta | None
    if isinstance(text, timedelta):
        found = text
    else:
        match = _FORM.fullmatch(text.strip())
        try:
            found = timedelta(seconds=float(match[1]) * _SECONDS[match[2]]) if match else None
        except OverflowError:  # longer than a calendar can be
            found = None
    if found is None or found < timedelta(0):
        raise Invalid(
            who,
            needs="a duration such as 90s, 2m, 12h, 1d or 2w",
            came=repr(text),
            todo="Write a number and one of the units ms, s, m, h, d, w.",
        )
    return found


def format_duration(duration: timedelta) -> str:
    """Write a duration with the largest unit that divides it.

    Examples
    --------
    >>> format_duration(timedelta(days=14)), format_duration(timedelta(minutes=90))
    ('2w', '90m')
    """
    for unit in ("w", "d", "h", "m", "s"):
        step = timedelta(seconds=_SECONDS[unit])
        if duration % step == timedelta(0) and duration >= step:
            return f"{duration // step}{unit}"
    return f"{duration / timedelta(milliseconds=1):g}ms"
