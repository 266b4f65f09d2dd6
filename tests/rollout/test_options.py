"""The options refuse what no rollout could obey."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from renewal.core.errors import Invalid
from renewal.rollout.options import RolloutOptions


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"canary": (0.5, 0.1)}, "shares strictly between 0 and 1"),
        ({"canary": (0.1, 0.1)}, "shares strictly between 0 and 1"),
        ({"canary": (0.0, 0.1)}, "shares strictly between 0 and 1"),
        ({"canary": (0.1, 1.0)}, "shares strictly between 0 and 1"),
        ({"canary": (float("nan"),)}, "shares strictly between 0 and 1"),
        ({"shadow_for": timedelta(seconds=-1)}, "shadow_for"),
        ({"watch_for": timedelta(days=-1)}, "watch_for"),
        ({"harm_alpha": 0.0}, "harm_alpha"),
        ({"error_alpha": 1.0}, "error_alpha"),
        ({"harm_margin_share": -0.1}, "harm_margin_share"),
        ({"harm_margin_share": float("inf")}, "harm_margin_share"),
    ],
)
def test_refuses_what_no_rollout_could_obey(wrong: dict[str, Any], named: str) -> None:
    """Breaks when a share of 0, 1 or NaN, or shares that fall, reach the machine."""
    with pytest.raises(Invalid, match=named):
        RolloutOptions(**wrong)


def test_a_rollout_may_have_no_canary() -> None:
    assert RolloutOptions(canary=()).canary == ()
