"""What the gate says in words: the numbers behind each claim, and what to do now."""

from __future__ import annotations

import math
from dataclasses import dataclass

from renewal.core.verdict import Clause
from renewal.evaluate.series import Series
from renewal.gate.claims import Proof
from renewal.gate.proving import Lines


@dataclass(frozen=True, slots=True)
class Telling:
    """What the words of one claim are made from.

    Parameters
    ----------
    proof : Proof
        The claim.
    clause : Clause
        What was found, without its words.
    lines : Lines
        What it was held against.
    series : Series
        The evidence.
    reject_alpha : float
        Level of the bound by which it would be rejected.
    higher_is_better : bool
        Whether the metric grows with quality; a loss falls.
    """

    proof: Proof
    clause: Clause
    lines: Lines
    series: Series
    reject_alpha: float
    higher_is_better: bool = False


def sentence(telling: Telling) -> str:
    """Return the sentence that gives the numbers of a claim, as changes of its metric."""
    clause, series = telling.clause, telling.series
    change = _Change(digits(series.baseline_value), telling.higher_is_better)
    parts = [
        f"{shown_metric(series.metric)} {change(clause.value)} ({_bounds(telling, change)})",
        f"{clause.n_rows:,} unseen rows"
        + (
            ""
            if clause.n_rows == clause.n_blocks
            else f" in {counted(clause.n_blocks, series.unit)}"
        ),
    ]
    if clause.n_effective < 0.9 * clause.n_blocks:
        parts.append(f"worth {clause.n_effective:.0f} independent ones")
    return ", ".join(parts)


class _Change:
    """Writes a gain as the change of the metric: of a loss, a gain of 0.02 is -0.0200."""

    def __init__(self, n_digits: int, higher_is_better: bool) -> None:  # noqa: FBT001  # private, one caller
        self.n_digits = n_digits
        self.sign = 1.0 if higher_is_better else -1.0

    def __call__(self, gain: float) -> str:
        """Return the change with its sign."""
        change = round(self.sign * gain, self.n_digits)
        # Without this a change that rounds to nothing is written -0.0000.
        return f"{change + 0.0:+,.{self.n_digits}f}"


def _bounds(telling: Telling, change: _Change) -> str:
    clause, lines = telling.clause, telling.lines
    if math.isnan(clause.lower) or math.isnan(clause.upper):
        return "too few or too unequal blocks to bound it"
    is_no_worse = telling.proof.kind == "no_worse"
    if clause.state == "cannot_tell":
        return (
            f"between {change(clause.upper)} at {level(telling.reject_alpha)} "
            f"and {change(clause.lower)} at {level(clause.alpha)}"
        )
    if clause.state == "fails":
        best = f"at best {change(clause.upper)} at {level(telling.reject_alpha)}"
        if is_no_worse:
            return f"{best}; allowed {change(lines.margin)}"
        return f"{best}; worth shipping from {change(lines.smallest_gain)}"
    if is_no_worse:
        return (
            f"at most {change(clause.lower)} at {level(clause.alpha)}; "
            f"allowed {change(lines.margin)}"
        )
    asked = f"; asked {change(lines.margin)}" if lines.margin else ""
    return f"at least {change(clause.lower)} at {level(clause.alpha)}{asked}"


def level(alpha: float) -> str:
    """Return one less an error as a percentage with the digits that matter.

    Examples
    --------
    >>> level(0.025), level(0.0035), level(0.00012)
    ('97.5%', '99.65%', '99.988%')
    """
    n_digits = 1 if alpha >= 0.01 else max(1, 1 - math.floor(math.log10(alpha)) - 2)
    return f"{100 * (1 - alpha):.{n_digits}f}".rstrip("0").rstrip(".") + "%"


def shown_metric(name: str) -> str:
    """Return the name of a metric as people write it.

    Examples
    --------
    >>> shown_metric("log_loss"), shown_metric("absolute_error")
    ('log-loss', 'absolute error')
    """
    return "log-loss" if name == "log_loss" else name.replace("_", " ")


def digits(value: float) -> int:
    """Return the decimals that show four digits of a value."""
    if not value or not math.isfinite(value):
        return 4
    return min(12, max(0, 3 - math.floor(math.log10(abs(value)))))


def counted(n: int, unit: str) -> str:
    """Return a number with its unit: ``1 day``, ``14 days``."""
    return f"{n:,} {unit}" if n == 1 else f"{n:,} {unit}s"
