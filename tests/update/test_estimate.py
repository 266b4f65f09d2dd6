"""What a fit will take, by what earlier ones took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from renewal.core.clock import from_us
from renewal.core.option_text import plain_options
from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.models.layers import Tuning
from renewal.models.torch_model import TorchModel
from renewal.testing.torch_nets import Dense
from renewal.update.contract import Parent
from renewal.update.estimate import expected_s, rows_used
from renewal.update.recipe import parse_recipe

ParentOf = Callable[..., Parent]
NET = TorchModel(Dense, {"n_inputs": 3}, Tuning(epochs=1, batch=64, lr=1e-2, patience=None))


@pytest.fixture
def version(parent_of: ParentOf, timed: Rows) -> Version:
    return parent_of(SGDClassifier(loss="log_loss"), timed).version


def made(version: Version, n_rows: int, strategy: str = "retrain", **facts: Any) -> Version:
    options = {}
    if "recipe" in facts:
        recipe = parse_recipe(facts["recipe"])
        strategy, options = recipe.strategy, plain_options(recipe.options)
    manifest = replace(version.manifest, n_trained_rows=n_rows, strategy=strategy, options=options)
    return replace(version, manifest=manifest, facts=facts)


def test_seconds_grow_with_the_rows(version: Version) -> None:
    before = [made(version, 100, recipe="retrain", fit_s=2.0)]
    assert expected_s("retrain", 1_000, before) == pytest.approx(20.0)


def test_the_last_three_fits_count_and_one_outlier_does_not(version: Version) -> None:
    paces = (90.0, 1.0, 50.0, 1.2)
    before = [made(version, 100, recipe="retrain", fit_s=each) for each in paces]
    assert expected_s("retrain", 100, before) == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("retrain(window=8w)", "retrain"),
        ("retrain", "retrain(window=8w)"),
        ("retrain(window=8w,half_life=2w)", "retrain(balance=true,min_rows=50)"),
        ("fine_tune(replay=2.0)", "fine_tune"),
        ("incremental(replay=0.5)", "incremental"),
    ],
)
def test_other_rows_cost_the_same_each(version: Version, asked: str, known: str) -> None:
    """Breaks when a window of what has run for months takes nobody knows how long."""
    before = [made(version, 100, recipe=known, fit_s=2.0)]
    assert expected_s(asked, 50, before) == pytest.approx(1.0)
    own = made(version, 100, recipe=asked, fit_s=6.0)
    assert expected_s(asked, 50, [own, *before]) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ("retrain", "retrain(trials=20)"),
        ("retrain(trials=20,window=8w)", "retrain(trials=20)"),
        ("retrain(calibrate=sigmoid)", "retrain"),
        ("fine_tune(epochs=10)", "fine_tune"),
        ("fine_tune(train=last:1)", "fine_tune"),
        ("incremental(way=leaves)", "incremental"),
        ("incremental", "retrain"),
    ],
)
def test_another_fit_tells_nothing(version: Version, asked: str, known: str) -> None:
    """Breaks when a recipe is skipped, or paid for, by what another one takes."""
    before = [made(version, 100, recipe=known, fit_s=2.0)]
    assert expected_s(asked, 100, before) is None


def test_the_first_training_tells_of_retraining(version: Version) -> None:
    first = [made(version, 50, strategy="train", fit_s=1.0)]
    assert expected_s("retrain", 100, first) == pytest.approx(2.0)
    assert expected_s("retrain(window=8w)", 100, first) == pytest.approx(2.0)
    elsewhere = [made(version, 0, strategy="register")]
    assert expected_s("retrain", 100, elsewhere) is None


RECIPES = (
    "retrain",
    "retrain:window=10d",
    "recalibrate:method=temperature",
    *(f"incremental:replay={replay}" for replay in (0.0, 0.25, 9.0)),
    *(f"fine_tune:epochs=1,replay={replay}" for replay in (0.0, 0.5, 9.0)),
)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("kind", ["fitted", "unknown", "mapped", "of a window"])
def test_as_many_rows_as_the_fit_then_uses(
    parent_of: ParentOf, timed: Rows, recipe: str, kind: str
) -> None:
    """Breaks when the rows foreseen are not those fitted: unlabelled, known or forgotten ones."""
    parsed = parse_recipe(recipe)
    is_net = parsed.strategy == "fine_tune"
    parent = parent_of(NET if is_net else SGDClassifier(loss="log_loss"), timed)
    keyset, manifest = parent.keyset, parent.version.manifest
    assert keyset is not None
    if kind == "unknown":
        parent = replace(parent, keyset=None)
    elif kind == "mapped":  # of which rows 400 to 700 have told no more than the map
        mapped = KeySet.of(timed.take(np.arange(400, 700)))
        parent = replace(parent, keyset=keyset.union(mapped), only_mapped=mapped)
    elif kind == "of a window":
        until = from_us(int(timed.event_us[800]))
        manifest = replace(manifest, options={"window": "1w"}, trained_until=until)
    parent = replace(parent, version=replace(parent.version, manifest=manifest))
    strategy = load_plugin("strategies", parsed.strategy)()
    assert not timed.has_label.all()
    fitted = strategy.make(parent, timed, parsed.options, 1)
    assert rows_used(parsed, parent, timed) == fitted.n_rows
