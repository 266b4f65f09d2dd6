"""The time that a strategy may take: spent on choosing only as far as the last fit allows."""

from __future__ import annotations

import math
import time

from renewal.core.errors import Refused


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


def demand_time(facts: object, n_trained_rows: int, n_rows: int, budget_s: float | None) -> None:
    """Refuse a budget in which not even one fit has room, as far as the champion's tells.

    Parameters
    ----------
    facts : mapping
        Of the champion; ``fit_s`` among them where its fit was timed.
    n_trained_rows : int
        Rows of that fit.
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
    fit_s = facts.get("fit_s") if isinstance(facts, dict) else None
    if budget_s is None or not fit_s or not n_trained_rows:
        return
    least_s = float(fit_s) * min(1.0, n_rows / n_trained_rows)
    if least_s > budget_s:
        raise Refused(
            "retrain",
            needs=f"{least_s:.1f} s for one fit of {n_rows:,} rows: the champion's took "
            f"{float(fit_s):.1f} s for {n_trained_rows:,}",
            came=f"a budget of {budget_s:.1f} s",
            todo="Give it more time, a shorter window, or take a cheaper strategy.",
            budget_s=budget_s,
            fit_s=fit_s,
        )
