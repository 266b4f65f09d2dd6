"""What a candidate must prove, at which error, on how much evidence; what may veto it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from renewal.core.errors import Invalid
from renewal.evaluate.cost_metric import COST
from renewal.gate.claims import Proof, parse_proof


@dataclass(frozen=True, slots=True)
class Guards:
    """Harms that veto a candidate when they are shown; None and empty: not looked at.

    Parameters
    ----------
    alpha : float in (0, 0.5), default 0.05
        Chance that a harmless candidate is vetoed, over all guards together (Holm).
    slices : tuple of str
        Rows that are looked at by themselves: ``origin``, ``distance:4``, ``sex*race``; see
        `renewal.evaluate.slices`.
    slice_margin_share : float >= 0, default 0.02
        How much worse the loss of a slice may get, as a share of the champion's loss there.
    groups : tuple of str
        Columns whose values are groups of people to be treated alike; also ``sex*race``.
    rates : tuple of str, default ("selection_rate", "tpr", "fpr")
        What is compared between groups.
    fairness_margin : float >= 0, default 0.02
        How much the difference between groups may grow against the champion.
    group_margin : float or None, default 0.05
        How much the true-positive rate of any group may fall, or its false-positive rate
        rise, against the champion.
    fairness_bound : float or None, default None
        The largest difference between groups that is allowed, whatever the champion's.
    fairness_ratio : float or None, default None
        The smallest ratio between groups that is allowed, such as 0.8.
    max_negative_flips : float or None, default None
        The largest share of rows that the champion has right and the candidate wrong.
    churn_floor : float, default 0
        Negative flips that even a retraining on the same rows makes; not held against it.
    calibration_margin : float or None, default None
        How much the expected calibration error may grow.
    robustness : tuple of str
        Perturbations, such as ``nulls`` and ``noise``; see the shelf
        ``renewal.perturbations``.
    robustness_margin_share : float >= 0, default 0.05
        How much more than the champion it may lose on perturbed rows, as a share of the
        champion's loss on them.
    max_latency_ratio : float or None, default None
        Largest ratio of the candidate's 99th percentile of latency to the champion's, at
        batch 1 and at batch 64.
    max_latency_ms : float or None, default None
        Largest 99th percentile at batch 1, milliseconds.
    max_bytes, max_memory_bytes : int or None, default None
        Largest artifact, and largest growth of a process that loads it.
    if_cannot_tell : {"pass_on", "block"}, default "pass_on"
        Whether a guard with too little evidence is only reported, or holds an acceptance
        back.
    """

    alpha: float = 0.05
    slices: tuple[str, ...] = ()
    slice_margin_share: float = 0.02
    groups: tuple[str, ...] = ()
    rates: tuple[Literal["selection_rate", "tpr", "fpr"], ...] = ("selection_rate", "tpr", "fpr")
    fairness_margin: float = 0.02
    group_margin: float | None = 0.05
    fairness_bound: float | None = None
    fairness_ratio: float | None = None
    max_negative_flips: float | None = None
    churn_floor: float = 0.0
    calibration_margin: float | None = None
    robustness: tuple[str, ...] = ()
    robustness_margin_share: float = 0.05
    max_latency_ratio: float | None = None
    max_latency_ms: float | None = None
    max_bytes: int | None = None
    max_memory_bytes: int | None = None
    if_cannot_tell: Literal["pass_on", "block"] = "pass_on"

    def __post_init__(self) -> None:
        """Refuse margins under which a guard would mean nothing."""
        _need(self, 0 < self.alpha < 0.5, "alpha", "between 0 and 0.5, both excluded")
        for name in ("slice_margin_share", "fairness_margin", "robustness_margin_share"):
            _need(self, 0 <= getattr(self, name) < float("inf"), name, "of at least 0")
        for name in ("group_margin", "fairness_bound", "fairness_ratio", "max_negative_flips"):
            value = getattr(self, name)
            _need(self, value is None or 0 <= value <= 1, name, "in [0, 1]")
        _need(self, 0 <= self.churn_floor < 1, "churn_floor", "in [0, 1)")
        for name in ("max_latency_ratio", "max_latency_ms", "max_bytes", "max_memory_bytes"):
            value = getattr(self, name)
            _need(self, value is None or value > 0, name, "above 0")

    @property
    def needs_cost(self) -> bool:
        """Whether latency has to be measured."""
        return self.max_latency_ratio is not None or self.max_latency_ms is not None


@dataclass(frozen=True, slots=True)
class GateOptions:
    """What a candidate must prove.

    Parameters
    ----------
    must_prove : tuple of str, default ("superior",)
        Claims that all have to hold: ``superior``, ``better_by(0.02)``, ``no_worse(1%)``, on
        the task's loss or on a metric: ``no_worse(auc, 0.005)``. The first is the headline.
    alpha : float in (0, 0.5), default 0.05
        Largest chance of accepting a candidate for which a claim is false, over all looks at
        it.
    budget : float in (0, 1), default 0.2
        Over the whole life of the model: the largest expected share of acceptances whose
        claim was false, and the largest chance of any while nothing is better.
        `renewal.stats.lifetime` says what level it leaves to each update.
    first_look_share : float in (0, 1), default 0.5
        Part of a level that the one look at rows already there may spend; the rest is for
        going on.
    holdout : timedelta, default 14 days
        For timed models: how much of the newest past is kept from fitting and judged.
    embargo : timedelta or None, default None
        Gap between what is fitted and what is judged; None: the model's label delay.
    smallest_gain_share : float in [0, 1), default 0.01
        The smallest gain worth shipping, as a share of the champion's value.
    min_blocks : int >= 2, blocks, default 7
        Below this a look decides nothing.
    min_rows : int >= 2, default 30
        The same where evidence has no time: rows, or groups of them.
    max_blocks : int, blocks, default 90
        Going on ends here where blocks are stretches of time: a candidate that could not be
        proved by then is rejected.
    max_rows : int, default 100,000
        The same where evidence has no time: rows, or groups of them.
    futility : float in [0, 1), default 0.1
        Going on ends, too, when the chance of a proof before `max_blocks` falls below this.
    approval : {"none", "person"}, default "none"
        person: an accepted candidate waits until somebody approves it by name.
    approval_for : timedelta, default 7 days
        How long it waits; then the approval is taken for declined.
    timeout : timedelta, default 10 minutes
        A version that has not scored the rows by then cannot be judged.
    seed : int, default 0
        Of resampling and perturbation.
    costs : mapping of mappings
        What a decision costs, ``costs[true][predicted]``, in money; claims name it ``cost``.
    guards : Guards
        Harms that veto a candidate when they are shown.

    Examples
    --------
    >>> options = GateOptions(must_prove=("superior", "no_worse(auc, 0.005)"))
    >>> [each.kind for each in options.proofs]
    ['superior', 'no_worse']
    """

    must_prove: tuple[str, ...] = ("superior",)
    alpha: float = 0.05
    budget: float = 0.2
    first_look_share: float = 0.5
    holdout: timedelta = timedelta(days=14)
    embargo: timedelta | None = None
    smallest_gain_share: float = 0.01
    min_blocks: int = 7
    min_rows: int = 30
    max_blocks: int = 90
    max_rows: int = 100_000
    futility: float = 0.1
    approval: Literal["none", "person"] = "none"
    approval_for: timedelta = timedelta(days=7)
    timeout: timedelta = timedelta(minutes=10)
    seed: int = 0
    costs: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    guards: Guards = field(default_factory=Guards)

    def __post_init__(self) -> None:
        """Refuse options under which a verdict would mean nothing."""
        zero = timedelta(0)
        _need(self, bool(self.must_prove), "must_prove", "at least one claim, such as superior")
        asks_cost = any(parse_proof(text).metric == COST for text in self.must_prove)
        _need(self, not asks_cost or bool(self.costs), "costs", "where must_prove names cost")
        _need(self, 0 < self.alpha < 0.5, "alpha", "between 0 and 0.5, both excluded")
        _need(self, 0 < self.budget < 1, "budget", "strictly within 0 and 1")
        _need(self, 0 < self.first_look_share < 1, "first_look_share", "strictly within 0 and 1")
        _need(self, self.holdout > zero, "holdout", "a duration above 0")
        _need(self, self.embargo is None or self.embargo >= zero, "embargo", "not negative")
        _need(self, 0 <= self.smallest_gain_share < 1, "smallest_gain_share", "in [0, 1)")
        for unit in ("blocks", "rows"):
            least, most = f"min_{unit}", f"max_{unit}"
            _need(self, getattr(self, least) >= 2, least, "at least 2")
            fits = getattr(self, most) >= getattr(self, least)
            _need(self, fits, most, f"at least {least}")
        _need(self, 0 <= self.futility < 1, "futility", "in [0, 1)")
        _need(self, self.approval_for > zero, "approval_for", "a duration above 0")
        _need(self, self.timeout > zero, "timeout", "a duration above 0")

    def least(self, *, is_ordered: bool) -> int:
        """Return the fewest blocks that decide anything: of time, or of rows without one."""
        return self.min_blocks if is_ordered else self.min_rows

    def most(self, *, is_ordered: bool) -> int:
        """Return the most blocks that this gate waits for: of time, or of rows without one."""
        return self.max_blocks if is_ordered else self.max_rows

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """The claims that have to hold, the headline first."""
        return tuple(map(parse_proof, self.must_prove))


def _need(options: object, fits: bool, name: str, needs: str) -> None:  # noqa: FBT001  # one table of checks reads best
    if not fits:
        kind = type(options).__name__
        where = "gate.guards" if kind == "Guards" else "gate"
        raise Invalid(
            kind,
            needs=f"{name} {needs}",
            came=repr(getattr(options, name)),
            todo=f"Correct {name} in the policy's [{where}].",
        )
