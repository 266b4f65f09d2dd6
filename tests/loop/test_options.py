"""The loop's part of the policy: what could try nothing is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from renewal.core.errors import Invalid
from renewal.loop.options import UpdateOptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipes": ()},
        {"min_gain": -0.1},
        {"min_gain": math.nan},
        {"former": -1},
        {"trials": -1},
        {"price_per_hour": math.nan},
        {"price_per_hour": math.inf},
    ],
)
def test_what_could_try_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """Broken by a NaN, which TOML can write: every comparison of the race would be false."""
    with pytest.raises(Invalid):
        UpdateOptions(**wrong)
