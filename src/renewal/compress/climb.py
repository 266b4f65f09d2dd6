"""Which levels of a knob a search looks at: around the one that a proof could just reach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Look = Literal["safe", "seems", "fails"]
"""What validation rows say of a level. safe: its bound holds the line, as a proof on as many
test rows would ask. seems: its estimate holds it, give or take two standard errors. fails:
neither, or there is no model."""

N_BOLDER = 5
_TWO = 2.0


def look_of(gain: float, se: float, *, margin: float) -> Look:
    """Return what an estimate says of a level.

    Parameters
    ----------
    gain, se : float
        On the validation rows, with its standard error.
    margin : float
        Largest loss of gain allowed.

    Examples
    --------
    >>> look_of(-0.002, 0.003, margin=0.01), look_of(-0.014, 0.003, margin=0.01)
    ('safe', 'seems')
    """
    if gain - _TWO * se >= -margin:
        return "safe"
    return "seems" if gain + _TWO * se >= -margin else "fails"


def climb(n_levels: int, look: Callable[[int], Look | None], *, n_bolder: int = N_BOLDER) -> None:
    r"""Look at the levels that certification will need, each once.

    The boldest level that is safe is found by bisection: on the bound and not on the estimate,
    since the boldest level whose estimate holds the line is seldom proved. Then
    come milder ones, at twice the distance each time, down to the mildest, so that the tests
    have a first one that they pass; and up to `n_bolder` bolder ones, since test rows may be
    kinder than validation rows.

    Parameters
    ----------
    n_levels : int
        Of the knob, the mildest first.
    look : callable
        Tries a level and says what came of it; None: the time is over, and nothing more is
        looked at.
    n_bolder : int, default 5
        Levels above the boldest safe one.

    Notes
    -----
    At most :math:`2 \log_2 L` and `n_bolder` trials for *L* levels; about 9 of 20.

    Examples
    --------
    >>> seen = []
    >>> climb(20, lambda at: seen.append(at) or ("safe" if at < 6 else "seems"))
    >>> seen
    [9, 4, 6, 5, 3, 1, 0, 7, 8, 10]
    """
    seen: dict[int, Look] = {}

    def at(level: int) -> Look | None:
        if level not in seen:
            found = look(level)
            if found is None:
                return None
            seen[level] = found
        return seen[level]

    low, high = -1, n_levels
    while high - low > 1:
        middle = (low + high) // 2
        found = at(middle)
        if found is None:
            return
        low, high = (middle, high) if found == "safe" else (low, middle)
    for level in _milder(low) if n_levels else ():
        if at(level) is None:
            return
    for level in range(low + 1, min(low + 1 + n_bolder, n_levels)):
        if at(level) in {None, "fails"}:
            return


def _milder(low: int) -> list[int]:
    """Return the levels below one, further apart each time, the mildest last."""
    found = []
    step = 1
    while low - step > 0:
        found.append(low - step)
        step *= 2
    return [*found, 0]
