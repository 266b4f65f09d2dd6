"""Kill a search after every second trial, restart, and print what is left.

Run as a script with a folder. Everything is imported once; each life of a process is a fork
that ends by SIGKILL or by itself. One line of JSON comes out.
"""

import json
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sqlalchemy import func, select

from renewal.assemble.home import open_home
from renewal.compress.book import SqlBook, trials_of
from renewal.compress.trial import Trial
from renewal.core.clock import ReplayClock
from renewal.gate.tables import gate_looks
from renewal.loop import lease
from renewal.loop.journal import COMPRESS, last_runs, steps_of

lease.TTL_S = 0.3

NOW = datetime(2020, 1, 1, tzinfo=UTC)
MOST_LIVES = 20
TRIALS_A_LIFE = 2
LAZY = {"alembic", "renewal", "scipy", "skops", "sqlalchemy"}
POLICY = """\
[compress]
prefer = "smallest certified"
tau = -0.08
chains = ["prune.forest:*", "prune.path"]
[serve]
compiled = "never"
"""


def prepare(folder: Path) -> None:
    """Make a champion of 8 trees."""
    folder.mkdir(parents=True)
    (folder / "renewal.toml").write_text(POLICY, encoding="utf-8")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 2_000))
    rows = {"x": x, "y": y, "target": x + y + 0.5 * rng.normal(size=2_000) > 0}
    with open_home(folder, clock=ReplayClock(NOW)) as home:
        model = home.model("m", task="binary", target="target")
        model.train(RandomForestClassifier(8, max_depth=5, random_state=0), rows)


def watch(folder: Path, *, is_mortal: bool) -> None:
    """Watch once; note each trial that is written, and die after a few."""
    plain, noted, left = SqlBook.write, folder / "written", [TRIALS_A_LIFE]

    def write(book: SqlBook, trial: Trial) -> None:
        plain(book, trial)
        with noted.open("a", encoding="utf-8") as out:
            out.write(f"{trial.key}\n")
        left[0] -= 1
        if is_mortal and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    SqlBook.write = write  # type: ignore[method-assign, assignment]  # in a process that ends with it
    with open_home(folder, clock=ReplayClock(NOW)) as home:
        home.watch(once=True)
    (folder / "modules").write_text("\n".join(sys.modules), encoding="utf-8")


def report(folder: Path, n_killed: int) -> None:
    """Print what the journal, the registry, the ledger and the book hold."""
    with open_home(folder, clock=ReplayClock(NOW)) as home:
        model = home.model("m")
        runs = last_runs(home.db, "m", kind=COMPRESS)
        with home.db.read() as connection:
            n_looks = connection.execute(select(func.count()).select_from(gate_looks)).scalar()
        outcome: Any = runs[0].outcome
        found = {
            "n_killed": n_killed,
            "n_runs": len(runs),
            "state": runs[0].state,
            "status": (outcome or {}).get("certificate", {}).get("certified", {}).get("status"),
            "attempts": {each["name"]: each["attempt"] for each in steps_of(home.db, runs[0].id)},
            "written": (folder / "written").read_text(encoding="utf-8").split(),
            "trials": sorted(each.key for each in trials_of(home.db)),
            "n_versions": len(model.versions()),
            "n_looks": n_looks,
            "rollouts": [each.stage for each in model.rollouts()],
            "champion": model.version("champion").name,
        }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def life(work: Any, *arguments: Any, **named: Any) -> int:
    """Live in a fork; return the signal that ended it, 0 where it ended by itself."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work(*arguments, **named)
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


def main(folder: Path) -> None:
    life(prepare, folder / "prepared")
    for name, is_mortal in (("calm", False), ("killed", True)):
        home = folder / name
        # Of one salt, so that both search and certify on the same rows.
        shutil.copytree(folder / "prepared", home)
        n_killed = 0
        while life(watch, home, is_mortal=is_mortal) == signal.SIGKILL and n_killed < MOST_LIVES:
            n_killed += 1
        life(report, home, n_killed)
        # What is loaded lazily would be loaded anew in every life of the second.
        for module in (home / "modules").read_text(encoding="utf-8").splitlines():
            if module.partition(".")[0] in LAZY and not is_mortal:
                import_module(module)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
