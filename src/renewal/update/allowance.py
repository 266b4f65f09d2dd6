"""The time that a strategy may take: spent on choosing only as far as the last fit allows."""

from __future__ import annotations

import math
import time

from renewal.core.errors import Refused
from renewal.core.version import Version

ONE_FIT = "one_fit_s"
"""The fact of a version that tells how long one fit took, where more than one was made."""

_FROM_SCRATCH = frozenset({"train", "retrain"})


class Allowance:
    """Says whether there is time for another trial before the fits that must follow.

    A fit is taken to cost in proportion to its rows. Until one was timed nobody knows, and
    there is time.

    Parameters
    ----------
    budget_s : float or None, seconds
        In all, from now on; None: no limit.
    n_fits : int >= 1, default 1
        Fits of all rows that must still follow.

    Examples
    --------
    >>> allowance = Allowance(1000.0)
    >>> allowance.note(0.5, 300.0)
    >>> allowance.allows(0.5), allowance.allows(1.0)
    (True, False)
    """

    def __init__(self, budget_s: float | None, n_fits: int = 1) -> None:
        self._until_s = math.inf if budget_s is None else time.perf_counter() + budget_s
        self._n_fits = n_fits
        self._whole_s = 0.0

    def note(self, share: float, seconds: float) -> None:
        """Remember what a fit of a share of the rows took."""
        self._whole_s = max(self._whole_s, seconds / share)

    def allows(self, share: float) -> bool:
        """Say whether a fit of a share of the rows leaves the time for those that must follow."""
        return time.perf_counter() + self._whole_s * (share + self._n_fits) <= self._until_s


def demand_time(champion: Version, n_rows: int, budget_s: float | None) -> None:
    """Refuse a budget in which not even one fit has room, as far as the champion's tells.

    Parameters
    ----------
    champion : Version
        Fitted from scratch, its facts tell how long one fit took; else nobody knows.
    n_rows : int
        Rows of the fit to come.
    budget_s : float or None
        None: no limit.

    Raises
    ------
    Refused
        When as many rows, or fewer, took longer. A fit of more rows is not taken to cost
        more: what is refused here would certainly not do.
    """
    fit_s, n_fitted = _one_fit_s(champion), champion.manifest.n_trained_rows
    if budget_s is None or not fit_s or not n_fitted:
        return
    least_s = fit_s * min(1.0, n_rows / n_fitted)
    if least_s > budget_s:
        raise Refused(
            "retrain",
            needs=f"{least_s:.1f} s for one fit of {n_rows:,} rows: the champion's took "
            f"{fit_s:.1f} s for {n_fitted:,}",
            came=f"a budget of {budget_s:.1f} s",
            todo="Give it more time, a shorter window, or take a cheaper strategy.",
            budget_s=budget_s,
            fit_s=fit_s,
        )


def _one_fit_s(champion: Version) -> float | None:
    """Return how long one fit of the champion took, without trials and folds; None: unknown."""
    facts = champion.facts
    if champion.manifest.strategy not in _FROM_SCRATCH:
        return None
    several = "tuning" in facts or "calibration" in facts
    told = facts.get(ONE_FIT, None if several else facts.get("fit_s"))
    return None if told is None else float(told)
