"""A watch whose fits run in worker processes; killed from outside, or left to finish.

``python dying_watcher.py HOME``; where there is no home yet, it makes one first.
"""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from renewal.assemble.home import open_home
from renewal.core.clock import ReplayClock
from renewal.loop import lease

lease.TTL_S = 0.3

NOW = datetime(2020, 1, 1, tzinfo=UTC)
LATER = datetime(2020, 3, 1, tzinfo=UTC)
POLICY = """\
[engine]
kind = "processes"
workers = 2
[update]
recipes = ["recalibrate:method=sigmoid", "waiting", "waiting:min_rows=20"]
every = "4w"
[serve]
compiled = "never"
"""


def rows(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(size=n)
    return {"x": x, "y": y, "target": (x + 2 * y + rng.normal(size=n) > 0).astype(np.int64)}


def prepare(folder: Path) -> None:
    """Make a champion that saw 60 shuffled rows, and bring 1,500 good ones."""
    folder.mkdir(parents=True)
    (folder / "renewal.toml").write_text(POLICY, encoding="utf-8")
    clock = ReplayClock(NOW)
    with open_home(folder, clock=clock) as home:
        model = home.model("m", task="binary", target="target")
        first = rows(60, seed=1)
        first["target"] = np.random.default_rng(2).permutation(first["target"])
        model.train(LogisticRegression(), first)
        clock.move_to(LATER)
        model.feed.append(rows(1_500, seed=3))


def watch(folder: Path) -> None:
    with open_home(folder, clock=ReplayClock(LATER)) as home:
        home.watch(once=True)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if not place.exists():
        prepare(place)
    watch(place)
    sys.stdout.flush()
    os._exit(0)
