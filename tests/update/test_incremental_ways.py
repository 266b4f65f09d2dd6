"""The ways of going on: rows, trees, leaves, steps; what grows; what is replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightgbm
import numpy as np
import pytest
import river.tree
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import GaussianNB

from renewal.core.errors import Invalid, Refused
from renewal.core.progress import hearing
from renewal.data.rows import Rows
from renewal.models.layers import Tuning
from renewal.models.torch_model import TorchModel
from renewal.testing.recording import RecordingClassifier, recording
from renewal.testing.torch_nets import Dense
from renewal.testing.updating import row_ids
from renewal.update.contract import Means, Parent
from renewal.update.incremental import Incremental, IncrementalOptions

ParentOf = Callable[..., Parent]
BOOSTERS = [
    lightgbm.LGBMClassifier(n_estimators=20, num_leaves=7, verbose=-1, n_jobs=1),
    xgboost.XGBClassifier(n_estimators=20, max_depth=3, n_jobs=1),
]
boosters = pytest.mark.parametrize("recipe", BOOSTERS, ids=["lightgbm", "xgboost"])


def _loss(parent: Parent, estimator: Any, rows: Rows) -> float:
    labelled = rows.labelled()
    labels = parent.task.labels(labelled.label, who="t")
    scores = parent.adapter.predict(estimator, labelled.features)
    return float(parent.task.loss(scores, labels, parent.adapter.classes(estimator)).mean())


def _turned(rows: Rows, since: int) -> Rows:
    """Return the rows of a world that turns over at one of them."""
    label = np.array(rows.label)
    new = np.arange(since, len(rows))
    label[new] = [{"yes": "no", "no": "yes"}.get(each) for each in label[new]]
    return replace(rows, label=label)


@boosters
@pytest.mark.parametrize("way", ["boost", "leaves"])
def test_trees_go_on_and_learn(recipe: Any, way: Any, parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when going on learns nothing, or changes the champion."""
    rows = _turned(timed, 400)
    parent = parent_of(recipe, rows)
    before = _loss(parent, parent.estimator, rows.take(np.arange(400, 1200)))
    options = IncrementalOptions(way=way, rounds=15, decay=0.1)
    made = Incremental().make(parent, rows, options, 1)
    after = _loss(parent, made.estimator, rows.take(np.arange(400, 1200)))
    assert after < before - 0.3
    assert _loss(parent, parent.estimator, rows.take(np.arange(400, 1200))) == before
    assert made.facts["way"] == way
    size = made.facts["size"]
    assert size["after"] == size["before"] + (15 if way == "boost" else 0)
    assert made.keyset.seen(rows)[rows.has_label].all()


@boosters
def test_growth_is_capped(recipe: Any, parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a model that is updated every day is served ever slower."""
    parent = parent_of(recipe, timed)
    strategy = Incremental()
    made = strategy.make(parent, timed, IncrementalOptions(max_size=30, way="boost"), 1)
    assert made.facts["size"] == {"first": 20, "before": 20, "after": 30}
    with pytest.raises(Refused, match=r"grow to 32 and may be 31.*Take retrain"):
        strategy.make(parent, timed, IncrementalOptions(max_size=31, rounds=12, way="boost"), 1)
    full = replace(parent, estimator=made.estimator)
    with pytest.raises(Refused, match=r"has grown to 30 and may be 30.*Take retrain"):
        strategy.make(full, timed, IncrementalOptions(max_size=30, way="boost"), 1)
    # New leaves on old trees need no room.
    leaves = strategy.make(full, timed, IncrementalOptions(max_size=30, way="leaves"), 1)
    assert leaves.facts["size"]["after"] == 30


@boosters
def test_the_cap_looks_at_the_first_of_the_line(
    recipe: Any, parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when every update may double what the last one made."""
    parent = parent_of(recipe, timed)
    version = replace(parent.version, facts={"size": {"first": 101}})
    parent = replace(parent, version=version)
    made = Incremental().make(parent, timed, IncrementalOptions(rounds=182, way="boost"), 1)
    assert made.facts["size"] == {"first": 101, "before": 20, "after": 202}
    with pytest.raises(Refused, match="grow to 203 and may be 202"):
        Incremental().make(parent, timed, IncrementalOptions(rounds=183, way="boost"), 1)


@boosters
def test_boosters_refuse_a_new_class(recipe: Any, parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(recipe, timed, task="multiclass")
    label = np.array(timed.label)
    label[-5:] = "perhaps"
    why_not = Incremental().why_not(parent, replace(timed, label=label))
    assert why_not is not None
    assert "'perhaps'" in why_not
    assert "retrain instead" in why_not


def test_a_way_that_is_not_possible_has_its_reason(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a way that was asked for is silently another."""
    bayes = parent_of(GaussianNB(), timed)
    with pytest.raises(Refused, match="GaussianNB has no warm start"):
        Incremental().make(bayes, timed, IncrementalOptions(way="boost"), 1)
    trees = parent_of(BOOSTERS[0], timed)
    with pytest.raises(Refused, match="got one that cannot"):
        Incremental().make(trees, timed, IncrementalOptions(way="rows"), 1)
    forest = parent_of(RandomForestClassifier(3), timed)
    with pytest.raises(Refused, match="RandomForestClassifier has no partial_fit"):
        Incremental().make(forest, timed, IncrementalOptions(way="boost"), 1)


def test_a_tree_of_river_takes_rows_and_new_classes(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when the strategy refuses what the adapter declares."""
    label = np.array(timed.label)
    label[np.arange(600, 1200, 2)] = "perhaps"
    label[~timed.has_label] = None
    rows = replace(timed, label=label)
    parent = parent_of(river.tree.HoeffdingTreeClassifier(), rows, task="multiclass")
    assert Incremental().why_not(parent, rows) is None
    made = Incremental().make(parent, rows, IncrementalOptions(), 1)
    assert made.classes == ("no", "perhaps", "yes")
    assert parent.adapter.predict(made.estimator, rows.features).shape == (1200, 3)


def test_a_network_takes_a_few_steps(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a network cannot go on, or forgets what is replayed."""
    how = Tuning(epochs=10, batch=64, lr=0.01, patience=None)
    rows = _turned(timed, 400)
    parent = parent_of(TorchModel(Dense, {"n_inputs": 3}, how=how), rows)
    options = IncrementalOptions(passes=6)
    made = Incremental().make(parent, rows, options, 1)
    again = Incremental().make(parent, rows, options, 1)
    recent = rows.take(np.arange(400, 1200))
    assert _loss(parent, made.estimator, recent) < _loss(parent, parent.estimator, recent) - 0.1
    assert _loss(parent, made.estimator, recent) == _loss(parent, again.estimator, recent)
    assert made.facts == {"way": "rows", "n_replayed": 0}


def test_replay_keeps_the_past(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when old rows are drawn and never learned: the world has turned over."""
    rows = _turned(timed, 800)
    parent = parent_of(SGDClassifier(loss="log_loss", alpha=0.01), rows, n_seen=800)
    old = rows.take(np.arange(800))
    losses = [
        _loss(
            parent,
            Incremental().make(parent, rows, IncrementalOptions(replay=replay), 1).estimator,
            old,
        )
        for replay in (0.0, 2.0)
    ]
    assert losses[1] < losses[0]


def test_replayed_rows_are_drawn_by_the_seed_and_stand_among_the_new(
    parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when replay takes validation rows, new ones twice, or other rows each time."""
    parent = parent_of(RecordingClassifier(tape="t"), timed)
    means = Means(validation=timed.take(np.arange(100)))
    options = IncrementalOptions(replay=0.2)
    n_new = int(timed.has_label[400:].sum())
    shown = []
    for seed in (1, 1, 2):
        with recording("t") as tape:
            made = Incremental().make(parent, timed, options, seed, means)
        assert made.n_rows == len(tape.fitted) == n_new + round(0.2 * n_new)
        assert made.facts["n_replayed"] == round(0.2 * n_new)
        assert not tape.fitted & set(range(100))
        assert set(row_ids(timed)[400:][timed.has_label[400:]].tolist()) <= tape.fitted
        shown.append(tape.fitted)
    assert shown[0] == shown[1] != shown[2]


def test_a_cut_of_the_new_rows_that_are_validation(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when it learns the rows on which the race compares it."""
    parent = parent_of(RecordingClassifier(tape="t"), timed)
    with recording("t") as tape:
        Incremental().make(
            parent,
            timed,
            IncrementalOptions(),
            1,
            Means(validation=timed.take(np.arange(900, 1200))),
        )
    assert max(tape.fitted) < 900


def test_people_hear_every_pass(parent_of: ParentOf, timed: Rows) -> None:
    heard: list[str] = []
    with hearing(lambda said: heard.append(said.text)):
        Incremental().make(
            parent_of(GaussianNB(), timed), timed, IncrementalOptions(passes=2), seed=1
        )
    assert heard == ["pass 1 of 2", "pass 2 of 2"]


@pytest.mark.parametrize(
    "wrong",
    [{"rounds": 0}, {"decay": 1.5}, {"replay": -0.1}, {"replay": float("inf")}, {"max_size": 0}],
)
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="Correct the recipe"):
        IncrementalOptions(**wrong)
