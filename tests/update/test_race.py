"""The race: what a recipe says, who wins, and which rows decide about what."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid, NotFound
from renewal.data.forward import ForwardWindow
from renewal.data.roles import role_of
from renewal.data.rows import Rows
from renewal.testing.updating import DAY_US
from renewal.update.race import (
    Entry,
    Recipe,
    judged_rows,
    parse_recipe,
    pick,
    selection_rows,
    training_rows,
)
from renewal.update.retrain import RetrainOptions

SALT = b"salt"
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


def test_the_smallest_loss_wins_and_equals_go_to_the_first() -> None:
    entries = [
        Entry("keep", "made", "", 0.50),
        Entry("recalibrate", "made", "", 0.45),
        Entry("incremental", "not_possible", "no partial_fit"),
        Entry("retrain", "made", "", 0.45, 1.0),
        Entry("broken", "failed", "", 0.1),
        Entry("endless", "made", "", float("nan")),
    ]
    best = pick(entries)
    assert best is not None
    assert best.recipe == "recalibrate"


@pytest.mark.parametrize("losses", [(0.5, 0.5), (0.5, 0.6), (0.5, None), (None, None)])
def test_no_candidate_is_better_than_a_worse_one(losses: tuple[float | None, ...]) -> None:
    """Breaks when a candidate no better than the champion is sent to the gate."""
    names = ("keep", "retrain")
    entries = [Entry(name, "made", "", loss) for name, loss in zip(names, losses, strict=True)]
    assert pick(entries) is None


def test_an_entry_survives_the_journal() -> None:
    for entry in (
        Entry("retrain(window=8w)", "made", "5 rows", 0.25, 1.5),
        Entry("x", "skipped", "y"),
    ):
        assert msgspec.convert(msgspec.to_builtins(entry), Entry) == entry


def test_timed_rows_are_cut_forward(timed: Rows) -> None:
    """Breaks when a row decides about a candidate that was fitted on it, or inside the embargo."""
    start_us = int(timed.event_us.min())
    window = ForwardWindow(start_us + 40 * DAY_US, start_us + 42 * DAY_US, start_us + 56 * DAY_US)
    week = timedelta(days=7)
    raced = training_rows(timed, window, salt=SALT, before=week)
    chosen = selection_rows(timed, window, salt=SALT, length=week)
    fitted = training_rows(timed, window, salt=SALT)
    judged = judged_rows(timed, window, salt=SALT)

    def days(rows: Rows) -> tuple[int, int]:
        found = (rows.event_us - start_us) // DAY_US
        return int(found.min()), int(found.max())

    assert days(raced) == (0, 30)  # two days of embargo before the selection
    assert days(chosen) == (33, 39)
    assert days(fitted) == (0, 39)
    assert days(judged) == (42, 55)
    assert len(judged) == 14 * 20


def test_the_borders_are_half_open(timed: Rows) -> None:
    at_us = int(timed.event_us[100])
    window = ForwardWindow(at_us, at_us, int(timed.event_us[200]))
    assert training_rows(timed, window, salt=SALT).event_us.max() < at_us
    judged = judged_rows(timed, window, salt=SALT).event_us
    assert judged.min() == at_us
    assert judged.max() < timed.event_us[200]


def test_timeless_rows_are_split_by_role(timeless: Rows) -> None:
    """Breaks when a group is in two of the three, or a row in none."""
    week = timedelta(days=7)
    parts = [
        training_rows(timeless, None, salt=SALT),
        selection_rows(timeless, None, salt=SALT, length=week),
        judged_rows(timeless, None, salt=SALT),
    ]
    for role, part in enumerate(parts):
        assert np.all(role_of(part.group_hash, SALT) == role)
    assert sum(map(len, parts)) == len(timeless)
    groups = [set(part.group_hash.tolist()) for part in parts]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]


def test_before_does_not_move_timeless_rows(timeless: Rows) -> None:
    raced = training_rows(timeless, None, salt=SALT, before=timedelta(days=7))
    assert len(raced) == len(training_rows(timeless, None, salt=SALT))
