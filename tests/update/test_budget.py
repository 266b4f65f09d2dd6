"""Budgets: what is read, and what is left."""

from __future__ import annotations

import math

import pytest

from renewal.core.errors import Invalid
from renewal.update.budget import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", Budget(seconds=600.0)),
        (" 90s ", Budget(seconds=90.0)),
        ("20 trials", Budget(trials=20)),
        ("1 trial", Budget(trials=1)),
        ("10m and 3trials", Budget(seconds=600.0, trials=3)),
    ],
)
def test_every_form_is_read(text: str, expected: Budget) -> None:
    assert parse_budget(text) == expected


def test_money_is_seconds_at_a_price() -> None:
    budget = parse_budget("1.50 usd", price_per_hour=3.0)
    assert (budget.left_s(0.0), budget.left_s(600.0)) == (1800.0, 1200.0)
    assert budget.cost(60.0) == pytest.approx(0.05)
    assert budget.currency == "usd"


def test_the_tighter_limit_counts() -> None:
    assert parse_budget("10m and 1 usd", price_per_hour=60.0).left_s(0.0) == 60.0


def test_what_is_not_limited_is_free() -> None:
    assert Budget().left_s(1e9) == math.inf
    assert Budget().cost(1e9) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ten minutes",
        "10",
        "-3m",
        "2.5 trials",
        "5 usd",
        "inf",
        "1e400",
        "99999999999w",
        "9" * 400 + "s",
        "9" * 5000 + " trials",
    ],
)
def test_other_forms_are_refused(text: str) -> None:
    """``5 usd`` is money without a price; the last ones are numbers that Python cannot hold."""
    with pytest.raises(Invalid):
        parse_budget(text)


@pytest.mark.parametrize(
    "kwargs", [{"seconds": -1.0}, {"trials": -1}, {"seconds": math.nan}, {"seconds": math.inf}]
)
def test_negative_and_infinite_budgets_are_refused(kwargs: dict[str, float]) -> None:
    with pytest.raises(Invalid, match="at least 0"):
        Budget(**kwargs)  # type: ignore[arg-type]  # trials is a whole number
