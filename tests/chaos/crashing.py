"""Kill an update at every moment of its journal, restart, and print what is left.

Run as a script with a folder. Everything is imported once; each life of a process is a fork
that ends by SIGKILL or by itself. One line of JSON a case comes out.

What is loaded lazily would be loaded anew in every life, ten times the cost of the update
itself: a first life without a kill tells what it has loaded, and this process imports that. It
uses none of it, so it has no threads that a fork could lose.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sqlalchemy import func, select

from renewal.assemble.home import open_home
from renewal.core.clock import ReplayClock
from renewal.gate.tables import gate_looks
from renewal.loop import lease
from renewal.loop.journal import Journal, last_runs, steps_of

lease.TTL_S = 0.3

NOW = datetime(2020, 1, 1, tzinfo=UTC)
LATER = datetime(2020, 3, 1, tzinfo=UTC)
MOMENTS = ("begun", "worked", "recorded")
LAZY = {"alembic", "renewal", "scipy", "skops", "sqlalchemy"}
# Compiled forms are no step of the journal: a check that died is done again.
POLICY = """\
[update]
recipes = ["recalibrate:method=sigmoid", "retrain"]
every = "4w"
[serve]
compiled = "never"
"""


def rows(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(size=n)
    return {"x": x, "y": y, "target": (x + 2 * y + rng.normal(size=n) > 0).astype(np.int64)}


def prepare(folder: Path) -> None:
    """Make a champion that saw 60 shuffled rows, and bring 3,000 good ones."""
    folder.mkdir(parents=True)
    (folder / "renewal.toml").write_text(POLICY, encoding="utf-8")
    clock = ReplayClock(NOW)
    with open_home(folder, clock=clock) as home:
        model = home.model("m", task="binary", target="target")
        first = rows(60, seed=1)
        first["target"] = np.random.default_rng(2).permutation(first["target"])
        model.train(make_pipeline(StandardScaler(), LogisticRegression()), first)
        clock.move_to(LATER)
        model.feed.append(rows(3_000, seed=3))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash_at(folder: Path, step: str, moment: str) -> None:
    """Watch once; die by SIGKILL at a moment of a step."""

    def dying(name: str, which: int, *, before: str = "", after: str = "") -> None:
        """Let a method of the journal die before or after its work; `which` names the step."""
        method = getattr(Journal, name)

        def wrapped(*arguments: Any) -> Any:
            named = arguments[which]
            names = [each[0] for each in named] if name == "steps" else [named]
            is_it = name == "finish" == step or step in names
            if is_it and moment == before:
                die()
            found = method(*arguments)
            if is_it and moment == after and not (name == "_begin" and found is not None):
                die()
            return found

        setattr(Journal, name, wrapped)

    dying("_begin", 2, after="begun")
    dying("_record", 3, before="worked")
    dying("step", 2, after="recorded")
    dying("steps", 2, after="recorded")
    dying("commit_step", 2, after="recorded")
    dying("finish", 2, before="begun", after="recorded")
    watch(folder)


def watch(folder: Path) -> None:
    with open_home(folder, clock=ReplayClock(LATER)) as home:
        home.watch(once=True)


def finish(folder: Path, case: str) -> None:
    """Watch once more, close the home, and print what a new one finds."""
    watch(folder)
    report(folder, case)


def report(folder: Path, case: str) -> None:
    """Print what the journal, the registry and the ledger hold."""
    with open_home(folder, clock=ReplayClock(LATER)) as home:
        model = home.model("m")
        runs = last_runs(home.db, "m")
        with home.db.read() as connection:
            n_looks = connection.execute(select(func.count()).select_from(gate_looks)).scalar()
        found = {
            "case": case,
            "n_runs": len(runs),
            "state": runs[0].state,
            "attempts": {each["name"]: each["attempt"] for each in steps_of(home.db, runs[0].id)},
            "n_versions": len(model.versions()),
            "n_looks": n_looks,
            "n_verdicts": len(home.registry.verdicts("m")),
            "n_rollouts": len(model.rollouts()),
            "rollout": [each.stage for each in model.rollouts()],
            "champion": model.version("champion").name,
            "loads": [version.name for version in model.versions() if model.estimator(version.id)],
        }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def life(work: Callable[[], None]) -> int:
    """Live in a fork; return the signal that ended it, 0 where it ended by itself."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.WEXITSTATUS(status):
        sys.exit(f"a life ended with {os.WEXITSTATUS(status)}")
    return 0


def rehearse(folder: Path, told: Path) -> None:
    """Live a whole update, and write down which modules that took."""
    prepare(folder)
    watch(folder)
    told.write_text("\n".join(sys.modules), encoding="utf-8")


def main(folder: Path, wanted: list[str]) -> None:
    told = folder / "modules"
    life(partial(rehearse, folder / "rehearsed", told))
    for name in told.read_text(encoding="utf-8").splitlines():
        if name.partition(".")[0] in LAZY:
            import_module(name)
    prepared = folder / "prepared"
    life(partial(prepare, prepared))
    for case in wanted:
        step, _, moment = case.rpartition("@")
        home = folder / case.replace(":", "_").replace("@", "_").replace(" ", "_")
        shutil.copytree(prepared, home)
        if step != "none":
            ended = life(partial(crash_at, home, step, moment))
            if ended != signal.SIGKILL:
                sys.exit(f"{case}: the process was not killed")
        life(partial(finish, home, case))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
