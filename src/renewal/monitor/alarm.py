"""What the monitor says: that something has changed, how it knows, and what waiting costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from renewal.monitor.drift import FeatureDrift
from renewal.monitor.performance import Performance

AlarmKind = Literal["drift", "performance"]

# Names in a sentence; the evidence holds all of them.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something has changed in the traffic or in the losses of a version.

    Parameters
    ----------
    kind : {"drift", "performance"}
        Features moved, or losses rose.
    version_id : str
        The version that is served.
    at : datetime
        When the monitor looked.
    evidence : mapping
        The numbers, JSON values.
    sentence : str
        The same in one line, with the expected cost of doing nothing.
    expected_cost : float or None, unit of the loss a day
        Excess loss a row times rows a day; None as long as no labels tell it.
    """

    kind: AlarmKind
    version_id: str
    at: datetime
    evidence: Mapping[str, Any]
    sentence: str
    expected_cost: float | None


def performance_alarm(version_id: str, at: datetime, performance: Performance) -> Alarm:
    """Put into words that the losses of a version have risen.

    Parameters
    ----------
    version_id : str
        The version.
    at : datetime
        Now.
    performance : Performance
        A state whose `is_worse` holds.
    """
    baseline, detector, excess = performance.baseline, performance.detector, performance.excess
    assert baseline is not None and detector is not None and excess is not None  # noqa: PT018  # one state
    cost = _cost(performance)
    n_blocks = len(performance.recent)
    sentence = (
        f"loss {performance.mean_now:.4f} a row over the last {n_blocks} blocks, "
        f"{baseline.mean:.4f} over the first {baseline.n_blocks}: {excess:+.4f}; "
        f"{_cost_words(cost, performance)}"
    )
    evidence = {
        "loss_now": performance.mean_now,
        "loss_before": baseline.mean,
        "excess": excess,
        "n_blocks": n_blocks,
        "n_rows": sum(each.n_rows for each in performance.recent),
        "n_reference_blocks": baseline.n_blocks,
        "last_block": performance.last_block,
        "log_detector": detector.log_value,
        "false_alarm_every_blocks": detector.every,
    }
    return Alarm("performance", version_id, at, evidence, sentence, cost)


def drift_alarm(
    version_id: str,
    at: datetime,
    found: Sequence[FeatureDrift],
    *,
    n_rows: int,
    window_days: int,
    performance: Performance,
) -> Alarm:
    """Put into words that features have moved.

    Parameters
    ----------
    version_id : str
        The version.
    at : datetime
        Now.
    found : sequence of FeatureDrift
        All features, largest effect first; at least one has drifted.
    n_rows, window_days : int
        The window.
    performance : Performance
        What the labels say meanwhile; decides the expected cost.
    """
    drifted = [each for each in found if each.has_drifted]
    named = ", ".join(
        f"{each.name} (PSI {each.psi:.2f}, {each.critical:.2f} needed; {each.moved})"
        for each in drifted[:_NAMED]
    )
    more = f" and {len(drifted) - _NAMED} more" if len(drifted) > _NAMED else ""
    cost = _cost(performance)
    sentence = (
        f"{len(drifted)} of {len(found)} features drifted over {window_days} days "
        f"({n_rows:,} rows): {named}{more}; {_cost_words(cost, performance)}"
    )
    evidence = {
        "n_drifted": len(drifted),
        "n_features": len(found),
        "n_rows": n_rows,
        "window_days": window_days,
        "features": {
            each.name: {
                "psi": each.psi,
                "critical": each.critical,
                "p_value": each.p_value,
                "moved": each.moved,
            }
            for each in drifted
        },
    }
    return Alarm("drift", version_id, at, evidence, sentence, cost)


def _cost(performance: Performance) -> float | None:
    """Return the expected cost of doing nothing, a day, as far as labels tell it."""
    if performance.excess is None:
        return None
    return max(0.0, performance.excess) * performance.rows_per_block


def _cost_words(cost: float | None, performance: Performance) -> str:
    if cost is None:
        return "expected cost of doing nothing: unknown until labels arrive"
    return (
        f"expected cost of doing nothing: {cost:.1f} loss a day "
        f"({performance.rows_per_block:,.0f} rows a day)"
    )
