"""Recipes: every form is read, and a label is read back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid, NotFound
from renewal.update.recipe import Recipe, parse_recipe
from renewal.update.retrain import RetrainOptions

FORMS = [
    "retrain:window=8w,min_rows=50",
    "retrain(window=8w, min_rows=50)",
    " retrain : window=8w,min_rows=50 ",
]


@pytest.mark.parametrize("text", FORMS)
def test_every_form_of_a_recipe_is_read(text: str) -> None:
    recipe = parse_recipe(text)
    assert recipe == Recipe("retrain", RetrainOptions(timedelta(weeks=8), 50))
    assert recipe.label == "retrain(window=8w,min_rows=50)"


@given(
    st.none() | st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=900)),
    st.integers(1, 10**6),
)
def test_a_label_is_a_recipe(window: timedelta | None, min_rows: int) -> None:
    """The journal keeps labels: what it cannot read back it cannot finish after a crash."""
    recipe = Recipe("retrain", RetrainOptions(window, min_rows))
    assert parse_recipe(recipe.label) == recipe


def test_a_recipe_without_options_is_its_name() -> None:
    assert [parse_recipe(name).label for name in ("recalibrate", "incremental", "retrain")] == [
        "recalibrate",
        "incremental",
        "retrain",
    ]


def test_wrong_recipes_offer_the_nearest() -> None:
    with pytest.raises(NotFound, match="Did you mean 'retrain'"):
        parse_recipe("retrian")
    with pytest.raises(Invalid, match="Did you mean 'window'"):
        parse_recipe("retrain:windw=8w")
    with pytest.raises(Invalid, match="name of a strategy"):
        parse_recipe("retrain[8w]")
    with pytest.raises(Invalid, match="longer than 0"):
        parse_recipe("retrain:window=0s")


@pytest.mark.parametrize("window", ["99999999999w", "9" * 400 + "d"])
def test_a_window_longer_than_a_calendar_is_refused(window: str) -> None:
    """Breaks when an OverflowError reaches the person who wrote it."""
    with pytest.raises(Invalid, match="a duration"):
        parse_recipe(f"retrain:window={window}")
