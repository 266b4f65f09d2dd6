"""Fine-tuning: new rows gently, old ones among them, validation rows never."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from renewal.core.clock import from_us
from renewal.core.errors import Invalid, Refused, Unavailable
from renewal.core.option_text import parse_options, show_options
from renewal.core.version import Manifest, Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.models.adapters import stored
from renewal.models.layers import Tuning
from renewal.models.score_map import Mapped, ScoreMap
from renewal.models.score_map_curves import Temperature
from renewal.models.score_map_weights import Costs
from renewal.models.torch import TorchAdapter
from renewal.models.torch_inputs import Reading
from renewal.models.torch_model import TorchModel
from renewal.store.local import LocalStore
from renewal.testing.recording import recording
from renewal.testing.torch_nets import TRUST, Dense
from renewal.testing.torch_recording import RecordingNet
from renewal.testing.updating import SIGNATURE, row_ids
from renewal.update.contract import Means, Parent
from renewal.update.fine_tune import FineTune, FineTuneOptions
from renewal.update.recipe import parse_recipe

ParentOf = Callable[..., Parent]
HOW = Tuning(epochs=6, batch=64, lr=1e-2, patience=None)
NET = TorchModel(Dense, {"n_inputs": 3}, HOW)
QUICK = FineTuneOptions(epochs=2, batch=64, lr=1e-2)


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _recorder(tape: str) -> TorchModel:
    return TorchModel(RecordingNet, {"tape": tape}, HOW, Reading(standardize=False))


def _scores(parent: Parent, estimator: Any, rows: Rows) -> Any:
    return parent.adapter.predict(estimator, rows.features)


def _hits(parent: Parent, estimator: Any, rows: Rows) -> Any:
    at = _scores(parent, estimator, rows).argmax(axis=1)
    return np.array(parent.adapter.classes(estimator), dtype=object)[at] == rows.label


# ------------------------------------------------------------------ rows


@pytest.mark.parametrize("share", [0.0, 0.25, 9.0])
def test_new_rows_and_a_share_of_old_ones_are_learned(
    parent_of: ParentOf, timed: Rows, share: float
) -> None:
    parent = parent_of(_recorder("t"), timed)
    with recording("t") as tape:
        made = FineTune().make(parent, timed, replace(QUICK, replay=share), seed=1)
    ids, has_label = row_ids(timed), timed.has_label
    new, old = set(ids[400:][has_label[400:]].tolist()), set(ids[:400][has_label[:400]].tolist())
    assert new <= tape.fitted <= new | old
    n_old = min(round(share * len(new)), len(old))
    assert len(tape.fitted & old) == n_old
    assert made.n_rows == len(new) + n_old
    assert (made.facts["n_new"], made.facts["n_replayed"]) == (len(new), n_old)
    assert made.keyset.seen(timed)[has_label].all()
    assert made.parent_is_ancestor


def test_validation_rows_decide_and_are_never_learned(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when rows on which it stops are among those it learns, or it stops on none."""
    parent = parent_of(_recorder("t"), timed)
    validation = timed.take(np.arange(900, 1200))
    with recording("t") as tape:
        means = Means(validation=validation)
        made = FineTune().make(parent, timed, QUICK, seed=1, means=means)
    watched = set(row_ids(validation.labelled()).tolist())
    assert tape.fitted.isdisjoint(watched)
    assert watched <= tape.shown
    assert made.facts["n_watched"] == int(validation.has_label.sum())
    assert not made.keyset.seen(validation.labelled()).any()


def test_it_stops_when_validation_rows_get_worse(parent_of: ParentOf, timed: Rows) -> None:
    """New rows with turned labels make it worse from some epoch on: there it goes back."""
    parent = parent_of(NET, timed)
    turned = np.array([{"yes": "no", "no": "yes"}.get(x) for x in np.array(timed.label)], object)
    wrong = replace(timed, label=turned).take(np.arange(400, 800))
    means = Means(validation=timed.take(np.arange(800, 1200)))
    options = FineTuneOptions(epochs=5, lr=1e-2, replay=0.0)
    stopped = FineTune().make(parent, wrong, options, seed=1, means=means)
    blind = FineTune().make(parent, wrong, options, seed=1)
    judged = timed.take(np.arange(800, 1200)).labelled()
    labels = parent.task.labels(judged.label, who="a test")
    before, first, last = (
        parent.task.loss(_scores(parent, each, judged), labels, ("no", "yes")).mean()
        for each in (parent.estimator, stopped.estimator, blind.estimator)
    )
    assert first <= before
    assert last > before + 0.05


def test_without_rows_to_watch_it_goes_as_far_as_was_best_before(
    parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when the fit up to the cut trains on where the race had stopped."""
    parent = parent_of(NET, timed)
    options = FineTuneOptions(epochs=12, batch=32, lr=3e-2, replay=0.0)
    validation = timed.take(np.arange(800, 1200))
    race = FineTune().make(
        parent, timed.take(np.arange(800)), options, seed=1, means=Means(validation=validation)
    )
    best = race.facts["best_epoch"]
    assert 0 < best < 12
    last = FineTune().make(parent, timed, options, seed=1, means=Means(found=race.facts))
    plain = FineTune().make(parent, timed, replace(options, epochs=best), seed=1)
    assert parent.adapter.dump(last.estimator) == parent.adapter.dump(plain.estimator)
    with pytest.raises(Refused, match="no epoch made it better"):
        FineTune().make(parent, timed, options, seed=1, means=Means(found={"best_epoch": 0}))


def test_replay_keeps_what_new_rows_do_not_show(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(NET, timed, n_seen=600)
    a, label = timed.features["a"].to_numpy(), np.array(timed.label)
    # What comes now lies on one side, and nearly all of it is of one class.
    narrow = timed.take((np.arange(1200) < 600) | ((a > 0.5) & (label != "no")) | (a > 1.5))
    old = timed.take(np.arange(600)).labelled()
    kept = {
        share: _hits(
            parent,
            FineTune()
            .make(parent, narrow, FineTuneOptions(epochs=15, lr=2e-2, replay=share), seed=1)
            .estimator,
            old,
        ).mean()
        for share in (0.0, 2.0)
    }
    before = _hits(parent, parent.estimator, old).mean()
    assert kept[0.0] < before - 0.1
    assert kept[2.0] > kept[0.0] + 0.05


def test_a_teacher_makes_fewer_negative_flips(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(NET, timed, n_seen=600)
    judged = timed.take(np.arange(900, 1200)).labelled()
    right = _hits(parent, parent.estimator, judged)
    flips = []
    for distil in (0.0, 0.9):
        options = FineTuneOptions(epochs=15, batch=32, lr=2e-2, replay=0.0, distil=distil)
        made = FineTune().make(parent, timed.take(np.arange(600, 700)), options, seed=1)
        flips.append(float((right & ~_hits(parent, made.estimator, judged)).mean()))
    assert flips[1] < flips[0] / 2.0


def test_the_order_of_a_feed_changes_nothing(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(NET, timed)
    mixed = timed.take(np.random.default_rng(0).permutation(len(timed)))
    one, other = (FineTune().make(parent, rows, QUICK, seed=1) for rows in (timed, mixed))
    assert parent.adapter.dump(one.estimator) == parent.adapter.dump(other.estimator)


def test_new_classes_come_in(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(NET, timed, task="multiclass")
    label = np.array(timed.label)
    far = timed.features["a"].to_numpy() - timed.features["b"].to_numpy() > 2.0
    label[400:][(far & timed.has_label)[400:]] = "far"
    rows = replace(timed, label=label)
    validation = rows.take(np.arange(1000, 1200))
    made = FineTune().make(
        parent,
        rows.take(np.arange(1000)),
        FineTuneOptions(epochs=20, batch=32, lr=2e-2, distil=0.3),
        seed=1,
        means=Means(validation=validation),
    )
    assert made.classes == ("far", "no", "yes")
    hits = _hits(parent, made.estimator, validation.labelled())
    assert hits[np.array(validation.labelled().label) == "far"].mean() > 0.5


# ------------------------------------------------------------------ what it starts from


def _version(parent: Parent, store: LocalStore, seen: Rows | None, number: int) -> Version:
    """Register a parent's estimator in a store, as a model of its own."""
    kept = stored(parent.adapter, parent.estimator, store)
    keys = None if seen is None else store.put(KeySet.of(seen).to_bytes())
    manifest = Manifest(
        model=f"base {number}",
        task=parent.task.name,
        adapter="torch",
        artifact=kept.artifact,
        artifact_bytes=kept.artifact_bytes,
        signature=SIGNATURE,
        classes=parent.adapter.classes(parent.estimator),
        strategy="train",
        trained_keys=keys,
        parts=kept.parts,
    )
    return Version(f"{number}" * 64, number, manifest, {}, from_us(0), "a test")


def test_the_best_base_is_found_and_its_rows_are_remembered(
    parent_of: ParentOf, timed: Rows, tmp_path: Path
) -> None:
    """The champion saw noise through one number, a model of other classes what matters here."""
    noise = np.array(timed.label)
    noise[timed.has_label] = np.random.default_rng(0).permutation(noise[timed.has_label])
    narrow = TorchModel(Dense, {"n_inputs": 3, "width": 1}, HOW)
    parent = parent_of(narrow, replace(timed, label=noise), n_seen=100)
    elsewhere = np.array(
        [None if x is None else {"no": "cat", "yes": "dog"}[x] for x in np.array(timed.label)],
        dtype=object,
    )
    seeing = parent_of(NET, replace(timed, label=elsewhere), n_seen=700)
    store = LocalStore(tmp_path)
    base = _version(seeing, store, timed.take(np.arange(700)), 2)
    unknown = _version(seeing, store, None, 3)
    means = Means(store=store, bases=(unknown, base), trust=TRUST)
    options = replace(QUICK, base="probe", distil=0.1)
    rows = timed.take(np.r_[0:100, 800:1000])
    made = FineTune().make(parent, rows, options, seed=1, means=means)
    assert made.facts["base"] == base.id
    assert set(made.facts["probed"]) == {parent.version.id, base.id}
    assert made.classes == ("no", "yes")
    assert made.keyset.seen(timed.take(np.arange(700))).all()
    judged = timed.take(np.arange(1000, 1200)).labelled()
    alone = FineTune().make(parent, rows, replace(options, base="parent"), seed=1)
    assert (
        _hits(parent, made.estimator, judged).mean()
        > _hits(parent, alone.estimator, judged).mean() + 0.05
    )


def test_a_base_that_was_best_untouched_stays_so(
    parent_of: ParentOf, timed: Rows, tmp_path: Path
) -> None:
    """Breaks when what won the race as it is is refused afterwards, or trained on."""
    noise = np.array(timed.label)
    noise[timed.has_label] = np.random.default_rng(0).permutation(noise[timed.has_label])
    narrow = TorchModel(Dense, {"n_inputs": 3, "width": 1}, HOW)
    parent = parent_of(narrow, replace(timed, label=noise), n_seen=100)
    decision = ScoreMap((Costs(((0.0, 1.0), (4.0, 0.0))),))
    parent = replace(parent, estimator=Mapped(parent.estimator, decision))
    seeing = parent_of(NET, timed, n_seen=700)
    store = LocalStore(tmp_path)
    base = _version(seeing, store, timed.take(np.arange(700)), 2)
    means = Means(store=store, bases=(base,), trust=TRUST)
    options = replace(QUICK, base="probe", lr=1.0)  # every step of which does harm
    rows = timed.take(np.r_[0:100, 700:900])
    validation = timed.take(np.arange(900, 1200))
    race = FineTune().make(
        parent, rows, options, seed=1, means=replace(means, validation=validation)
    )
    assert (race.facts["base"], race.facts["best_epoch"]) == (base.id, 0)
    last = FineTune().make(
        parent, timed.take(np.r_[0:100, 700:1200]), options, 1, replace(means, found=race.facts)
    )
    whole = _scores(parent, Mapped(seeing.estimator, decision), timed)
    for made in (race, last):
        assert made.facts["base"] == base.id
        assert made.classes == ("no", "yes")
        assert np.array_equal(_scores(parent, made.estimator, timed), whole)
        assert made.keyset.seen(timed.take(np.arange(700))).all()
    gone = replace(means, bases=(), found=race.facts)  # by now another base would be taken
    with pytest.raises(Refused, match="no epoch made it better"):
        FineTune().make(parent, timed, options, 1, gone)


def test_without_a_catalogue_the_champion_is_the_base(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(NET, timed)
    made = FineTune().make(parent, timed, replace(QUICK, base="probe"), seed=1)
    assert made.facts["base"] == parent.version.id


@pytest.mark.parametrize("distil", [0.0, 0.5])
def test_of_a_map_the_decision_alone_stays(parent_of: ParentOf, timed: Rows, distil: float) -> None:
    """Breaks when a map of stale scores goes on, or is taught to the network itself."""
    parent, options = parent_of(NET, timed), replace(QUICK, distil=distil)
    plain = FineTune().make(parent, timed, options, seed=1)
    steps = (Temperature(50.0), Costs(((0.0, 1.0), (4.0, 0.0))))
    mapped = replace(parent, estimator=Mapped(parent.estimator, ScoreMap(steps)))
    made = FineTune().make(mapped, timed, options, seed=1)
    assert isinstance(made.estimator, Mapped)
    assert made.estimator.score_map.steps == steps[1:]
    inside = parent.adapter.dump(made.estimator.estimator)
    assert inside == parent.adapter.dump(plain.estimator)


def test_an_addition_is_made_and_stored_alone(
    parent_of: ParentOf, timed: Rows, tmp_path: Path
) -> None:
    parent, store = parent_of(NET, timed), LocalStore(tmp_path)
    made = FineTune().make(parent, timed, replace(QUICK, lora_rank=1), seed=1)
    kept = stored(parent.adapter, made.estimator, store)
    assert kept.parts["base"] == store.put(parent.adapter.dump(parent.estimator))


# ------------------------------------------------------------------ time and disk


def test_as_many_steps_as_the_budget_has_room_for(
    parent_of: ParentOf, timed: Rows, tmp_path: Path
) -> None:
    parent = parent_of(NET, timed)
    made = FineTune().make(parent, timed, QUICK, seed=1, means=Means(budget_s=1e4))
    n_planned = 2 * int(np.ceil(made.n_rows / 64))
    assert made.facts["steps"] == n_planned
    with pytest.raises(Refused, match="one step over 64 rows takes"):
        FineTune().make(parent, timed, QUICK, seed=1, means=Means(budget_s=1e-6))
    # What was decided before a kill holds after it: another number would be another model.
    means = Means(budget_s=1e-6, scratch=tmp_path)
    (tmp_path / f"plan-{made.n_rows}.json").write_text(json.dumps({"steps": 3}))
    first = FineTune().make(parent, timed, QUICK, seed=1, means=means)
    plain = FineTune().make(parent, timed, replace(QUICK, steps=3), seed=1)
    assert parent.adapter.dump(first.estimator) == parent.adapter.dump(plain.estimator)


@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("is_watched", [True, False])
def test_the_last_fit_goes_no_further_than_the_race_had_time_for(
    parent_of: ParentOf, timed: Rows, tmp_path: Path, patience: int | None, *, is_watched: bool
) -> None:
    """Breaks when a candidate goes to the gate that took many times the steps of what won."""
    parent = parent_of(NET, timed)
    options = replace(QUICK, epochs=200, patience=patience, lr=1e-4, replay=0.0)
    rows = timed.take(np.arange(800))
    n_new = int(rows.take(np.arange(400, 800)).has_label.sum())
    (tmp_path / f"plan-{n_new}.json").write_text(json.dumps({"steps": 9}))
    validation = timed.take(np.arange(800, 1200)) if is_watched else None
    means = Means(validation, budget_s=60.0, scratch=tmp_path)
    race = FineTune().make(parent, rows, options, seed=1, means=means)
    assert (race.facts["steps"], race.facts["cut_to"]) == (9, 9)
    last = FineTune().make(parent, timed, options, seed=1, means=Means(found=race.facts))
    assert last.n_rows > n_new
    assert last.facts["steps"] == 9
    # Also where the last fit has validation rows and no budget, as for timeless data.
    again = FineTune().make(
        parent, rows, options, seed=1, means=replace(means, budget_s=None, found=race.facts)
    )
    assert again.facts["steps"] == 9


def test_a_heat_on_more_rows_has_a_plan_of_its_own(
    parent_of: ParentOf, timed: Rows, tmp_path: Path
) -> None:
    """Breaks when a ninth of the rows says how many steps all of them get."""
    parent = parent_of(NET, timed)
    steps = []
    found: dict[str, Any] = {}
    for n_rows in (600, 1200):
        means = Means(budget_s=1e4, scratch=tmp_path, found=found)
        made = FineTune().make(parent, timed.take(np.arange(n_rows)), QUICK, seed=1, means=means)
        steps.append((made.facts["steps"], 2 * -(-(made.n_rows - 1) // QUICK.batch)))
        found = dict(made.facts)
        assert "cut_to" not in found
    assert steps[0][0] == steps[0][1] < steps[1][0] == steps[1][1]


def test_a_full_disk_is_an_error_of_this_candidate(
    parent_of: ParentOf, timed: Rows, tmp_path: Path
) -> None:
    parent = parent_of(NET, timed)
    before = parent.adapter.dump(parent.estimator)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(Unavailable, match="Free the disk"):
            FineTune().make(
                parent,
                timed,
                replace(QUICK, checkpoint_every=1),
                seed=1,
                means=Means(scratch=tmp_path),
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert parent.adapter.dump(parent.estimator) == before


def test_a_divergence_names_its_step_and_leaves_the_champion(
    parent_of: ParentOf, timed: Rows
) -> None:
    parent = parent_of(NET, timed)
    before = parent.adapter.dump(parent.estimator)
    with pytest.raises(Invalid, match=r"at step \d+ of .* learning rate 1e\+30"):
        FineTune().make(parent, timed, replace(QUICK, lr=1e30), seed=1)
    assert parent.adapter.dump(parent.estimator) == before


# ------------------------------------------------------------------ refusals and options


def test_what_has_no_layers_is_refused(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(LogisticRegression(), timed)
    assert "LogisticRegression" in str(FineTune().why_not(parent))
    with pytest.raises(Refused, match="LogisticRegression"):
        FineTune().make(parent, timed, QUICK, seed=1)


def test_nothing_new_is_a_reason(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(NET, timed)
    own = timed.take(np.arange(400))
    with pytest.raises(Refused, match="nothing new to learn"):
        FineTune().make(parent, own, QUICK, seed=1)
    with pytest.raises(Invalid, match="at least 30 new labelled rows; got 9"):
        FineTune().make(parent, timed.take(np.arange(410)), QUICK, seed=1)


def test_every_field_of_tuning_is_an_option_that_can_be_written() -> None:
    text = "lr=0.01,train=head.*|body.*,patience=none,precision=bfloat16,lora_rank=4,replay=0.0"
    options = parse_recipe(f"fine_tune:{text}").options
    assert options.train == "head.*|body.*"
    assert options.tuning == Tuning(
        lr=0.01, train="head.*|body.*", patience=None, precision="bfloat16", lora_rank=4
    )
    assert parse_options(FineTuneOptions, show_options(options), who="test") == options


def test_what_the_first_call_takes_is_not_what_a_step_costs(
    parent_of: ParentOf, timed: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a slow start cuts a training to a part of what there is time for."""
    parent = parent_of(NET, timed.take(np.arange(600)))
    original = TorchAdapter.fine_tune
    calls: list[int] = []

    def slow_start(self: TorchAdapter, *args: Any, **kwargs: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 1:
            time.sleep(2.0)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(TorchAdapter, "fine_tune", slow_start)
    options = replace(QUICK, epochs=40, patience=None)
    made = FineTune().make(parent, timed, options, seed=1, means=Means(budget_s=30.0))
    per_epoch = -(-made.n_rows // QUICK.batch)
    assert made.facts["steps"] in {40 * per_epoch, 40 * (per_epoch - 1)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch": 0},
        {"steps": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr_decay": 1.5},
        {"distil": 1.0},
        {"weight_decay": -1.0},
        {"lora_rank": 0},
        {"replay": -0.5},
        {"replay_weight": 0.0},
        {"min_rows": 0},
    ],
)
def test_numbers_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=next(iter(wrong))):
        FineTuneOptions(**wrong)
