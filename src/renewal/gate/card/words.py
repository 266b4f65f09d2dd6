"""How a card writes numbers, states and rows of its tables: the same in Markdown and HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from renewal.core.verdict import Clause
from renewal.gate.card.curves import Curve
from renewal.gate.card.record import READING_ALPHA, Card
from renewal.gate.card.trail import Trail
from renewal.gate.wording import level, shown_metric

UNKNOWN: Final = "-"
"""What stands for a number that cannot be told."""

STATES: Final = {"holds": "holds", "fails": "fails", "cannot_tell": "cannot tell"}
STANDINGS: Final = {
    "better": "proved better",
    "worse": "shown to be worse",
    "cannot_tell": "cannot tell",
}
_MOST_TRAIL_ROWS = 12

Table = tuple[Sequence[str], list[Sequence[str]]]
"""Names of the columns, and the cells of each row."""


def number(value: float) -> str:
    """Return a number with four digits, or a dash for what cannot be told.

    Examples
    --------
    >>> number(0.0204), number(12345.6), number(float("nan")), number(float("inf"))
    ('0.0204', '1.235e+04', '-', 'inf')
    """
    return UNKNOWN if math.isnan(value) else f"{value:.4g}"


def signed(value: float) -> str:
    """Return a gain with its sign and four digits, or a dash for what cannot be told.

    Examples
    --------
    >>> signed(0.0204), signed(-1.5), signed(float("nan"))
    ('+0.0204', '-1.5', '-')
    """
    return UNKNOWN if math.isnan(value) else f"{value:+.4g}"


def clause_line(clause: Clause) -> str:
    """Return what a clause asked, how, and what the evidence says, in one line."""
    kind = "must be proved" if clause.kind == "must_prove" else "vetoes if shown"
    return f"{clause.name} ({kind}, {clause.method}): {STATES[clause.state]}. {clause.sentence}"


def clause_values(card: Card) -> Table:
    """Return state, value, bounds and bound of every clause, by its number in the list."""
    columns = ("#", "state", "value", "lower", "upper", "bound")
    return columns, [
        (
            f"{at}",
            STATES[each.state],
            number(each.value),
            number(each.lower),
            number(each.upper),
            number(each.bound),
        )
        for at, each in enumerate(card.verdict.clauses, 1)
    ]


def clause_evidence(card: Card) -> Table:
    """Return the evidence behind every clause, and the error spent on it."""
    columns = ("#", "rows", "blocks", "effective", "error", "p", "e")
    return columns, [
        (
            f"{at}",
            f"{each.n_rows:,}",
            f"{each.n_blocks:,}",
            number(each.n_effective),
            f"{each.alpha:.2g}",
            f"{each.p_value:.2g}" if math.isfinite(each.p_value) else UNKNOWN,
            f"{each.e_value:.3g}" if math.isfinite(each.e_value) else UNKNOWN,
        )
        for at, each in enumerate(card.verdict.clauses, 1)
    ]


def metric_values(card: Card) -> Table:
    """Return every metric of every version."""
    columns = ("metric", *(card.name(each) for each in card.versions))
    rows = [(shown_metric(name), *map(number, values)) for name, values in card.metrics.items()]
    return columns, list(rows)


def standings(card: Card) -> Table:
    """Return the other versions beside the baseline, the largest gain first."""
    columns = ("version", "gain", "lower", "upper", "p", "is")
    found = () if card.ranking is None else card.ranking.contenders
    return columns, [
        (
            each.name,
            signed(each.gain),
            signed(each.lower),
            signed(each.upper),
            f"{each.p_value:.2g}",
            STANDINGS[each.state],
        )
        for each in found
    ]


def curve_heights(card: Card) -> Table:
    """Return the area of each ROC curve, and its height at some false positive rates."""
    rates = (0.01, 0.05, 0.1, 0.2)
    columns = ("version", "area", *(f"at {rate:g}" for rate in rates))
    return columns, [
        (card.name(each.version_id), number(each.area), *(number(_height(each, r)) for r in rates))
        for each in card.curves
    ]


def said_bins(card: Card) -> Table:
    """Return what each version said in each bin beside what happened."""
    columns = ("version", "rows", "said", "happened")
    return columns, [
        (card.name(each.version_id), f"{n:,}", number(said), number(happened))
        for each in card.said
        for n, said, happened in zip(
            each.reliability.n.tolist(),
            each.reliability.predicted.tolist(),
            each.reliability.observed.tolist(),
            strict=True,
        )
        if n
    ]


def calibration_line(card: Card) -> str:
    """Return the calibration errors with the bounds of their change, in one sentence."""
    if card.calibration is None:
        return ""
    change = card.calibration.ece_change
    before, after = card.calibration.baseline.ece, card.calibration.candidate.ece
    return (
        f"Expected calibration error {number(before)} of {card.name(card.verdict.baseline)} and "
        f"{number(after)} of {card.name(card.verdict.candidate)}, a change of "
        f"{signed(change.observed)} ({signed(change.lower(READING_ALPHA))} to "
        f"{signed(change.upper(READING_ALPHA))}, each at {level(READING_ALPHA)})."
    )


def slice_rows(card: Card) -> Table:
    """Return the gain of every slice."""
    columns = ("slice", "rows", "blocks", "gain", "lower", "upper")
    return columns, [
        (
            each.name,
            f"{each.n_rows:,}",
            f"{each.n_blocks:,}",
            *map(signed, (each.gain, each.lower, each.upper)),
        )
        for each in card.slices
    ]


def flip_rows(card: Card) -> Table:
    """Return which rows turned wrong and right, by slice."""
    columns = ("slice", "both right", "lost", "won", "both wrong", "lost %", "at most")
    return columns, [
        (
            "all rows" if each.name == "all" else each.name,
            f"{each.n_both_right:,}",
            f"{each.n_negative:,}",
            f"{each.n_positive:,}",
            f"{each.n_both_wrong:,}",
            _percent(each.negative_rate),
            _percent(math.nan if each.bounds is None else each.bounds.upper(READING_ALPHA)),
        )
        for each in card.flips
    ]


def error_rows(card: Card) -> Table:
    """Return predicted beside true by slice and version."""
    columns = ("slice", "version", "rows", "predicted", "true", "bias", "off by")
    return columns, [
        (
            each.name,
            card.name(each.version_id),
            f"{each.n_rows:,}",
            number(each.predicted),
            number(each.true),
            signed(each.bias),
            number(each.absolute),
        )
        for each in card.errors
    ]


def trail_rows(trail: Trail) -> Table:
    """Return at most twelve points of a trail, the newest among them."""
    columns = ("blocks", "rows", "gain", "lower", "upper", "log e")
    points, n = trail.points, len(trail.points)
    kept = min(n, _MOST_TRAIL_ROWS)
    places = sorted({round(at * (n - 1) / max(kept - 1, 1)) for at in range(kept)})
    return columns, [
        (
            f"{point.n_blocks:,}",
            f"{point.n_rows:,}",
            *map(signed, (point.gain, point.lower, point.upper)),
            f"{point.log_e:.2f}",
        )
        for point in (points[at] for at in places)
    ]


def trail_line(trail: Trail) -> str:
    """Return what the numbers of a trail are held against."""
    return (
        f"The running test of {trail.claim}: proved where the lower bound "
        f"({level(trail.alpha)} at all times together) exceeds {trail.margin:.4g}, which is "
        f"where log e reaches {trail.log_threshold:.2f}."
    )


def _height(curve: Curve, rate: float) -> float:
    return float(curve.true_rate[curve.false_rate <= rate].max(initial=0.0))


def _percent(share: float) -> str:
    return UNKNOWN if math.isnan(share) else f"{100 * share:.2f}"
