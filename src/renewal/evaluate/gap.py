"""One question of fairness: how far apart are the groups, and has the candidate moved them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from renewal.evaluate.harm import Worst, worst_of

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Counts = NDArray[np.int64]
Measure = Literal["selection_rate", "tpr", "fpr"]
Form = Literal["difference", "difference_change", "ratio", "ratio_change", "group_change"]

MEASURES: tuple[Measure, ...] = ("selection_rate", "tpr", "fpr")
FORMS: tuple[Form, ...] = (
    "difference",
    "difference_change",
    "ratio",
    "ratio_change",
    "group_change",
)


_LARGEST_LOG = 700.0  # beyond it the exponential overflows


@dataclass(frozen=True, slots=True, eq=False)
class Gap:
    """One question of fairness, its observed answer, and what the blocks can show of it.

    Parameters
    ----------
    measure : {"selection_rate", "tpr", "fpr"}
        Share of rows predicted positive: of all, of the truly positive, of the others.
    form : str
        ``difference``: the candidate's largest minus smallest rate over the groups.
        ``ratio``: its smallest by its largest. ``difference_change``, ``ratio_change``:
        candidate minus baseline of these. ``group_change``: candidate minus baseline of the
        rate of the group that loses most (for fpr: gains most).
    groups : tuple of str
        The group with the most and the one with the least; for ``group_change`` the one.
        Empty where fewer than two groups (one) could be compared.
    baseline, candidate : float
        Of each version; NaN where undefined.
    worst : Worst
        The same as a harm over all pairs of groups, larger is worse; ``ratio`` as the
        logarithm of largest by smallest.
    pairs : tuple of tuple of str
        The groups of each value of `worst`.
    """

    measure: Measure
    form: Form
    groups: tuple[str, ...]
    baseline: float
    candidate: float
    worst: Worst
    pairs: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """Measure and form in one word, such as ``tpr_difference_change``."""
        return f"{self.measure}_{self.form}"

    @property
    def value(self) -> float:
        """What `limit` is compared with: the candidate's own, or its change from the baseline."""
        is_own = self.form in {"difference", "ratio"}
        return self.candidate if is_own else self.candidate - self.baseline

    @property
    def harmful_below(self) -> bool:
        """Whether small values are the harm: ratios, and what a group gets."""
        return _harmful_below(self.measure, self.form)

    @property
    def can_tell(self) -> bool:
        """Whether there were groups, rows and blocks enough to show anything."""
        return self.worst.can_tell

    def bound(self, alpha: float) -> float:
        """Return the value that is shown at level `alpha`, on the side of harm.

        A lower bound where large values harm, an upper bound where small ones do; NaN where
        nothing can be told.
        """
        return self._as_value(self.worst.lower(alpha))

    def far_bound(self, alpha: float) -> float:
        """Return how harmful the value may still be at level `alpha`: the bound of the other side.

        Harm beyond a limit is excluded where this lies on the harmless side of it. NaN where
        one of the pairs cannot be told.
        """
        return self._as_value(self.worst.upper(alpha))

    def p_value(self, limit: float) -> float:
        """Return the one-sided p-value of "the value is on the harmless side of `limit`"."""
        return self.worst.p_value(self._margin(limit))

    def shown(self, limit: float) -> tuple[str, ...]:
        """Return the groups that speak loudest against `limit`: a small group's wide gap may not.

        For a pair: the group with more first. Empty where nothing can be told.
        """
        at = self.worst.at(self._margin(limit)) if self.can_tell else -1
        return self.pairs[at] if at >= 0 else ()

    def _as_value(self, harm: float) -> float:
        if self.form == "ratio":
            return math.inf if harm <= -_LARGEST_LOG else math.exp(-harm)
        return -harm if self.harmful_below else harm

    def _margin(self, limit: float) -> float:
        if self.form == "ratio":
            return -math.log(limit) if limit > 0.0 else math.inf
        return -limit if self.harmful_below else limit


def quotient(over: Floats, under: Floats) -> Floats:
    """Return ``over / under``, NaN without a warning where nothing is under the line."""
    undefined: Floats = np.full(np.shape(over), math.nan)
    return np.asarray(np.divide(over, under, out=undefined, where=under != 0))


def _harmful_below(measure: Measure, form: Form) -> bool:
    if form == "group_change":
        return measure != "fpr"
    return form in {"ratio", "ratio_change"}


def gap_of(
    form: Form,
    at: int,
    *,
    names: tuple[str, ...],
    rates: Floats,
    samples: Floats,
    without: Floats | None,
    under: Counts,
    changed: Counts,
    kept: NDArray[np.bool_],
) -> Gap:
    """Answer one question from rates and from the same rates of blocks drawn again.

    Parameters
    ----------
    form : str
        One of `FORMS`.
    at : int
        Place of the measure in `MEASURES`.
    names : tuple of str
        Of the groups.
    rates : float64 array, shape (2, 3, n_groups)
        Baseline and candidate, by measure.
    samples : float64 array, shape (n_boot, 2, 3, n_groups)
        The same, of blocks drawn again.
    without : float64 array, shape (n_blocks, 2, 3, n_groups), or None
        The same, without each block in turn, in the order of time; None: independent blocks.
    under : int64 array, shape (n_blocks, 3, n_groups)
        Rows under each rate in each block.
    changed : int64 array, shape (3, n_groups)
        Of these, over all blocks, the rows that the versions predict differently.
    kept : bool array, shape (n_groups,)
        Which groups are compared.
    """
    measure = MEASURES[at]
    chosen = np.flatnonzero(kept)
    high, low = _places(form, len(chosen))
    harm = _HARMS[form]
    n = under[:, at].sum(axis=0)[chosen].astype(np.float64)
    # Half a row more: the logarithm of a rate of 0 is a large number, not an infinite one.
    half = 0.5 / n if form == "ratio" else 0.0

    def harms(of: Floats) -> Floats:
        return harm(of[..., at, :][..., chosen] + half, high, low, measure)

    observed = rates[:, at][:, chosen]
    worst = worst_of(
        harms(rates),
        harms(samples),
        n_blocks=len(under),
        floor=_of_rows(form, observed, changed[at][chosen], n=n, high=high, low=low),
        without=None if without is None else harms(without),
    )
    named = [names[place] for place in chosen.tolist()]
    pairs = tuple(
        (named[h],) if form == "group_change" else (named[h], named[lo])
        for h, lo in zip(high.tolist(), low.tolist(), strict=True)
    )
    widest = worst.at()
    both = [_one_version(form, observed[version], widest) for version in (0, 1)]
    return Gap(
        measure=measure,
        form=form,
        groups=pairs[widest] if widest >= 0 else (),
        baseline=both[0],
        candidate=both[1],
        worst=worst,
        pairs=pairs,
    )


def _of_rows(
    form: Form, rates: Floats, changed: Counts, *, n: Floats, high: Ints, low: Ints
) -> Floats:
    """Return the standard error of independent rows: blocks are never more certain than that.

    Shares get half a row more on either side, since one of 0 or 1 is not certain.
    """
    share = (rates[1] * n + 0.5) / (n + 1.0)
    if form == "difference":
        variance = share * (1.0 - share) / n
    elif form == "ratio":
        variance = (1.0 - share) / (share * n)
    else:
        flipped = (changed + 0.5) / (n + 1.0)
        variance = np.maximum(flipped - (rates[1] - rates[0]) ** 2, 0.5 / n) / n
    if form == "group_change":
        return np.asarray(np.sqrt(variance[high]))
    if form == "ratio_change":
        return np.asarray(np.sqrt(variance[low]))
    return np.asarray(np.sqrt(variance[high] + variance[low]))


def _places(form: Form, n_groups: int) -> tuple[Ints, Ints]:
    """Every group once, or every ordered pair of two groups: (more, less)."""
    if form == "group_change":
        return np.arange(n_groups), np.arange(n_groups)
    high, low = np.nonzero(~np.eye(n_groups, dtype=np.bool_))
    return high, low


def _one_version(form: Form, rates: Floats, widest: int) -> float:
    if widest < 0:
        return math.nan
    if form == "group_change":
        return float(rates[widest])
    if form in {"difference", "difference_change"}:
        return float(rates.max() - rates.min())
    return float(rates.min() / rates.max()) if rates.max() > 0 else math.nan


def _difference(rates: Floats, high: Ints, low: Ints, _measure: Measure) -> Floats:
    return np.asarray(rates[..., 1, high] - rates[..., 1, low])


def _difference_change(rates: Floats, high: Ints, low: Ints, _measure: Measure) -> Floats:
    before = rates[..., 0, high] - rates[..., 0, low]
    return np.asarray(rates[..., 1, high] - rates[..., 1, low] - _largest(before))


def _ratio(rates: Floats, high: Ints, low: Ints, _measure: Measure) -> Floats:
    return np.asarray(np.log(rates[..., 1, high]) - np.log(rates[..., 1, low]))


def _ratio_change(rates: Floats, high: Ints, low: Ints, _measure: Measure) -> Floats:
    before = -quotient(rates[..., 0, low], rates[..., 0, high])
    return -quotient(rates[..., 1, low], rates[..., 1, high]) - _largest(before)


def _group_change(rates: Floats, high: Ints, _low: Ints, measure: Measure) -> Floats:
    change = rates[..., 1, high] - rates[..., 0, high]
    return np.asarray(change if measure == "fpr" else -change)


def _largest(values: Floats) -> Floats:
    """Return the largest over the last axis, kept; NaN only where no value is defined."""
    if values.shape[-1] == 0:
        return values[..., :0]
    most = np.where(np.isnan(values), -np.inf, values).max(axis=-1, keepdims=True)
    return np.asarray(np.where(np.isfinite(most), most, math.nan))


_HARMS = {
    "difference": _difference,
    "difference_change": _difference_change,
    "ratio": _ratio,
    "ratio_change": _ratio_change,
    "group_change": _group_change,
}
