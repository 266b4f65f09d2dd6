"""Breaks when an update that may not roll out stays open, and every tick trips over it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from renewal.assemble.home import open_home
from renewal.core.clock import ReplayClock
from renewal.loop.journal import last_runs

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def rows(n_rows: int, seed: int, *, is_shuffled: bool = False) -> dict[str, Any]:
    """Return labelled rows; shuffled, their labels say nothing."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n_rows))
    target = (x + 2 * y + rng.normal(size=n_rows) > 0).astype(np.int64)
    return {"x": x, "y": y, "target": rng.permutation(target) if is_shuffled else target}


def test_an_update_beside_a_rollout_is_done_and_the_rollout_goes_on(tmp_path: Path) -> None:
    clock = ReplayClock(START)
    with open_home(tmp_path, clock=clock) as home:
        model = home.model("m", task="binary", target="target")
        model.train(LogisticRegression(), rows(60, 1, is_shuffled=True))
        clock.move_to(START + 30 * DAY)
        model.feed.append(rows(2_000, 3))
        assert model.update(["retrain"], roll_out=True).verdict.outcome == "accept"  # type: ignore[union-attr]  # it came to one
        model.feed.append(rows(2_000, 4))
        model.update(["retrain"], roll_out=True)
        assert [each.state for each in last_runs(home.db, "m")] == ["done", "done"]
        clock.move_to(START + 33 * DAY)
        model.tick()
        assert [each.stage for each in model.rollouts()] == ["canary"]
