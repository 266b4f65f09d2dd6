"""Sample size first: the evidence that a claim will take, before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from renewal.core.errors import Invalid
from renewal.evaluate.series import Series
from renewal.gate.estimates import estimate_of
from renewal.gate.judge import Grant
from renewal.gate.options import GateOptions
from renewal.gate.proving import levels_of, lines_of
from renewal.gate.waiting import PRICE_OF_LOOKING
from renewal.stats.mcnemar import discordant_rows_needed
from renewal.stats.power import blocks_needed

_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Needed:
    """What it takes to prove a gain with a chance of 80%.

    Parameters
    ----------
    metric : str
        By which.
    gain : float
        True gain beyond the margin that is to be found, in the unit of the metric.
    level : float
        That the ledger would grant to the next candidate.
    unit : str
        What a block is, singular.
    n_blocks_once, n_rows_once : int
        For the one fixed look.
    n_blocks_running, n_rows_running : int
        For the running test, which may be looked at after every block.
    n_labels_decisive : int or None
        Labels that suffice where only rows on which the versions disagree are labeled; None
        where the metric is no accuracy.
    based_on : str
        Where the spread was learned, in words.
    """

    metric: str
    gain: float
    level: float
    unit: str
    n_blocks_once: int
    n_rows_once: int
    n_blocks_running: int
    n_rows_running: int
    n_labels_decisive: int | None
    based_on: str

    def __str__(self) -> str:
        """Say it in one line."""
        labels = (
            ""
            if self.n_labels_decisive is None
            else f"; {self.n_labels_decisive:,} labels where the versions disagree"
        )
        return (
            f"a gain of {self.gain:.4g} in {self.metric} takes {self.n_blocks_once:,} "
            f"{self.unit}s ({self.n_rows_once:,} labelled rows) in one look at level "
            f"{self.level:.2g}, or {self.n_blocks_running:,} if looked at as they come{labels} "
            f"({self.based_on})"
        )


def needed_from(
    series: Series, options: GateOptions, grant: Grant, *, gain: float | None = None
) -> Needed:
    """Plan from an earlier comparison of the same model: its spread is what to expect again.

    Parameters
    ----------
    series : Series
        Of the headline claim, at an earlier look.
    options : GateOptions
        The claim, the smallest gain worth shipping, the split of the level.
    grant : Grant
        Of the next candidate.
    gain : float or None, default None
        True gain to be found; None: the smallest worth shipping, or no difference at all
        for ``no_worse``.

    Raises
    ------
    Invalid
        When the gain does not exceed the margin of the claim.

    Examples
    --------
    >>> import numpy as np
    >>> day = 86_400_000_000
    >>> gains = 0.01 + 0.02 * np.tile([1.0, -1.0], 7)
    >>> series = Series("log_loss", "a", "b", 0.5, 0.49, "day", np.arange(14),
    ...     np.full(14, 900), gains, 0, 14 * day)
    >>> plan = needed_from(series, GateOptions(), Grant(0.05, 1), gain=0.01)
    >>> plan.n_blocks_once, plan.n_rows_once
    (36, 32400)
    """
    proof = options.proofs[0]
    estimate = estimate_of(series)
    lines = lines_of(proof, series.baseline_value, options)
    hoped = gain
    if hoped is None:
        hoped = 0.0 if proof.kind == "no_worse" else lines.smallest_gain
    effect = _beyond(hoped - lines.margin)
    once = levels_of(options, grant.level, is_first=True).accept
    later = levels_of(options, grant.level, is_first=False).accept
    least = options.least(is_ordered=series.is_ordered)
    n_once = max(least, blocks_needed(effect, estimate.sd, once, _POWER))
    fixed = blocks_needed(effect, estimate.sd, later, _POWER)
    n_running = max(least, math.ceil(PRICE_OF_LOOKING * fixed))
    per_block = series.n_rows / max(len(series.blocks), 1)
    return Needed(
        metric=series.metric,
        gain=hoped,
        level=grant.level,
        unit=series.unit,
        n_blocks_once=n_once,
        n_rows_once=math.ceil(n_once * per_block),
        n_blocks_running=n_running,
        n_rows_running=math.ceil(n_running * per_block),
        n_labels_decisive=None,
        based_on=f"spread of {len(series.blocks):,} {series.unit}s of an earlier comparison",
    )


def needed_for_accuracy(
    gain: float, disagreement: float, options: GateOptions, grant: Grant
) -> Needed:
    """Plan a comparison of accuracies on independent rows, before there is any comparison.

    Parameters
    ----------
    gain : float in (0, 1)
        True difference of the accuracies that is to be found.
    disagreement : float in (gain, 1]
        Share of rows on which exactly one of the two will be right.
    options : GateOptions
        The split of the level.
    grant : Grant
        Of the next candidate.

    Examples
    --------
    >>> options = GateOptions(first_look_share=0.5)
    >>> plan = needed_for_accuracy(0.01, 0.05, options, Grant(0.1, 1))
    >>> plan.n_rows_once, plan.n_labels_decisive
    (3090, 155)
    """
    once = levels_of(options, grant.level, is_first=True).accept
    later = levels_of(options, grant.level, is_first=False).accept
    found = discordant_rows_needed(gain, disagreement, alpha=once, power=_POWER)
    running = discordant_rows_needed(gain, disagreement, alpha=later, power=_POWER)
    n_running = math.ceil(PRICE_OF_LOOKING * running.n_rows)
    return Needed(
        metric="accuracy",
        gain=gain,
        level=grant.level,
        unit="row",
        n_blocks_once=found.n_rows,
        n_rows_once=found.n_rows,
        n_blocks_running=n_running,
        n_rows_running=n_running,
        n_labels_decisive=found.n_labels,
        based_on=f"{disagreement:.0%} of independent rows on which one of the two is right",
    )


def _beyond(effect: float) -> float:
    if not effect > 0.0:
        raise Invalid(
            "the plan",
            needs="a gain beyond the margin of the claim",
            came=f"one that exceeds it by {effect:g}",
            todo="Name the gain that you hope for.",
        )
    return effect
