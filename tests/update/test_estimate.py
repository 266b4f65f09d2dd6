"""What a fit will take, by what earlier ones took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.update.contract import Parent
from renewal.update.estimate import expected_s, rows_used
from renewal.update.recipe import parse_recipe

ParentOf = Callable[..., Parent]


@pytest.fixture
def version(parent_of: ParentOf, timed: Rows) -> Version:
    return parent_of(SGDClassifier(loss="log_loss"), timed).version


def made(version: Version, n_rows: int, strategy: str = "retrain", **facts: Any) -> Version:
    manifest = replace(version.manifest, n_trained_rows=n_rows, strategy=strategy)
    return replace(version, manifest=manifest, facts=facts)


def test_seconds_grow_with_the_rows(version: Version) -> None:
    before = [made(version, 100, recipe="retrain", fit_s=2.0)]
    assert expected_s("retrain", 1_000, before) == pytest.approx(20.0)


def test_the_last_three_fits_count_and_one_outlier_does_not(version: Version) -> None:
    paces = (90.0, 1.0, 50.0, 1.2)
    before = [made(version, 100, recipe="retrain", fit_s=each) for each in paces]
    assert expected_s("retrain", 100, before) == pytest.approx(1.2)


def test_another_recipe_tells_nothing(version: Version) -> None:
    before = [made(version, 100, recipe="retrain(window=8w)", fit_s=2.0)]
    assert expected_s("retrain", 100, before) is None


def test_the_first_training_tells_of_retraining(version: Version) -> None:
    first = [made(version, 50, strategy="train", fit_s=1.0)]
    assert expected_s("retrain", 100, first) == pytest.approx(2.0)
    elsewhere = [made(version, 0, strategy="register")]
    assert expected_s("retrain", 100, elsewhere) is None


@pytest.mark.parametrize(("recipe", "n_rows"), [("retrain", 1_200), ("retrain:window=10d", 200)])
def test_a_fresh_fit_takes_all_rows_or_a_window(
    parent_of: ParentOf, timed: Rows, recipe: str, n_rows: int
) -> None:
    parent = parent_of(SGDClassifier(loss="log_loss"), timed)
    assert rows_used(parse_recipe(recipe), parent, timed) == n_rows


@pytest.mark.parametrize("replay", [0.0, 0.25, 9.0])
def test_going_on_takes_new_rows_and_replays_a_share(
    parent_of: ParentOf, timed: Rows, replay: float
) -> None:
    parent = parent_of(SGDClassifier(loss="log_loss"), timed)
    assert parent.keyset is not None
    n_new = int(np.sum(~np.isin(timed.key_hash, parent.keyset.keys)))
    recipe = parse_recipe(f"incremental:replay={replay}")
    assert rows_used(recipe, parent, timed) == min(n_new + round(replay * n_new), 1_200)
