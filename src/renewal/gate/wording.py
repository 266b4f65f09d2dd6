"""What the gate says in words: the numbers behind a verdict, and what to do now."""

from __future__ import annotations

import math

from renewal.core.verdict import Verdict
from renewal.gate.options import GateOptions
from renewal.stats.paired import PairedMean
from renewal.stats.power import blocks_needed

_POWER = 0.8
# A test that may be looked at after every block takes more of them to the same power.
# Simulated at effects of 0.2 to 0.8 deviations, four of five runs end within 1.8 to 1.9 times
# the fixed number; half of them within 1.1 to 1.3 times.
_PRICE_OF_LOOKING = 1.8


def reason(verdict: Verdict, *, unit: str, baseline_loss: float, is_capped: bool = False) -> str:
    """Return the sentence that gives a verdict's numbers, as changes of the loss.

    Parameters
    ----------
    verdict : Verdict
        Complete but for its words.
    unit : str
        What a block is, singular.
    baseline_loss : float
        The baseline's mean loss; fixes how many digits are worth printing.
    is_capped : bool, default False
        Whether it is a rejection only because the gate waits no longer.
    """
    loss = "log-loss" if verdict.loss == "log_loss" else verdict.loss.replace("_", " ")
    digits = _digits(baseline_loss)
    change = _Change(digits)
    parts = [
        f"{loss} {change(verdict.gain)} ({_bounds(verdict, change, is_capped=is_capped)})",
        f"{verdict.n_rows:,} unseen rows in {_counted(verdict.n_blocks, unit)}",
    ]
    if verdict.n_effective < 0.9 * verdict.n_blocks:
        parts.append(f"worth {verdict.n_effective:.0f} independent ones")
    if is_capped:
        parts.append("not proved after the longest that this gate waits")
    return ", ".join(parts)


def next_action(verdict: Verdict, found: PairedMean, options: GateOptions, *, unit: str) -> str:
    """Return what to do now.

    Parameters
    ----------
    verdict : Verdict
        Complete but for its words.
    found : PairedMean
        The estimate behind it.
    options : GateOptions
        Of the gate.
    unit : str
        What a block is, singular.

    Returns
    -------
    str
        ``roll out``, ``try another strategy``, or how many more blocks to wait for.
    """
    if verdict.outcome == "accept":
        return "roll out"
    if verdict.outcome == "reject":
        return "try another strategy"
    if verdict.n_blocks < options.min_blocks:
        return f"wait for {_counted(options.min_blocks - verdict.n_blocks, f'more {unit}')}"
    more = blocks_to_wait(verdict, found, options)
    if more is None:
        return "try another strategy"
    left = options.max_blocks - (verdict.n_blocks if verdict.look == "sequential" else 0)
    wait = f"wait for {_counted(more, f'more {unit}')}"
    if more > left:
        return f"try another strategy, or {wait} (the gate waits for {left:,} at most)"
    return wait


def blocks_to_wait(verdict: Verdict, found: PairedMean, options: GateOptions) -> int | None:
    """Return about how many more blocks an acceptance would take; None where none suffices.

    Planned for the larger of the observed gain and the smallest worth shipping, at a power
    of 80%. Blocks of the first look do not count again, so after it all of them are new.

    Parameters
    ----------
    verdict : Verdict
        Undecided.
    found : PairedMean
        The estimate behind it.
    options : GateOptions
        Of the gate.
    """
    hoped = 0.0 if verdict.claim == "no_worse" else verdict.smallest_gain
    effect = max(verdict.gain, hoped) - verdict.margin
    if effect <= 0.0 or not math.isfinite(found.sd):
        return None
    sd = found.sd * math.sqrt(found.n / found.n_effective)
    fixed = blocks_needed(effect, sd, options.later_alpha, _POWER)
    needed = max(options.min_blocks, math.ceil(_PRICE_OF_LOOKING * fixed))
    have = verdict.n_blocks if verdict.look == "sequential" else 0
    return max(1, needed - have)


class _Change:
    """Writes a gain as the change of the loss: a gain of 0.02 is -0.0200."""

    def __init__(self, digits: int) -> None:
        self.digits = digits

    def __call__(self, gain: float) -> str:
        """Return the change with its sign."""
        change = round(-gain, self.digits)
        # Without this a change that rounds to nothing is written -0.0000.
        return f"{change + 0.0:+,.{self.digits}f}"


def _bounds(verdict: Verdict, change: _Change, *, is_capped: bool) -> str:
    level = f"{100 * (1 - verdict.alpha):.4g}%"
    if math.isnan(verdict.lower) or math.isnan(verdict.upper):
        return "too few or too unequal blocks to bound it"
    if verdict.outcome == "undecided" or is_capped:
        return f"between {change(verdict.upper)} and {change(verdict.lower)}, each at {level}"
    if verdict.outcome == "reject":
        best = f"at best {change(verdict.upper)} at {level}"
        if verdict.claim == "no_worse":
            return f"{best}; allowed {change(verdict.margin)}"
        return f"{best}; worth shipping from {change(verdict.smallest_gain)}"
    if verdict.claim == "no_worse":
        return f"at most {change(verdict.lower)} at {level}; allowed {change(verdict.margin)}"
    asked = f"; asked {change(verdict.margin)}" if verdict.margin else ""
    return f"at least {change(verdict.lower)} at {level}{asked}"


def _digits(baseline_loss: float) -> int:
    """Decimals that show four digits of the baseline's loss."""
    if not baseline_loss or not math.isfinite(baseline_loss):
        return 4
    return min(12, max(0, 3 - math.floor(math.log10(abs(baseline_loss)))))


def _counted(n: int, unit: str) -> str:
    return f"{n:,} {unit}" if n == 1 else f"{n:,} {unit}s"
