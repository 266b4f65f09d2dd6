"""Breaks when options are accepted under which a verdict would mean nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from renewal.core.errors import Invalid
from renewal.gate.options import GateOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("claim", "best"),
        ("margin", -0.1),
        ("margin", float("nan")),
        ("alpha", 0.0),
        ("alpha", 0.5),
        ("alpha", float("nan")),
        ("first_look_share", 0.0),
        ("first_look_share", 1.0),
        ("holdout", timedelta(0)),
        ("embargo", timedelta(days=-1)),
        ("smallest_gain_share", -0.01),
        ("smallest_gain_share", 1.0),
        ("min_blocks", 1),
        ("max_blocks", 6),
    ],
)
def test_what_means_nothing_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(Invalid, match=rf"needs {name} ") as caught:
        GateOptions(**{name: value})
    assert repr(value) in str(caught.value)


def test_no_worse_needs_a_margin() -> None:
    with pytest.raises(Invalid, match="above 0 for no_worse"):
        GateOptions(claim="no_worse")
    assert GateOptions(claim="no_worse", margin=0.01).margin == 0.01


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_looks_spend_no_more_than_alpha_together(share: float) -> None:
    options = GateOptions(alpha=0.05, first_look_share=share)
    assert options.first_alpha + options.later_alpha == pytest.approx(0.05)
    assert options.first_alpha == pytest.approx(0.05 * share)
