"""Whole updates on every engine: the same race, the same versions, in workers that end.

What would break these: bytes that depend on where a fit ran, a race that waits for each
candidate in turn, workers that are started anew for every update or outlive their home, trials
that multiply the processes, a hidden limit that is not kept.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import SGDClassifier

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.assemble.updating import Update
from renewal.cli.main import main
from renewal.core.clock import ReplayClock
from renewal.core.errors import Unavailable
from renewal.core.plugin import load_plugin
from renewal.loop.journal import last_runs, open_run, steps_of
from renewal.testing.postgres import scratch_postgres

START = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = START + 61 * DAY
RECIPES = ("recalibrate", "incremental", "retrain:window=2w")
TRIED = {"keep", "recalibrate", "incremental", "retrain(window=2w)"}


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


def policy(folder: Path, engine: str, update: str = "") -> None:
    (folder / "renewal.toml").write_text(
        f"[engine]\nkind = {engine}\n[update]\n{update}\n", encoding="utf-8"
    )


def opened(folder: Path, **options: Any) -> Home:
    return open_home(folder, clock=ReplayClock(LATER), **options)


def prepare(home: Home, estimator: Any, *, timed: bool = True) -> Model:
    """Return a model whose champion saw 20 days; then the world turned, for 40 days."""
    first, later = frame(20), frame(40, first_day=20, turned=True, seed=1)
    declared: dict[str, Any] = {"task": "binary", "target": "late", "key": "key"}
    if timed:
        declared |= {"time": "at", "label_delay": "1d"}
    else:
        del first["at"], later["at"]
    model = home.model("m", **declared)
    home.clock.move_to(START + 20 * DAY)  # type: ignore[attr-defined]  # a replay's clock
    model.train(estimator, first)
    home.clock.move_to(LATER)  # type: ignore[attr-defined]  # as above
    model.feed.append(later)
    return model


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Return a home with a model that learns by steps, on timed rows."""
    folder = tmp_path / "home"
    with open_home(folder, clock=ReplayClock(START)) as home:
        prepare(home, SGDClassifier(loss="log_loss"))
    return folder


def told(update: Update) -> dict[str, Any]:
    """Return what an update came to, without what it cost."""
    return {
        "entries": {
            each["recipe"]: (each["outcome"], each["loss"], each["reason"])
            for each in update.entries
        },
        "candidate": None if update.candidate is None else update.candidate.id,
        "verdict": update.sentence,
    }


def is_alive(pid: int) -> bool:
    """Whether a process runs; the dead whom nobody has buried do not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def updated(folder: Path, engine: str, recipes: tuple[str, ...] = RECIPES, **how: Any) -> Any:
    """Return what comes of an update of a copy of a home on an engine."""
    copy = folder.with_name("on " + "".join(c for c in engine if c.isalnum()))
    shutil.copytree(folder, copy)
    policy(copy, engine)
    with opened(copy) as home:
        return told(home.model("m").update(recipes, **how))


def test_a_version_does_not_depend_on_where_it_was_fitted(prepared: Path) -> None:
    """Entries, losses, the candidate's id and the verdict are those of this process."""
    heard: list[tuple[str, str]] = []
    here = updated(prepared, '"inline"')
    assert set(here["entries"]) == TRIED
    assert here["candidate"] is not None
    there = updated(
        prepared,
        '"processes"\nworkers = 2',
        hear=lambda label, said: heard.append((label, said.text)),
    )
    assert there == here
    assert ("retrain(window=2w)", "fitting 560 rows") in heard
    assert {label for label, _ in heard} <= TRIED


def test_boosters_without_time_and_trials_inside_the_race(tmp_path: Path) -> None:
    """The same for trees that go on growing; the trials are an engine within the engine."""
    library = pytest.importorskip("lightgbm")
    folder = tmp_path / "home"
    with open_home(folder, clock=ReplayClock(START)) as home:
        prepare(home, library.LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1), timed=False)
    recipes = ("incremental", "retrain:trials=3")
    here = updated(folder, '"inline"', recipes)
    assert here["entries"]["retrain(trials=3)"][0] == "made"
    assert here["candidate"] is not None
    assert updated(folder, '"processes"\nworkers = 2', recipes) == here


def test_a_version_does_not_depend_on_the_cluster(prepared: Path) -> None:
    """Races and trials as tasks of a local Ray; breaks, too, where the home leaves it running."""
    ray = pytest.importorskip("ray")
    recipes = (*RECIPES, "retrain:trials=3")
    here = updated(prepared, '"inline"', recipes)
    assert updated(prepared, '"ray"\nworkers = 2', recipes) == here
    assert not ray.is_initialized()


def test_candidates_run_side_by_side(prepared: Path, odd: None) -> None:  # noqa: ARG001  # it installs
    """Each of the two waits for the other: in turn, neither would ever end."""
    policy(prepared, '"processes"\nworkers = 2')
    with opened(prepared) as home:
        update = home.model("m").update(["recalibrate", "meeting", "meeting:min_rows=20"])
    outcomes = {each["recipe"]: each["outcome"] for each in update.entries}
    assert outcomes["meeting"] == outcomes["meeting(min_rows=20)"] == "made"


def test_workers_stay_warm_from_round_to_round_and_end_with_the_home(
    prepared: Path,
    odd: None,  # noqa: ARG001  # it installs
) -> None:
    """Two rounds of the watch, ten weeks apart; the second finds the workers of the first."""
    policy(
        prepared,
        '"processes"\nworkers = 2',
        'recipes = ["telling"]\nevery = "4w"\n[gate]\napproval = "person"',
    )
    with opened(prepared) as home:
        model = home.model("m")
        home.watch(once=True)
        home.clock.move_to(LATER + 70 * DAY)  # type: ignore[attr-defined]  # a replay's clock
        model.feed.append(frame(60, first_day=70, turned=True, seed=2))
        home.watch(once=True)
        facts = [each.facts for each in model.versions() if "pid" in each.facts]
        keepers, pids = ({each[name] for each in facts} for name in ("keeper", "pid"))
        assert len({each["run"] for each in facts}) == 2
        assert len(keepers) == 1
        assert len(pids) <= 2
        assert os.getpid() not in pids
        assert all(map(is_alive, keepers))
    assert not any(map(is_alive, keepers | pids))
    # What runs inside a worker keeps within the worker's share of the cores.
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert {each["cores"] for each in facts} == {str(share)}
    assert {each["n_slots"] for each in facts} == {min(2, share)}
    assert all(int(each["threads"]) <= share for each in facts)


def test_a_run_whose_engine_was_closed_stays_open(prepared: Path, odd: None) -> None:  # noqa: ARG001  # it installs
    """A home that goes down is no fault of the candidate: the next watch goes on with it."""
    policy(prepared, '"processes"\nworkers = 2')
    with opened(prepared) as home:
        model, work = home.model("m"), home.root / "work"

        def close() -> None:
            while not list(work.glob("*/meeting/30")):
                time.sleep(0.02)
            home.engine("m").close()

        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        with pytest.raises(Unavailable, match=r"closed|let go"):
            model.update(["recalibrate", "meeting"])
        closing.join()
        run = open_run(home.db, "m")
        assert run is not None
        (place,) = work.glob("*/meeting")
        (place / "another").touch()
        home.watch(once=True)
        done = last_runs(home.db, "m")[0]
        attempts = {each["name"]: each["attempt"] for each in steps_of(home.db, run.id)}
    assert (done.id, done.state) == (run.id, "done")
    assert {name for name, n in attempts.items() if n > 1} == {"select:meeting"}


def test_workers_find_a_registry_in_postgresql(tmp_path: Path) -> None:
    with scratch_postgres() as url:
        policy_folder = tmp_path / "home"
        policy_folder.mkdir()
        policy(policy_folder, '"processes"\nworkers = 2')
        with open_home(policy_folder, database=url, clock=ReplayClock(START)) as home:
            model = prepare(home, SGDClassifier(loss="log_loss"))
            update = model.update(RECIPES)
    assert {each["recipe"]: each["outcome"] for each in update.entries} == dict.fromkeys(
        TRIED, "made"
    )
    assert update.candidate is not None


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a command on one home, in this process."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", str(tmp_path / "operated")])
        out = capsys.readouterr()
        assert not ended.value.code, out.err
        return out.out

    return run


def test_what_init_writes_lets_updates_run_in_workers(
    shell: Callable[..., str],
    tmp_path: Path,
    odd: None,  # noqa: ARG001  # it installs
) -> None:
    """The library's default stays inline; an operator's policy says processes."""
    shell("init")
    with open_home(tmp_path / "operated", clock=ReplayClock(START)) as home:
        assert home.policy().engine.kind == "processes"
        prepare(home, SGDClassifier(loss="log_loss"), timed=False)
    shell("update", "m", "-s", "telling")
    with open_home(tmp_path / "operated") as home:
        (made,) = [each for each in home.model("m").versions() if "pid" in each.facts]
    assert made.facts["pid"] != os.getpid()
    with open_home(tmp_path / "library") as home:
        assert isinstance(home.engine(), load_plugin("engines", "inline"))
