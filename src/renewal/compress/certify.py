r"""Certification: which of the compressed models hold the line, proved on rows of their own.

A search looks at many models, and the best of many estimates is too good. So the models of
its front are tested once more, on test rows that no search has seen, in an order fixed before:
from the safest to the boldest, each at the full level, and the first that fails ends it. No
level is divided, and still the chance that *any* model is certified that does not hold the
line is at most `alpha`: the first false one in the order has to pass its test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import Literal, Protocol

from renewal.core.errors import Invalid
from renewal.stats.checked import check_share

LEAST_ROWS = 30
"""Below this many independent rows or blocks nothing is certified, as in the gate."""

ALL_ROWS = "all rows"
_NORMAL = NormalDist()


Status = Literal["certified", "uncertified", "infeasible"]
"""What a search may claim."""


class Bounds(Protocol):
    """A test of one look: `stats.discordant`, `stats.paired`, `stats.delong`, a bootstrap."""

    def lower(self, alpha: float) -> float:
        """Return the one-sided lower bound of the gain at level `alpha`."""
        ...

    def p_value(self, margin: float = 0.0) -> float:
        """Return the one-sided p-value of "the gain is at most `margin`"."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What test rows say of one model beside its parent.

    Parameters
    ----------
    gain : float
        Metric of the model less that of the parent, signed so that more is better.
    bounds : Bounds
        Of that gain.
    n : int
        Independent rows, or blocks of rows.
    margin : float or None, default None
        Largest loss of gain allowed on these rows; None: that of the certification.
    lost, gained : int or None, default None
        Rows that only the parent, and only the model, gets right; None where rows are not
        right or wrong.
    """

    gain: float
    bounds: Bounds
    n: int
    margin: float | None = None
    lost: int | None = None
    gained: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """A model that asks to be certified.

    Parameters
    ----------
    key : str
        Of its trial.
    label : str
        Its chain.
    value : float
        Of the objective, smaller is better.
    evidence : Evidence
        On all test rows.
    slices : mapping of str to Evidence
        On the slices that must hold, too.
    over : tuple of str
        Further limits that it does not hold, in words. Such a model is not tested: it could
        never be chosen, and its failure would end the tests of others.
    """

    key: str
    label: str
    value: float
    evidence: Evidence
    slices: Mapping[str, Evidence] = field(default_factory=dict)
    over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What was shown of a model on some rows; plain numbers.

    Parameters
    ----------
    where : str
        `ALL_ROWS` or the name of a slice.
    gain, lower, margin : float
        Estimate, its bound at the level of the certification, and the largest loss allowed.
    n : int
        Independent rows or blocks.
    rows_missing : int or None
        How many more of them the claim needs, if they go on as these did; 0 where it holds;
        None where by the estimate no number of rows will do.
    lost, gained : int or None
        Flips.
    """

    where: str
    gain: float
    lower: float
    margin: float
    n: int
    rows_missing: int | None
    lost: int | None = None
    gained: int | None = None

    @property
    def holds(self) -> bool:
        """Whether the bound holds the line."""
        return self.rows_missing == 0


@dataclass(frozen=True, slots=True)
class Judged:
    """A model of the front and what became of it.

    Parameters
    ----------
    key, label, value
        As its `Contender`.
    claims : tuple of Claim
        All rows first, then its slices; empty where it was not tested.
    over : tuple of str
        Further limits that it does not hold.
    certified : bool
        Whether every claim holds, and those of every model before it.
    """

    key: str
    label: str
    value: float
    claims: tuple[Claim, ...] = ()
    over: tuple[str, ...] = ()
    certified: bool = False

    @property
    def overall(self) -> Claim | None:
        """What was shown on all rows; None where it was not tested."""
        return self.claims[0] if self.claims else None

    @property
    def rows_missing(self) -> int | None:
        """The most that one of its claims is short of; None where rows will not do."""
        found = [each.rows_missing for each in self.claims]
        known = [each for each in found if each is not None]
        return max(known) if known and len(known) == len(found) else None

    @property
    def fresh_rows(self) -> int:
        """Rows that it takes to certify it; a bound that held too late needs all of them anew."""
        return self.rows_missing or max((each.n for each in self.claims), default=0)


@dataclass(frozen=True, slots=True)
class Certified:
    """The result of a certification; a model never comes without its status.

    Parameters
    ----------
    status : {"certified", "uncertified", "infeasible"}
        certified: `chosen` holds the line. uncertified: `best` seems to hold it, and
        `rows_missing` more rows would show it. infeasible: nothing seems to; `best` comes
        nearest.
    margin, alpha : float
        What was asked.
    tested : tuple of Judged
        Every model of the front, in the order of the tests.
    chosen : str or None
        Key of the best certified model by the objective; None unless certified.
    best : str or None
        Key of the certified, or else the nearest one; None where there was no model.
    rows_missing : int or None
        Of `best`, where uncertified.
    reason : str
        In one sentence.
    unit : str, default "row"
        What is counted.
    """

    status: Status
    margin: float
    alpha: float
    tested: tuple[Judged, ...]
    chosen: str | None
    best: str | None
    rows_missing: int | None
    reason: str
    unit: str = "row"

    def of(self, key: str) -> Judged:
        """Return what became of a model."""
        return next(each for each in self.tested if each.key == key)


def certify(
    contenders: Sequence[Contender],
    *,
    margin: float,
    alpha: float = 0.05,
    least_rows: int = LEAST_ROWS,
    unit: str = "row",
) -> Certified:
    r"""Test models in their order, stop at the first that fails, choose the smallest.

    A model passes when the lower bound of its gain is at least :math:`-margin`, on all rows
    and on each slice. All of its claims have to hold, so each may use the whole level.

    Parameters
    ----------
    contenders : sequence of Contender
        From the safest to the boldest by rows other than these; see
        `renewal.compress.front.order`. The parent is none of them: it holds its own line.
    margin : float
        `Goal.margin` of the parent's value. Negative: the line lies beyond the parent, and
        nothing is tested.
    alpha : float in (0, 0.5), default 0.05
        Largest chance that any model is certified that does not hold the line.
    least_rows : int, default 30
        Fewer independent rows, or blocks, prove nothing.
    unit : str, default "row"
        What is counted, in words, such as ``day``.

    Notes
    -----
    Rows missing are :math:`n (z_\alpha / z)^2 - n` with *z* the score of the test at hand;
    for right and wrong rows that is the familiar
    :math:`z_\alpha^2 (a + b - (a - b)^2) / (margin - (a - b))^2` with *a* lost and *b* gained
    shares. With so many rows the proof succeeds in about half of the cases.

    Examples
    --------
    >>> from renewal.stats.discordant import Discordant
    >>> def flips(key, lost, gained, n, value):
    ...     found = Discordant(gained, lost, n_rows=n)
    ...     evidence = Evidence(found.mean, found, n, lost=lost, gained=gained)
    ...     return Contender(key, key, value, evidence)
    >>> two = [flips("int8", 4, 3, 2000, 250.0), flips("pruned", 30, 14, 2000, 120.0)]
    >>> found = certify(two, margin=0.01)
    >>> found.status, found.chosen, [each.certified for each in found.tested]
    ('certified', 'int8', [True, False])
    >>> certify(two[1:], margin=0.01).rows_missing
    13394
    """
    check_share(alpha, who="certify", name="alpha")
    if math.isnan(margin):
        raise Invalid(
            "certify",
            needs="a margin",
            came="NaN",
            todo="Take rows on which the metric is defined.",
        )
    if margin < 0.0:
        tested = tuple(
            Judged(each.key, each.label, each.value, (), each.over) for each in contenders
        )
        best = contenders[0].key if contenders else None
        reason = f"The line lies {-margin:.4g} beyond the parent's own value."
        return Certified("infeasible", margin, alpha, tested, None, best, None, reason)
    tested = _in_sequence(contenders, margin, alpha, least_rows)
    return replace(_result(tested, margin, alpha, unit), unit=unit)


def _in_sequence(
    contenders: Sequence[Contender], margin: float, alpha: float, least_rows: int
) -> tuple[Judged, ...]:
    found = []
    is_over = False
    for each in contenders:
        claims: tuple[Claim, ...] = ()
        if not each.over:
            parts = {ALL_ROWS: each.evidence, **each.slices}
            # After the first failure bounds are reported, and certify nothing.
            claims = tuple(
                _claim(where, part, margin, alpha, least_rows) for where, part in parts.items()
            )
        passes = bool(claims) and all(claim.holds for claim in claims)
        certified = passes and not is_over
        is_over = is_over or (bool(claims) and not passes)
        found.append(Judged(each.key, each.label, each.value, claims, each.over, certified))
    return tuple(found)


def _claim(where: str, evidence: Evidence, margin: float, alpha: float, least_rows: int) -> Claim:
    line = margin if evidence.margin is None else evidence.margin
    lower = float(evidence.bounds.lower(alpha))
    # A bound that is NaN, or has no rows to stand on, holds nothing.
    holds = lower >= -line and evidence.n >= least_rows
    missing = 0 if holds else _missing(evidence, line, alpha, least_rows)
    return Claim(
        where, evidence.gain, lower, line, evidence.n, missing, evidence.lost, evidence.gained
    )


def _missing(evidence: Evidence, line: float, alpha: float, least_rows: int) -> int | None:
    """Return how many more rows would show what these only suggest; None: no number will."""
    if evidence.n < 1 or not evidence.gain > -line:
        return None
    p_value = evidence.bounds.p_value(-line)
    needed = float(least_rows)
    if p_value > alpha and evidence.n >= 2:
        # The score grows with the root of the rows.
        if not p_value < 0.5:
            return None
        ratio = _NORMAL.inv_cdf(alpha) / _NORMAL.inv_cdf(p_value)
        needed = max(needed, evidence.n * ratio**2)
    return max(math.ceil(needed) - evidence.n, 1)


def _result(tested: tuple[Judged, ...], margin: float, alpha: float, unit: str) -> Certified:
    certified = [each for each in tested if each.certified]
    if certified:
        best = min(certified, key=lambda each: each.value)
        claim = best.claims[0]
        sure = f"loses at most {-claim.lower:.4g}" if claim.lower < 0.0 else "is no worse"
        reason = f"{best.label} {sure}, at {100.0 * (1.0 - alpha):.4g}% confidence."
        return Certified("certified", margin, alpha, tested, best.key, best.key, None, reason)
    allowed = [each for each in tested if each.claims]
    hopeful = [each for each in allowed if each.rows_missing is not None]
    if hopeful:
        best = min(hopeful, key=lambda each: (each.fresh_rows, each.value))
        rows = best.fresh_rows
        what = f"{unit}s" if rows != 1 else unit
        reason = f"{best.label} seems to hold the line; {rows:,} more {what} can show it."
        if best.rows_missing == 0:
            reason = (
                f"A safer model failed before {best.label}: test it alone on {rows:,} new {what}."
            )
        return Certified("uncertified", margin, alpha, tested, None, best.key, rows, reason)
    if allowed:
        best = max(allowed, key=_room)
        reason = f"No model holds the line by its estimate; {best.label} comes nearest."
    elif tested:
        best = min(tested, key=lambda each: (len(each.over), each.value))
        reason = f"Every model exceeds a limit: {best.label} has {'; '.join(best.over)}."
    else:
        reason = "No chain came to a smaller model that may hold the line."
        return Certified("infeasible", margin, alpha, tested, None, None, None, reason)
    return Certified("infeasible", margin, alpha, tested, None, best.key, None, reason)


def _room(each: Judged) -> float:
    """Return how far its worst estimate lies within the line; what is NaN lies furthest out."""
    rooms = [claim.gain + claim.margin for claim in each.claims]
    return min(-math.inf if math.isnan(room) else room for room in rooms)
