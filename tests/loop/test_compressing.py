"""A compression as a run: what ends it, what it may not ask twice, and what a sweep may take.

What would break it: test rows that are asked again at the full level, an answer that is bought
twice, a gate that rejects what is certified, a sweep that takes the bytes of a version.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sqlalchemy import func, select

from renewal.assemble.compressing import Compression
from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.compress.book import named_by, trials_of
from renewal.core.clock import ReplayClock
from renewal.core.errors import NotFound, Refused, Unavailable
from renewal.data.keyset import KeySet
from renewal.data.roles import TEST, TRAIN, VALIDATION, role_of
from renewal.gate.tables import gate_looks
from renewal.loop.journal import COMPRESS, last_runs
from renewal.loop.lease import held

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SALT = b"which row is what"[:16]
FOREST = RandomForestClassifier(12, max_depth=5, random_state=0)


def rows(n_rows: int, seed: int = 0, *, values: bool = False) -> dict[str, Any]:
    """Return labelled rows of two sides; column c says nothing."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, n_rows))
    target = a + b + 0.5 * rng.normal(size=n_rows)
    return {
        "id": [f"{seed}-{at}" for at in range(n_rows)],
        "side": np.where(rng.random(n_rows) < 0.3, "left", "right"),
        "a": a,
        "b": b,
        "c": c,
        "target": target if values else target > 0,
    }


@pytest.fixture
def clock() -> ReplayClock:
    """Stand at the start."""
    return ReplayClock(START)


@pytest.fixture
def home(tmp_path: Path, clock: ReplayClock) -> Iterator[Home]:
    """Open a home of known roles that converts nothing: that takes a process each time."""
    (tmp_path / "salt").write_bytes(SALT)
    (tmp_path / "renewal.toml").write_text('[serve]\ncompiled = "never"\n', encoding="utf-8")
    with open_home(tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture
def model(home: Home) -> Model:
    """Train a forest of 12 trees on rows without a time."""
    made = home.model("m", task="binary", target="target", key="id", attributes="side")
    made.train(FOREST, rows(2_500))
    return made


def level(done: Compression) -> float:
    """Return the level at which something was certified."""
    return done.result.alpha


def test_what_holds_the_line_is_certified_and_the_gate_accepts_it(model: Model) -> None:
    done = model.compress(["prune.forest:trees=8"], tau=-0.08)
    assert done.status == "certified", done.sentence
    assert done.certificate is not None
    assert done.candidate is not None
    assert done.verdict is not None
    assert done.verdict.outcome == "accept"
    test = role_of(model.feed.rows().group_hash, model.home.salt) == TEST
    assert done.certificate.n_rows == done.verdict.n_rows == test.sum()
    made = done.candidate.manifest
    assert (made.parent, made.strategy) == (model.version("v1").id, "compress")
    assert made.options["chain"] == "prune.forest(trees=8)"
    assert len(model.estimator(done.candidate.id).estimators_) == 8
    assert model.version("champion").name == "v1"


def test_what_seems_to_hold_it_and_lacks_rows_is_uncertified_and_not_accepted(
    model: Model,
) -> None:
    done = model.compress(["prune.forest:trees=8"], tau=-0.01)
    assert done.status == "uncertified", done.sentence
    assert done.result.rows_missing is not None
    assert done.result.rows_missing > 0
    assert str(done.result.rows_missing) in done.sentence.replace(",", "")
    assert done.verdict is None or done.verdict.outcome != "accept"


def test_what_holds_nothing_is_infeasible_and_nothing_is_registered(model: Model) -> None:
    for line, chains in ((0.999, ["prune.forest:trees=8"]), (-0.01, ["prune.forest:leaves=1"])):
        done = model.compress(chains, tau=line)
        assert done.status == "infeasible", done.sentence
        assert done.candidate is None
        assert done.verdict is None
    assert len(model.versions()) == 1


def test_every_chain_fails_and_the_run_is_done(model: Model) -> None:
    done = model.compress(["quantize.dynamic", "prune.rounds:*"])
    assert done.status == "infeasible"
    assert "no chain came to a model" in done.sentence
    assert all(each["failed"] for each in done.trials[1:])
    (run,) = last_runs(model.home.db, "m", kind=COMPRESS)
    assert run.state == "done"


def test_an_absolute_line_is_tested_on_the_models_own_value(model: Model) -> None:
    done = model.compress(["prune.forest:trees=8"], tau=0.8)
    assert done.status == "certified", done.sentence
    near = model.compress(["prune.forest:trees=8"], tau=0.9)
    assert near.status in {"uncertified", "infeasible"}


@pytest.mark.parametrize(("metric", "tau"), [("auc", -0.05), ("f1", -0.1), ("loss", "-60%")])
def test_other_metrics_hold_the_line_by_their_own_test(
    model: Model, metric: str, tau: float | str
) -> None:
    """Breaks when a metric has no test among the gate's, or the gate judges by another."""
    done = model.compress(["prune.forest:trees=9"], tau=tau, metric=metric)
    assert done.status == "certified", done.sentence
    assert done.verdict is not None
    assert done.verdict.outcome == "accept"


def test_values_hold_a_share_of_their_loss(home: Home) -> None:
    model = home.model("m", task="regression", target="target", key="id", attributes="side")
    forest = RandomForestRegressor(12, max_depth=5, random_state=0)
    model.train(forest, rows(2_500, values=True))
    done = model.compress(["prune.forest:trees=9"], tau="-20%")
    assert done.status == "certified", done.sentence
    assert model.compress(["prune.forest:trees=1"], tau="-1%").status == "infeasible"


def test_a_slice_must_hold_by_itself(model: Model) -> None:
    done = model.compress(["prune.forest:trees=9"], tau=-0.08, slices=("side",), slice_tau=-0.0)
    assert done.status != "certified", done.sentence
    fine = model.compress(["prune.forest:trees=9"], tau=-0.08, slices=("side",), slice_tau=-0.2)
    assert fine.status == "certified", fine.sentence
    assert [len(each.claims) for each in fine.result.tested] == [3], "all rows and two sides"


def test_what_fails_in_a_slice_does_not_go_live(model: Model) -> None:
    """Breaks when the gate, which asks for all rows alone, accepts what was not certified."""
    done = model.compress(
        ["prune.forest:trees=8"],
        tau=-0.08,
        slices=("side",),
        slice_tau=-0.02,
        roll_out=True,
    )
    assert done.status == "uncertified", done.sentence
    assert done.result.tested[0].claims[0].holds
    assert done.verdict is not None
    assert done.verdict.outcome == "undecided"
    assert "not certified" in done.verdict.reason
    assert model.rollouts() == ()
    with pytest.raises(Refused):
        model.rollout(done.candidate or "")


def test_a_line_is_one_question_however_it_is_written(model: Model) -> None:
    """Breaks when the command line's text asks anew, and at half the level, what a number asked."""
    first = model.compress(["prune.forest:trees=8"], tau=-0.08)
    again = model.compress(["prune.forest:trees=8"], tau="-0.08", budget="3m")
    assert again.candidate == first.candidate
    assert level(again) == level(first)


def test_where_rows_were_missing_it_is_due_again_after_the_cooldown(
    home: Home, clock: ReplayClock
) -> None:
    policy = (
        '[serve]\ncompiled = "never"\n[update]\nevery = "52w"\n[compress]\n'
        'prefer = "smallest certified"\ntau = -0.01\nchains = ["prune.forest:trees=8"]\n'
    )
    (home.root / "renewal.toml").write_text(policy, encoding="utf-8")
    made = home.model("m", task="binary", target="target", key="id", attributes="side")
    made.train(FOREST, rows(2_500))
    with open_home(home.root, clock=clock) as again:
        found = again.model("m")
        for day, n_runs in ((1, 1), (3, 1), (9, 2)):
            clock.move_to(START + day * DAY)
            found.tick()
            assert len(last_runs(again.db, "m", kind=COMPRESS)) == n_runs, day


def test_each_question_on_the_same_rows_halves_the_level(model: Model) -> None:
    first = model.compress(["prune.forest:trees=8"], tau=-0.08)
    second = model.compress(["prune.forest:trees=7"], tau=-0.08)
    third = model.compress(["prune.forest:trees=6"], tau=-0.08)
    assert level(second) == pytest.approx(level(first) / 2)
    assert level(third) == pytest.approx(level(first) / 4)
    # A few new rows beside those that were looked at are no new look; many are.
    model.feed.append(rows(50, 1))
    few = model.compress(["prune.forest:trees=8"], tau=-0.08)
    assert level(few) < level(third)
    model.feed.append(rows(40_000, 2))
    fresh = model.compress(["prune.forest:trees=8"], tau=-0.08)
    assert level(third) < level(fresh) <= level(first)


def test_the_same_question_is_answered_alike_without_a_look(model: Model) -> None:
    asked: dict[str, Any] = {"chains": ["prune.forest:trees=8"], "tau": -0.08}
    first = model.compress(**asked)
    with model.home.db.read() as connection:
        before = connection.execute(select(func.count()).select_from(gate_looks)).scalar()
    for _ in range(2):
        again = model.compress(**asked)
        assert again.result == first.result
        assert again.candidate == first.candidate
        assert again.verdict == first.verdict
    with model.home.db.read() as connection:
        after = connection.execute(select(func.count()).select_from(gate_looks)).scalar()
    assert before == after == 1
    # What only repeated an answer has spent nothing.
    other = model.compress(["prune.forest:trees=7"], tau=-0.08)
    assert level(other) == pytest.approx(level(first) / 2)


def test_a_question_with_a_rollout_goes_on_from_the_answer(model: Model) -> None:
    """Breaks when asking again with a rollout spends the level a second time."""
    first = model.compress(["prune.forest:trees=8"], tau=-0.08)
    again = model.compress(["prune.forest:trees=8"], tau=-0.08, roll_out=True)
    assert again.status == "certified"
    assert level(again) == level(first)
    assert [each.stage for each in model.rollouts()] == ["shadow"]


def test_a_rollout_under_way_is_not_held_up(model: Model) -> None:
    """Breaks when a run that may not roll out stays open and every tick trips over it."""
    first = model.compress(["prune.forest:trees=8"], tau=-0.08, roll_out=True)
    assert first.candidate is not None
    other = model.compress(["prune.forest:trees=7"], tau=-0.08, roll_out=True)
    assert other.status == "certified"
    assert [each.state for each in last_runs(model.home.db, "m", kind=COMPRESS)] == ["done"] * 2
    model.home.clock.move_to(START + 3 * DAY)  # type: ignore[attr-defined]  # the test's own clock
    model.tick()
    (rollout,) = model.rollouts()
    assert (rollout.candidate, rollout.stage) == (first.candidate.id, "canary")


def test_what_serves_already_is_found_again(model: Model) -> None:
    """Breaks when a compressed champion is judged beside itself."""
    first = model.compress(["prune.forest:trees=8"], tau=-0.08)
    assert first.candidate is not None
    model.promote(first.candidate)
    again = model.compress(["prune.forest:trees=8"], tau=-0.08, budget="4m", roll_out=True)
    assert again.status == "certified"
    assert again.candidate is not None
    assert again.candidate.manifest.options == first.candidate.manifest.options
    assert again.candidate == first.candidate
    assert again.verdict is None
    assert model.rollouts() == ()


def test_without_test_rows_nothing_is_certified(home: Home) -> None:
    """Breaks when rows that the parent trained on are taken for test rows."""
    model = home.model("m", task="binary", target="target", key="id", attributes="side")
    given = rows(2_500)
    table = {name: given[name] for name in ("a", "b", "c")}
    values = np.column_stack(list(table.values()))
    fitted = RandomForestClassifier(8, max_depth=5, random_state=0).fit(values, given["target"])
    fitted.feature_names_in_ = np.array(list(table), dtype=object)
    model.register(fitted, trained_on=given)
    with pytest.raises(Refused, match="rows to search on"):
        model.compress(["prune.forest:trees=4"], tau=-0.08)
    (run,) = last_runs(home.db, "m", kind=COMPRESS)
    assert run.state == "failed"
    assert len(model.versions()) == 1


def timed_rows(n_days: int, first: int = 0) -> dict[str, Any]:
    """Return 60 rows a day."""
    found = rows(60 * n_days, first)
    begin = START - 60 * DAY
    at = [begin + (first + k // 60) * DAY + timedelta(minutes=k % 60) for k in range(60 * n_days)]
    return {**found, "at": at}


@pytest.mark.parametrize("fitted_days", [20, 60])
def test_a_timed_model_is_searched_and_certified_on_rows_after_its_fit(
    home: Home, fitted_days: int
) -> None:
    """Breaks when search and certification share a row, or the parent has seen one."""
    model = home.model(
        "m", task="binary", target="target", key="id", time="at", block="1d", attributes="side"
    )
    model.train(FOREST, timed_rows(fitted_days))
    if fitted_days < 60:
        model.feed.append(timed_rows(60 - fitted_days, fitted_days))
    else:
        model.home.clock.move_to(START + 30 * DAY)  # type: ignore[attr-defined]  # the test's own clock
        model.feed.append(timed_rows(30, 60))
    done = model.compress(["prune.forest:trees=8"], tau=-0.1)
    assert done.status == "certified", done.sentence
    assert done.certificate is not None
    assert done.verdict is not None
    assert done.verdict.outcome == "accept"
    known = model.feed.rows(labelled=True)
    parent = KeySet.from_bytes(home.store.get(str(model.version("v1").manifest.trained_keys))).seen(
        known
    )
    assert 0 < done.certificate.n_rows < (~parent).sum()


def test_a_busy_model_is_told_at_once(model: Model) -> None:
    shop = model.home.workshop(model.spec)
    with held(shop.db, shop.watched), pytest.raises(Unavailable):
        model.compress(["prune.forest:trees=8"])
    assert last_runs(model.home.db, "m", kind=COMPRESS) == ()


def test_a_model_without_a_champion_is_not_found(home: Home) -> None:
    model = home.model("m", task="binary", target="target", key="id", attributes="side")
    with pytest.raises(NotFound):
        model.compress()


def test_what_a_version_learned_from_is_among_its_trained_keys(model: Model) -> None:
    """Breaks when a student's rows are offered to judge it."""
    known = model.feed.rows()
    role = role_of(known.group_hash, model.home.salt)
    waiting = rows(300, 5)
    model.feed.append({name: each for name, each in waiting.items() if name != "target"})
    done = model.compress(["distil.student(student=linear)"], tau=-0.3)
    assert done.candidate is not None, done.sentence
    keys = KeySet.from_bytes(model.home.store.get(str(done.candidate.manifest.trained_keys)))
    seen = keys.seen(known)
    assert seen[role == TRAIN].all()
    assert not seen[(role == VALIDATION) | (role == TEST)].any()
    later = model.feed.rows()
    unlabelled = later.take(~later.has_label)
    role = role_of(unlabelled.group_hash, model.home.salt)
    assert 0 < (role == TRAIN).sum() < len(role)
    np.testing.assert_array_equal(keys.seen(unlabelled), role == TRAIN)


def test_a_sweep_takes_old_trials_and_leaves_what_a_version_needs(
    model: Model, clock: ReplayClock
) -> None:
    first = model.compress(["prune.forest:*"], tau=-0.08)
    assert first.candidate is not None
    store, db = model.home.store, model.home.db
    old = trials_of(db)
    kept = {each for version in model.versions() for each in version.manifest.digests}
    clock.move_to(clock.now() + 40 * DAY)
    model.feed.append(rows(600, 1))
    model.compress(["prune.forest:trees=8"], tau=-0.08)
    young = [each for each in trials_of(db) if each not in old]
    assert young
    model.sweep("30d")
    assert set(map(str, trials_of(db))) == set(map(str, young))
    kept |= {each for version in model.versions() for each in version.manifest.digests}
    needed = kept | named_by(young)
    there = set(store.digests())
    assert needed <= there
    assert (named_by(old) - needed).isdisjoint(there)
    assert named_by(old) - needed, "the sweep had something to take"
    assert model.estimator(first.candidate.id) is not None
    again = model.compress(["prune.forest:trees=4"], tau=-0.08)
    assert [each["failed"] for each in again.trials] == [None, None]


def test_a_sweep_leaves_the_trials_of_a_run_that_is_open(
    model: Model, clock: ReplayClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a run that was cut off is finished after a sweep and misses its bytes."""

    class CutError(Exception):
        """Ends a process."""

    def cut(*_: object, **__: object) -> None:
        raise CutError

    with monkeypatch.context() as patched:
        patched.setattr("renewal.loop.compressing.certificate_of", cut)
        with pytest.raises(CutError):
            model.compress(["prune.forest:*"], tau=-0.08)
    clock.move_to(clock.now() + 40 * DAY)
    model.sweep("30d")
    model.tick()
    (run,) = last_runs(model.home.db, "m", kind=COMPRESS)
    assert run.state == "done"
    assert run.outcome is not None
    assert run.outcome["certificate"]["certified"]["status"] == "certified"
