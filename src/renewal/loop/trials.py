"""What people are told of the trials of a compression."""

from __future__ import annotations

from typing import Any

from renewal.compress.goal import Goal
from renewal.compress.search import Found
from renewal.compress.trial import Trial
from renewal.registry.codec import to_plain


def shown(trial: Trial, found: Found) -> dict[str, Any]:
    """Return what people are told of a trial."""
    return {
        "key": trial.key,
        "chain": trial.chain,
        "failed": trial.failed,
        "gain": found.gains.get(trial.key),
        "size": to_plain(trial.size),
        "seconds": trial.seconds,
        "effort": trial.effort,
        "note": trial.note,
    }


def sentence_of(trial: Trial, gain: float, goal: Goal) -> str:
    """Return what came of a trial in one line."""
    if trial.failed is not None:
        return f"{trial.chain}: {trial.failed}"
    assert trial.size is not None, "a trial that did not fail has a size"
    little = "" if trial.effort == 1.0 else f", {trial.effort:.0%} of the effort"
    return f"{trial.chain}: {trial.size.bytes:,} bytes, {goal.metric} {gain:+.4f}{little}"
