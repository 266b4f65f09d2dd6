"""The race in the circuit: what is kept, what is not run twice, and what a failure leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, SGDClassifier

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.core.clock import ReplayClock
from renewal.core.errors import Invalid, NotFound, Refused
from renewal.loop.journal import last_runs, steps_of
from renewal.loop.racing import Racing
from renewal.loop.starting import Foreseen, _who_goes_straight
from renewal.update.contract import Made
from renewal.update.entry import Entry
from renewal.update.recipe import parse_recipe
from renewal.update.retrain import Retrain

START = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def frame(
    n_days: int, *, first_day: int = 0, turned: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Return 60 rows a day, of which `x` says the label, or its contrary."""
    rng = np.random.default_rng(seed)
    n_rows = 60 * n_days
    x = rng.normal(size=n_rows)
    sign = -1.0 if turned else 1.0
    return {
        "key": np.array([f"{first_day}/{seed}/{at}" for at in range(n_rows)]),
        "at": [START + (first_day + at / 60) * DAY for at in range(n_rows)],
        "x": x,
        "z": rng.normal(size=n_rows),
        "late": sign * x + 0.7 * rng.normal(size=n_rows) > 0,
    }


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(START + 20 * DAY)


@pytest.fixture
def home(tmp_path: Path, clock: ReplayClock) -> Iterator[Home]:
    with open_home(tmp_path / "home", clock=clock) as opened:
        yield opened


def timed(home: Home, estimator: Any) -> Model:
    """Return a model whose champion saw 20 days; the world turns on day 20 and 40 days follow."""
    model = home.model("m", task="binary", target="late", key="key", time="at", label_delay="1d")
    model.train(estimator, frame(20))
    home.clock.move_to(START + 61 * DAY)  # type: ignore[attr-defined]  # a replay's clock
    model.feed.append(frame(40, first_day=20, turned=True, seed=1))
    return model


def timeless(home: Home, estimator: Any) -> Model:
    """Return a model whose champion saw 60 rows of another world."""
    model = home.model("m", task="binary", target="late", key="key")
    first = frame(1, turned=True)
    del first["at"]
    model.train(estimator, first)
    later = frame(40, first_day=1, seed=1)
    del later["at"]
    model.feed.append(later)
    return model


def outcomes(update: Any) -> dict[str, str]:
    return {each["recipe"]: each["outcome"] for each in update.entries}


def test_what_loses_is_kept_as_a_version_with_its_lineage(home: Home) -> None:
    model = timed(home, LogisticRegression())
    champion = model.version("champion")
    update = model.update(["recalibrate", "retrain:window=2w"])
    assert outcomes(update) == {
        "keep": "made",
        "recalibrate": "made",
        "retrain(window=2w)": "made",
    }
    kept = [each for each in model.versions() if each.facts.get("raced")]
    assert {each.facts["recipe"] for each in kept} == {"recalibrate", "retrain(window=2w)"}
    for version in kept:
        assert version.manifest.parent == champion.id
        assert version.facts["run"] == update.run_id
        assert home.store.get(version.manifest.artifact)
        loss = next(e["loss"] for e in update.entries if e["recipe"] == version.facts["recipe"])
        assert version.facts["loss"] == loss
    assert model.version("champion") == champion


def test_the_candidate_of_timed_data_is_fitted_up_to_the_cut(home: Home) -> None:
    """Its twin of the race ends before the selection rows; what is judged is the later one."""
    model = timed(home, LogisticRegression())
    update = model.update(["retrain:window=2w"])
    assert update.candidate is not None
    (raced,) = [each for each in model.versions() if each.facts.get("raced")]
    later, earlier = update.candidate.manifest.trained_until, raced.manifest.trained_until
    assert later is not None
    assert earlier is not None
    assert later - earlier >= 7 * DAY


def test_the_candidate_of_timeless_data_is_the_one_that_raced(home: Home) -> None:
    """Breaks when rows without time are fitted twice for nothing."""
    model = timeless(home, LogisticRegression())
    update = model.update(["retrain"])
    assert update.candidate is not None
    assert update.candidate.facts["recipe"] == "retrain"
    assert [each.name for each in model.versions()] == ["v1", "v2"]
    steps = {step["name"] for step in steps_of(home.db, update.run_id)}
    assert {"select:keep", "select:retrain", "fit", "register", "keep"} <= steps


def test_a_former_champion_may_come_back(home: Home) -> None:
    """The world turned and turned back: the version before the present one is best again."""
    model = home.model("m", task="binary", target="late", key="key", time="at", label_delay="1d")
    model.train(LogisticRegression(), frame(20))
    model.train(LogisticRegression(), frame(20, first_day=20, turned=True, seed=1))
    model.promote("v2", force=True, who="a test", why="the world turned")
    home.clock.move_to(START + 81 * DAY)  # type: ignore[attr-defined]  # a replay's clock
    model.feed.append(frame(40, first_day=40, seed=2))
    update = model.update(["recalibrate"])
    assert update.candidate is not None
    assert update.candidate.name == "v1"
    assert update.verdict is not None
    assert update.verdict.outcome == "accept"
    assert outcomes(update)[f"version:{update.candidate.id}"] == "made"


def test_a_strategy_that_raises_leaves_the_others_and_the_champion_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Made:
        message = "no more"
        raise ZeroDivisionError(message)

    model = timed(home, LogisticRegression())
    monkeypatch.setattr(Retrain, "make", broken)
    update = model.update(["retrain", "recalibrate"])
    assert outcomes(update) == {"keep": "made", "retrain": "failed", "recalibrate": "made"}
    (entry,) = [each for each in update.entries if each["recipe"] == "retrain"]
    assert entry["reason"] == "ZeroDivisionError: no more"
    assert model.version("champion").name == "v1"


def test_where_the_last_fit_fails_the_next_best_is_taken(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a run whose winner cannot be fitted is tried again for ever."""
    original = Retrain.make
    n_calls = 0

    def second_time(self: Retrain, *args: Any, **kwargs: Any) -> Made:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 2:
            raise MemoryError
        return original(self, *args, **kwargs)

    model = timed(home, LogisticRegression())
    monkeypatch.setattr(Retrain, "make", second_time)
    update = model.update(["retrain:window=2w", "recalibrate"])
    assert outcomes(update)["retrain(window=2w)"] == "failed"
    assert update.candidate is not None
    assert update.candidate.manifest.strategy == "recalibrate"


def test_scores_that_are_not_finite_fail_the_candidate(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that diverged must not win because NaN compares with nothing."""

    class Diverged(LogisticRegression):  # type: ignore[misc]  # scikit-learn ships no types
        def predict_proba(self, X: Any) -> Any:  # noqa: N803  # scikit-learn's name
            return np.full((len(X), 2), np.nan)

    model = timed(home, LogisticRegression())
    original = Retrain.make

    def diverging(self: Retrain, *args: Any, **kwargs: Any) -> Made:
        made = original(self, *args, **kwargs)
        made.estimator.__class__ = Diverged
        return made

    monkeypatch.setattr(Retrain, "make", diverging)
    update = model.update(["retrain"])
    assert outcomes(update)["retrain"] == "failed"
    assert "NaN or infinite" in update.entries[-1]["reason"]
    assert update.candidate is None


def test_a_budget_smaller_than_one_fit_fits_nothing(home: Home) -> None:
    model = timed(home, LogisticRegression())
    update = model.update(["retrain", "recalibrate"], budget="0s")
    assert outcomes(update) == {"keep": "made", "retrain": "skipped", "recalibrate": "skipped"}
    assert update.candidate is None


@pytest.mark.parametrize("text", ["soon", "3 usd"])
def test_a_budget_that_cannot_be_read_starts_nothing(home: Home, text: str) -> None:
    model = timed(home, LogisticRegression())
    with pytest.raises(Invalid):
        model.update(["retrain"], budget=text)
    assert len(model.versions()) == 1


@pytest.mark.parametrize("recipe", ["retrai", "retrain:windw=8w", "recalibrate:method=plat"])
def test_a_recipe_that_cannot_be_read_starts_nothing(home: Home, recipe: str) -> None:
    """Breaks when a slip of the pen counts as the last update, and puts the schedule off."""
    model = timed(home, LogisticRegression())
    with pytest.raises((Invalid, NotFound)):
        model.update(["recalibrate", recipe])
    assert last_runs(home.db, "m") == ()


def test_a_budget_of_trials(home: Home) -> None:
    model = timed(home, LogisticRegression())
    update = model.update(["recalibrate", "retrain", "retrain:window=2w"], budget="2 trials")
    assert list(outcomes(update).values()) == ["made", "made", "made", "skipped"]


def test_foreseen_is_what_the_next_update_tries(home: Home) -> None:
    model = timed(home, SGDClassifier(loss="log_loss"))
    recipes = ["incremental", "retrain", "retrain:window=2w"]

    def told() -> dict[str, Foreseen]:
        return {each.starter.label: each for each in model.foresee(recipes)}

    before = told()
    assert list(before) == ["keep", "incremental", "retrain", "retrain(window=2w)"]
    assert before["retrain"].starter.expected_s is not None  # the first training tells of it
    assert before["retrain(window=2w)"].starter.expected_s is not None  # and of fewer rows
    assert before["incremental"].starter.expected_s is None
    assert before["retrain(window=2w)"].n_rows == 14 * 60
    assert len(model.versions()) == 1
    update = model.update(recipes)
    for each in update.entries[1:]:
        assert each["reason"] == f"{before[each['recipe']].n_rows:,} rows"
    assert told()["incremental"].starter.expected_s is not None


def test_swept_losers_lose_their_bytes_and_nothing_else(home: Home) -> None:
    model = timed(home, LogisticRegression())
    update = model.update(["recalibrate", "retrain", "retrain:window=2w"])
    assert update.candidate is not None
    assert model.sweep("1d").versions == ()
    home.clock.move_to(START + 100 * DAY)  # type: ignore[attr-defined]  # a replay's clock
    swept = model.sweep("30d")
    gone = [model.version(name) for name in swept.versions]
    assert {each.facts["recipe"] for each in gone} >= {"retrain", "retrain(window=2w)"}
    assert all(each.facts["raced"] for each in gone)
    for version in gone:
        digest = version.manifest.parts.get("score_map", version.manifest.artifact)
        with pytest.raises(NotFound):
            home.store.get(digest)
    for version in (model.version("champion"), update.candidate):
        assert home.store.get(version.manifest.artifact)
    own = [each for each in gone if not each.manifest.parts]
    assert swept.n_bytes == sum(each.manifest.artifact_bytes for each in own) > 0
    assert model.sweep("30d").versions == ()
    assert [event.kind for event in model.log()].count("swept") == 1


def test_where_cost_is_claimed_the_race_chooses_by_cost(tmp_path: Path, clock: ReplayClock) -> None:
    """Breaks when a version that decides cheaper loses the race for its log-loss."""
    (tmp_path / "renewal.toml").write_text(
        "[gate]\nmust_prove = ['superior(cost)']\n"
        "[gate.costs]\nFalse = {False = 0.0, True = 1.0}\nTrue = {False = 10.0, True = 0.0}\n",
        encoding="utf-8",
    )
    with open_home(tmp_path, clock=clock) as home:
        model = home.model("m", task="binary", target="late", key="key")
        first, later = frame(20), frame(60, first_day=20, seed=1)
        for table in (first, later):
            del table["at"]
        model.train(LogisticRegression(), first)
        model.feed.append(later)
        update = model.update(["retrain", "recalibrate:costs=fp:1|fn:10"])
        losses = {each["recipe"]: each["loss"] for each in update.entries}
        assert update.candidate is not None
        assert update.candidate.facts["recipe"] == "recalibrate(costs=fp:1|fn:10)"
        assert losses["recalibrate(costs=fp:1|fn:10)"] < 0.7 * losses["keep"]


def test_rows_that_wait_for_their_label_tell_of_the_shares(home: Home) -> None:
    """The world brings far more of one class, and no label has come: shares are all there is."""
    model = home.model("m", task="binary", target="late", key="key")
    first = frame(40)
    del first["at"]
    model.train(LogisticRegression(), first)
    rng = np.random.default_rng(5)
    x = rng.normal(loc=1.5, size=4_000)
    waiting = {"key": [f"w{at}" for at in range(4_000)], "x": x, "z": rng.normal(size=4_000)}
    model.feed.append(waiting)
    labelled = frame(4, first_day=50, seed=3)
    del labelled["at"]
    model.feed.append(labelled)
    update = model.update(["recalibrate:method=prior"])
    (entry,) = [each for each in update.entries if each["recipe"].startswith("recalibrate")]
    assert entry["outcome"] == "made", entry["reason"]
    n_rows = int(entry["reason"].split()[0].replace(",", ""))
    assert n_rows > 2_000


def test_what_a_recalibration_looked_at_is_learned_by_the_next_update(home: Home) -> None:
    """Breaks when every promoted recalibration takes its rows away from the model inside."""
    model = timed(home, SGDClassifier(loss="log_loss", random_state=0))
    mapped = model.update(["recalibrate"]).candidate
    assert mapped is not None
    model.promote(mapped, force=True, who="a test", why="it is better calibrated")
    home.clock.move_to(START + 70 * DAY)  # type: ignore[attr-defined]  # a replay's clock
    model.feed.append(frame(8, first_day=60, turned=True, seed=2))
    (entry,) = [e for e in model.update(["incremental"]).entries if e["recipe"] == "incremental"]
    went_on = next(v for v in model.versions() if v.facts.get("recipe") == "incremental")
    assert entry["outcome"] == "made"
    assert went_on.manifest.n_trained_rows >= mapped.manifest.n_trained_rows > 1_000


def test_a_run_that_cannot_go_on_leaves_no_folder(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when the checkpoints of every failed update stay on the disk for ever."""
    model = timed(home, LogisticRegression())

    def failing(self: Racing, *_: Any, **__: Any) -> Any:
        Path(self.scratch("retrain")).mkdir(parents=True)
        raise Refused("a test", needs="nothing", came="an end", todo="Look at the disk.")

    monkeypatch.setattr(Racing, "race", failing)
    with pytest.raises(Refused, match="an end"):
        model.update(["retrain"])
    assert not list((home.root / "work").iterdir())


def test_what_heats_left_behind_is_swept_with_the_losers(home: Home) -> None:
    """Breaks when every race leaves the losses of each row in the store for ever."""
    model = timed(home, LogisticRegression())
    update = model.update(["recalibrate", "retrain"])
    steps = [each for each in steps_of(home.db, update.run_id) if "select:" in each["name"]]
    losses = {step["output"]["done"]["losses"] for step in steps}
    assert len(losses) == 3
    model.sweep("1d")
    assert losses <= set(home.store.digests())
    home.clock.move_to(START + 100 * DAY)  # type: ignore[attr-defined]  # a replay's clock
    model.sweep("30d")
    assert not losses & set(home.store.digests())
    for version in (model.version("champion"), update.candidate):
        assert version is not None
        assert set(version.manifest.digests) <= set(home.store.digests())


def test_one_that_tunes_never_goes_straight() -> None:
    """Its parameters are chosen on rows that the fit up to the cut takes in."""
    won = [Entry("keep", "made", "", 0.5), Entry("retrain", "made", "", 0.4)]
    tuned = [won[0], Entry("retrain(trials=2)", "made", "", 0.4)]
    assert _who_goes_straight([parse_recipe("retrain")], [won]) == "retrain"
    assert _who_goes_straight([parse_recipe("retrain:trials=2")], [tuned]) is None
