"""Every bad input of an update, end to end.

Each shows: a clear sentence on the candidate that it hits, the others go on, the champion stays,
nothing half made is left, and the next update works. What would break these: an exception that
ends the race, a candidate of NaN that wins, a run that stays open for ever, a worker that takes
the watcher with it, bytes of a version that nobody has registered.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.core.clock import ReplayClock
from renewal.core.errors import Invalid, RenewalError
from renewal.loop import update
from renewal.loop.journal import last_runs, open_run

START = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = START + 61 * DAY
TIMED = {"target": "late", "key": "key", "time": "at", "label_delay": "1d"}
LIMITED = '[engine]\nkind = "processes"\nworkers = 2\nmemory_bytes = 1500000000\n'


def frame(n_days: int, *, first_day: int = 0, turned: bool = False, seed: int = 0) -> Any:
    """Return 40 rows a day, of which `x` says the label, or its contrary."""
    rng = np.random.default_rng(seed)
    n_rows = 40 * n_days
    x = rng.normal(size=n_rows)
    return {
        "key": np.array([f"{first_day}/{at}" for at in range(n_rows)]),
        "at": [START + (first_day + at / 40) * DAY for at in range(n_rows)],
        "x": x,
        "z": rng.normal(size=n_rows),
        "late": (-1.0 if turned else 1.0) * x + 0.7 * rng.normal(size=n_rows) > 0,
    }


def later(**how: Any) -> Any:
    """Return the 40 days in which the world has turned."""
    return {**frame(40, first_day=20, turned=True, seed=1), **how}


def in_letters(rows: Any, *, with_new: bool = False) -> Any:
    """Return the rows with labels ``a`` and ``b``, and ``c`` for some where it is new."""
    labels = np.where(rows["late"], "a", "b").astype(object)
    if with_new:
        labels[rows["z"] > 1.0] = "c"
    return {**rows, "late": labels}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path / "home", clock=ReplayClock(START + 20 * DAY)) as made:
        yield made


def trained(home: Home, estimator: Any, rows: Any = None, *, task: str = "binary") -> Model:
    """Return a model whose champion saw 20 days, 41 days later."""
    model = home.model("m", task=task, **TIMED)
    model.train(estimator, frame(20) if rows is None else rows)
    home.clock.move_to(LATER)  # type: ignore[attr-defined]  # a replay's clock
    return model


def steps() -> Any:
    return SGDClassifier(loss="log_loss")


def race(model: Model, recipes: Sequence[str], **how: Any) -> dict[str, tuple[str, str]]:
    """Update; return outcome and reason of each recipe, the champion being what it was."""
    champion = model.version("champion")
    bytes_before = model.home.store.get(champion.manifest.artifact)
    found = model.update(recipes, **how)
    assert model.version("champion") == champion
    assert model.home.store.get(champion.manifest.artifact) == bytes_before
    assert_nothing_is_half_made(model)
    return {each["recipe"]: (each["outcome"], each["reason"]) for each in found.entries}


def assert_nothing_is_half_made(model: Model) -> None:
    assert open_run(model.home.db, model.name) is None
    (run, *_) = last_runs(model.home.db, model.name)
    assert not model.home.place.scratch(run.id).exists()
    for version in model.versions():
        assert model.estimator(version.id) is not None


def assert_the_next_update_works(model: Model) -> None:
    found = model.update(["retrain:window=2w"])
    assert found.candidate is not None
    assert found.verdict is not None
    assert found.verdict.outcome == "accept"


def test_no_new_rows(home: Home) -> None:
    model = trained(home, steps())
    came = race(model, ["recalibrate", "incremental", "retrain"])
    assert {outcome for outcome, _ in came.values()} == {"not_possible", "failed"}
    assert "needs labelled rows that may be fitted" in came["retrain"][1]
    assert [each.name for each in model.versions()] == ["v1"]
    model.feed.append(later())
    assert_the_next_update_works(model)


def test_one_class_since_the_champion(home: Home) -> None:
    """What learns from the new rows alone cannot; what learns from all of them can."""
    model = trained(home, steps())
    one = later()
    model.feed.append({**one, "late": np.ones(len(one["x"]), dtype=bool)})
    came = race(model, ["recalibrate", "incremental", "retrain:window=2w", "retrain"])
    for label in ("recalibrate", "incremental", "retrain(window=2w)"):
        outcome, reason = came[label]
        assert outcome == "failed"
        assert "labels of at least two classes" in reason
    assert came["retrain"][0] == "made"


@pytest.mark.parametrize("kind", ["steps", "lightgbm", "xgboost", "river"])
def test_a_class_that_the_champion_does_not_know(home: Home, kind: str) -> None:
    """All but River refuse to go on with it, in words; a retraining learns it."""
    estimator: Any = steps()
    if kind == "lightgbm":
        library = pytest.importorskip("lightgbm")
        estimator = library.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1)
    elif kind == "xgboost":
        library = pytest.importorskip("xgboost")
        estimator = library.XGBClassifier(n_estimators=5, n_jobs=1)
    elif kind == "river":
        estimator = pytest.importorskip("river.naive_bayes").GaussianNB()
    model = trained(home, estimator, in_letters(frame(20)), task="multiclass")
    model.feed.append(in_letters(later(), with_new=True))
    came = race(model, ["recalibrate", "incremental", "retrain"])
    assert came["recalibrate"][0] == "not_possible"
    assert "a class that the champion does not know: 'c'" in came["recalibrate"][1]
    if kind == "river":
        assert came["incremental"][0] == "made"
    else:
        assert came["incremental"][0] == "not_possible"
        assert "retrain instead" in came["incremental"][1]
    assert came["retrain"][0] == "made"
    learned = {each.facts["recipe"] for each in model.versions() if "c" in each.manifest.classes}
    assert learned == ({"incremental", "retrain"} if kind == "river" else {"retrain"})


def test_a_column_is_missing(home: Home) -> None:
    """It is refused where it comes in, whole: no row of it is kept."""
    model = trained(home, steps())
    without = later()
    del without["z"]
    n_before = model.feed.n_labels()
    with pytest.raises(Invalid, match="needs the column 'z'"):
        model.feed.append(without)
    with pytest.raises(Invalid, match="needs the column 'z'"):
        model.train(steps(), without)
    assert model.feed.n_labels() == n_before
    assert [each.name for each in model.versions()] == ["v1"]
    model.feed.append(later())
    assert_the_next_update_works(model)


def test_a_target_of_nan(home: Home) -> None:
    """A number that is none is a label that has not come: its row waits, and is not fitted."""
    first, more = frame(20), later()
    value = first["x"] + 1.0
    model = home.model("m", task="regression", **TIMED)
    with pytest.raises(RenewalError, match="label"):
        model.train(_line(), {**first, "late": np.full(len(value), np.nan)})
    assert model.versions() == ()
    model.train(_line(), {**first, "key": [f"a{k}" for k in first["key"]], "late": value})
    home.clock.move_to(LATER)  # type: ignore[attr-defined]  # a replay's clock
    turned = np.where(np.arange(len(more["x"])) % 4 == 0, np.nan, -more["x"])
    n_before = model.feed.n_labels()
    model.feed.append({**more, "late": turned})
    assert model.feed.n_labels() - n_before == np.isfinite(turned).sum()
    came = race(model, ["retrain:window=2w"])
    assert came["retrain(window=2w)"] == ("made", "420 rows")


def _line() -> Any:
    from sklearn.linear_model import LinearRegression  # noqa: PLC0415  # of one test

    return LinearRegression()


OWN = '''
import numpy as np

class Own:
    """Says how often each class came, whatever the row."""

    def fit(self, X, y):
        self.classes_, counts = np.unique(np.asarray(y), return_counts=True)
        self.share = (counts / counts.sum()).tolist()
        self.classes_ = self.classes_.tolist()
        return self

    def predict(self, X):
        return [self.classes_[0]] * len(X)

    def predict_proba(self, X):
        return np.tile(self.share, (len(X), 1))
'''


def test_the_import_path_of_the_champion_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The update says so as a whole; what has loaded the champion before goes on serving it."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "own_model.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "renewal.toml").write_text('trust = ["own_model.Own"]\n', encoding="utf-8")
    with open_home(folder, clock=ReplayClock(START + 20 * DAY)) as home:
        model = trained(home, importlib.import_module("own_model").Own())
        model.feed.append(later())
        serving = model.estimator("champion")
        (site / "own_model.py").rename(site / "gone")
        del sys.modules["own_model"]
        importlib.invalidate_caches()
        with pytest.raises(RenewalError, match="own_model"):
            model.update(["retrain", "recalibrate"])
        assert last_runs(home.db, "m")[0].state == "failed"
        assert open_run(home.db, "m") is None
        assert [each.name for each in model.versions()] == ["v1"]
        assert serving.thing.predict_proba([[0.0, 0.0]]).shape == (1, 2)
        (site / "gone").rename(site / "own_model.py")
        importlib.invalidate_caches()
        assert race(model, ["retrain"])["retrain"][0] == "made"
    sys.modules.pop("own_model", None)


def test_what_goes_wrong_in_workers_hits_one_candidate_each(
    tmp_path: Path,
    odd: None,  # noqa: ARG001  # it installs
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Raised, killed, out of memory, diverged, without an end: five of them, and one that wins."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "renewal.toml").write_text(LIMITED, encoding="utf-8")
    with open_home(folder, clock=ReplayClock(START + 20 * DAY)) as home:
        model = trained(home, steps())
        model.feed.append(later())
        wrong = ["raising", "dying", "hungry", "diverging"]
        came = race(model, [*wrong, "retrain:window=2w"])
        assert {came[each][0] for each in wrong} == {"failed"}
        assert "no more" in came["raising"][1]
        assert "Odd" in came["raising"][1]
        assert "killed by SIGKILL" in came["dying"][1]
        assert "more than the 1,500,000,000 bytes allowed" in came["hungry"][1]
        assert "NaN" in came["diverging"][1]
        assert came["keep"][0] == came["retrain(window=2w)"][0] == "made"
        assert {each.facts.get("recipe") for each in model.versions()} == {
            None,
            "retrain(window=2w)",
        }
        # Nobody waits longer for a fit without an end than the race may take.
        came = race(model, ["hanging", "recalibrate"], budget="2s")
        assert came["hanging"][0] == "failed"
        assert "to end within" in came["hanging"][1]
        monkeypatch.setattr(update, "_LEAST_LIMIT_S", 0.0)
        found = model.update(["sticking:window=2w", "recalibrate"], budget="5s")
        came = {each["recipe"]: (each["outcome"], each["reason"]) for each in found.entries}
        assert came["sticking(window=2w)"][0] == "failed"
        assert "to end within" in came["sticking(window=2w)"][1]
        assert found.candidate is not None
        assert found.candidate.manifest.strategy == "recalibrate"
        assert_the_next_update_works(model)


def test_a_full_disk_under_a_checkpoint(tmp_path: Path, odd: None) -> None:  # noqa: ARG001  # it installs
    """The kernel says ENOSPC to the fine-tuning's own writes; recalibration goes on."""
    if not Path("/dev/full").exists():
        pytest.skip("a system without /dev/full")
    pytest.importorskip("torch")
    nets = importlib.import_module("renewal.testing.torch_nets")
    network = importlib.import_module("renewal.models.torch_model").TorchModel
    tuning = importlib.import_module("renewal.models.layers").Tuning
    folder = tmp_path / "home"
    folder.mkdir()
    trust = ", ".join(f'"{each}"' for each in nets.TRUST)
    (folder / "renewal.toml").write_text(f"trust = [{trust}]\n", encoding="utf-8")
    with open_home(folder, clock=ReplayClock(START + 20 * DAY)) as home:
        recipe = network(nets.Dense, {"n_inputs": 2}, tuning(epochs=1, batch=64))
        model = trained(home, recipe)
        model.feed.append(later())
        full = "fulldisk:epochs=2,batch=32,checkpoint_every=1"
        came = race(model, [full, "recalibrate"])
        (outcome, reason) = next(came[each] for each in came if each.startswith("fulldisk"))
        assert outcome == "failed"
        assert os.strerror(28) in reason
        assert came["recalibrate"][0] == "made"
        came = race(model, ["fine_tune:epochs=2,batch=32,checkpoint_every=1"])
        assert {outcome for outcome, _ in came.values()} == {"made"}


def test_a_budget_smaller_than_one_fit(home: Home) -> None:
    """Nothing is fitted, and the race says so of each."""
    model = trained(home, steps())
    model.feed.append(later())
    came = race(model, ["retrain", "recalibrate"], budget="0.000001s")
    for label in ("retrain", "recalibrate"):
        outcome, reason = came[label]
        assert outcome == "skipped"
        assert "budget" in reason or "would take" in reason
    assert came["keep"][0] == "made"
    assert_the_next_update_works(model)
