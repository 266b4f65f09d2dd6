"""The end of the demo: its tables, its decisions, and the figures for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from renewal.cli.demo_story import MonthScore, Story
from renewal.cli.show import table


def print_ending(console: Console, story: Story, report: Path) -> None:
    """Print the final tables, one line a decision, and the number of failed requests."""
    console.print()
    console.print(
        table(
            ["month", "rows", "AUC never", "live", "monthly", "loss never", "live", "monthly"],
            [_month(each) for each in story.months],
            title="Area under the ROC curve and log-loss, by month",
        )
    )
    console.print(
        table(
            ["decided", "versions", "claimed gain", "at least", "true gain, next 30 d", "rows"],
            [
                (
                    f"{each.at:%Y-%m-%d}",
                    f"{each.candidate} / {each.baseline}",
                    _gain(each.claimed_gain),
                    _gain(each.lower),
                    _gain(each.true_gain_30d),
                    f"{each.n_rows:,}",
                )
                for each in story.decisions
            ],
            title="What the gate claimed beside what came true (log-loss)",
        )
    )
    console.print(
        table(
            ["update", "training s", "why"],
            [
                (f"{each.at:%Y-%m-%d}", f"{each.training_s:.1f}", "; ".join(each.reasons))
                for each in story.updates
            ],
            title=f"{len(story.updates)} updates",
        )
    )
    console.print(f"report: {report}", highlight=False)
    console.print(
        f"took {story.wall_s:.0f} s; {story.n_rows:,} rows in {story.n_requests:,} requests"
    )
    for each in story.decisions:
        console.print(
            f"{each.outcome}: {each.candidate} ({each.strategy}) on {each.at:%Y-%m-%d}: "
            f"{each.reason}",
            highlight=False,
        )
    console.print(f"failed requests: {story.failed_requests}", highlight=False)


def figures(story: Story, report: Path) -> dict[str, Any]:
    """Return the story's figures as JSON values, for ``--json`` and for the benchmark."""
    return {
        "months": [
            {
                "month": each.month,
                "n_rows": each.n_rows,
                **{
                    way: {"auc": score.auc, "log_loss": score.log_loss}
                    for way, score in _ways(each)
                },
            }
            for each in story.months
        ],
        "mean": {
            way: {
                "auc": weighted_mean(story.months, way, "auc"),
                "log_loss": weighted_mean(story.months, way, "log_loss"),
            }
            for way in ("never", "live", "monthly")
        },
        "decisions": [
            {
                "at": each.at.isoformat(),
                "outcome": each.outcome,
                "candidate": each.candidate,
                "baseline": each.baseline,
                "strategy": each.strategy,
                "claimed_gain": _number(each.claimed_gain),
                "lower": _number(each.lower),
                "upper": _number(each.upper),
                "true_gain_30d": _number(each.true_gain_30d),
            }
            for each in story.decisions
        ],
        "n_updates": len(story.updates),
        "training_s": [each.training_s for each in story.updates],
        "n_alarms": len(story.alarms),
        "n_requests": story.n_requests,
        "n_rows": story.n_rows,
        "failed_requests": story.failed_requests,
        "wall_s": story.wall_s,
        "report": str(report),
    }


def weighted_mean(months: Iterable[MonthScore], way: str, metric: str) -> float:
    """Return the mean of a metric over months, each counted by its rows."""
    pairs = [(each.n_rows, getattr(getattr(each, way), metric)) for each in months]
    return float(sum(n * value for n, value in pairs) / sum(n for n, _ in pairs))


def _ways(month: MonthScore) -> list[tuple[str, Any]]:
    return [("never", month.never), ("live", month.live), ("monthly", month.monthly)]


def _month(month: MonthScore) -> tuple[object, ...]:
    scores = [score for _, score in _ways(month)]
    return (
        month.month,
        f"{month.n_rows:,}",
        *(f"{score.auc:.3f}" for score in scores),
        *(f"{score.log_loss:.4f}" for score in scores),
    )


def _gain(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.4f}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
