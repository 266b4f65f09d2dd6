"""The options refuse what no monitor could keep."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from renewal.core.errors import Invalid
from renewal.monitor.options import MonitorOptions


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"window": timedelta(hours=12)}, "whole days"),
        ({"window": timedelta(days=1.5)}, "whole days"),
        ({"false_alarm_every": timedelta(days=1)}, "2 days"),
        ({"min_reference_blocks": 1}, "2 reference blocks"),
        ({"n_bins": 1}, "2 bins"),
        ({"tolerated_psi": -0.1}, "tolerated_psi"),
        ({"loss_floor_share": float("nan")}, "loss_floor_share"),
    ],
)
def test_refuses_what_no_monitor_could_keep(wrong: dict[str, Any], named: str) -> None:
    """Breaks when a window of no days, or a level above 1/2, reaches the detectors."""
    with pytest.raises(Invalid, match=named):
        MonitorOptions(**wrong)


def test_the_levels_of_a_year_of_looks_add_up_to_one_false_alarm() -> None:
    assert MonitorOptions().daily_alpha * 365 == pytest.approx(1.0)
