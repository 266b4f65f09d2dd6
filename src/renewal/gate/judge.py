"""The two looks of the gate: once at what is there, then on and on over what is new.

Evidence is counted in blocks. Rows of one day err together, and a test that took them for
independent called every third of two equal models the better one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from renewal.core.verdict import Outcome, Verdict
from renewal.evaluate.report import Report
from renewal.gate.options import GateOptions
from renewal.gate.wording import next_action, reason
from renewal.stats.anytime import confidence_sequence
from renewal.stats.paired import PairedMean, paired_mean


@dataclass(frozen=True, slots=True)
class Bar:
    """The two lines that a gain is held against, in the unit of the loss.

    Parameters
    ----------
    margin : float
        What the lower bound must exceed to accept.
    smallest_gain : float
        What the upper bound must reach, or the candidate is rejected.
    """

    margin: float
    smallest_gain: float


def bar(report: Report, options: GateOptions) -> Bar:
    """Return the lines of a claim for one report.

    ``no_worse`` accepts above ``-margin`` and rejects below it; ``superior`` accepts above
    `margin` and rejects what is surely less than the smallest gain worth shipping.
    """
    if options.claim == "no_worse":
        return Bar(-options.margin, -options.margin)
    smallest = options.smallest_gain_share * abs(report.baseline.mean_loss)
    return Bar(options.margin, max(options.margin, smallest))


def first_look(report: Report, options: GateOptions) -> Verdict:
    """Judge the rows that are already there: one look, with the most powerful test.

    One-sided paired t bounds on block means, weighted by rows, with the number of blocks
    reduced by their autocorrelation, at ``alpha * first_look_share``.

    Parameters
    ----------
    report : Report
        Rows that neither version trained on and that no look at this pair has judged.
    options : GateOptions
        The claim, its error, the least and most evidence.

    Returns
    -------
    Verdict
        accept: the lower bound clears the margin. reject: the upper bound lies below the
        smallest gain worth shipping. undecided: neither, or under `min_blocks`.

    Notes
    -----
    Call it once for a pair of versions; a second call on more rows spends the error twice.

    Examples
    --------
    >>> import numpy as np
    >>> from renewal.evaluate.report import Measured
    >>> gains = 0.02 + 0.01 * np.sin(np.arange(14.0) * 2)
    >>> report = Report(Measured("a", {}, 0.43), Measured("b", {}, 0.41), "log_loss",
    ...     np.arange(14), np.full(14, 900), gains, 12_600, 0, 0, 14 * 86_400_000_000, "day")
    >>> verdict = first_look(report, GateOptions())
    >>> verdict.outcome, verdict.reason
    ('accept', 'log-loss -0.0204 (at least -0.0162 at 97.5%), 12,600 unseen rows in 14 days')
    """
    found = paired_mean(report.gains, weights=report.n_block_rows)
    alpha = options.first_alpha
    bounds = (found.lower(alpha), found.upper(alpha))
    return _verdict(report, options, found, bounds, look="first")


def go_on(report: Report, options: GateOptions) -> Verdict:
    """Judge new rows, as often as one likes: the error holds over all looks together.

    The lower and upper confidence sequences of the t e-process at
    ``alpha * (1 - first_look_share)``. Blocks that resemble their neighbors are paid for by
    raising the e-value to the power ``n_effective / n``, which only ever lowers it where it
    counts.

    Parameters
    ----------
    report : Report
        All rows since the first look, and none of the first look: evidence that informed
        one verdict does not count again.
    options : GateOptions
        As for the first look.

    Returns
    -------
    Verdict
        As `first_look`; besides, at `max_blocks` what could not be proved is rejected, and
        the reason says so.
    """
    found = paired_mean(report.gains, weights=report.n_block_rows)
    alpha = options.later_alpha ** (found.n / found.n_effective)
    # An alpha that underflows proves nothing, which is what so much dependence deserves.
    bounds = confidence_sequence(report.gains, max(alpha, 1e-300), weights=report.n_block_rows)
    return _verdict(report, options, found, bounds, look="sequential")


def _verdict(
    report: Report,
    options: GateOptions,
    found: PairedMean,
    bounds: tuple[float, float],
    *,
    look: Literal["first", "sequential"],
) -> Verdict:
    lines = bar(report, options)
    lower, upper = bounds
    alpha = options.first_alpha if look == "first" else options.later_alpha
    is_capped = False
    outcome: Outcome = "undecided"
    if found.n >= options.min_blocks:
        is_capped = look == "sequential" and found.n >= options.max_blocks
        if lower > lines.margin:
            outcome = "accept"
        elif upper < lines.smallest_gain or is_capped:
            is_capped = upper >= lines.smallest_gain
            outcome = "reject"
    verdict = Verdict(
        outcome=outcome,
        candidate=report.candidate.version_id,
        baseline=report.baseline.version_id,
        claim=options.claim,
        loss=report.loss,
        gain=found.mean,
        lower=lower if math.isfinite(lower) else math.nan,
        upper=upper if math.isfinite(upper) else math.nan,
        margin=lines.margin,
        smallest_gain=lines.smallest_gain,
        alpha=alpha,
        look=look,
        n_rows=report.n_rows,
        n_blocks=found.n,
        n_effective=found.n_effective,
        n_seen=report.n_seen,
        judged_from_us=report.judged_from_us,
        judged_until_us=report.judged_until_us,
        reason="",
        next_action="",
    )
    return replace(
        verdict,
        reason=reason(
            verdict,
            unit=report.unit,
            baseline_loss=report.baseline.mean_loss,
            is_capped=is_capped,
        ),
        next_action=next_action(verdict, found, options, unit=report.unit),
    )
