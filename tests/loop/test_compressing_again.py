"""A compression asked again: what the journal keeps of it, and when the policy tries anew.

What would break it: a step whose output the journal cannot hand back, test rows that were looked
at for the last winner and are not counted, a refusal that is for ever, bytes whose first look
is their last.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from renewal.assemble.home import Home, open_home
from renewal.core.clock import ReplayClock
from renewal.loop.journal import COMPRESS, last_runs, steps_of

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = """
[serve]
compiled = "never"

[update]
every = "52w"

[compress]
prefer = "smallest certified"
tau = -0.2
chains = ["prune.forest:trees=4"]
"""


def rows(n_rows: int, seed: int = 0) -> dict[str, Any]:
    """Return labelled rows of two classes."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n_rows))
    target = a + b + 0.5 * rng.normal(size=n_rows) > 0
    return {"id": [f"{seed}-{at}" for at in range(n_rows)], "a": a, "b": b, "target": target}


@pytest.fixture
def clock() -> ReplayClock:
    """Stand at the start."""
    return ReplayClock(START)


@pytest.fixture
def home(tmp_path: Path, clock: ReplayClock) -> Iterator[Home]:
    """Open a home of known roles whose policy compresses each champion."""
    (tmp_path / "salt").write_bytes(b"which row is what"[:16])
    (tmp_path / "renewal.toml").write_text(POLICY, encoding="utf-8")
    with open_home(tmp_path, clock=clock) as opened:
        yield opened


def test_a_last_winner_that_is_out_by_estimate_leaves_a_step_that_can_be_read(home: Home) -> None:
    """Breaks when a run that is killed after that step can never be taken up again."""
    model = home.model("m", task="binary", target="target", key="id")
    model.train(RandomForestClassifier(30, random_state=0), rows(2_000))
    chain = "distil.student:student=tree,size=0.05"
    assert model.compress([chain], tau=-0.2).status == "certified"
    # Beside a line of three numbers a tree is not small any more.
    model.promote(model.train(LogisticRegression(), rows(400, 1)), force=True, why="a test")
    model.compress([chain], tau=-0.2)
    run = last_runs(home.db, "m", kind=COMPRESS)[0]
    outputs = {each["name"]: each["output"] for each in steps_of(home.db, run.id)}
    assert outputs["certify last winner"] == {}
    assert all(isinstance(each, dict) for each in outputs.values())


def test_what_could_not_begin_for_want_of_rows_is_tried_after_the_cooldown(
    home: Home, clock: ReplayClock
) -> None:
    """Breaks when the policy never compresses a champion whose rows came after it."""
    given = rows(1_500)
    table = {name: given[name] for name in ("a", "b")}
    fitted = RandomForestClassifier(12, max_depth=5, random_state=0)
    fitted.fit(np.column_stack(list(table.values())), given["target"])
    fitted.feature_names_in_ = np.array(list(table), dtype=object)
    model = home.model("m", task="binary", target="target", key="id")
    model.register(fitted, trained_on=given)
    clock.move_to(START + DAY)
    model.tick()
    assert [each.state for each in last_runs(home.db, "m", kind=COMPRESS)] == ["failed"]
    model.feed.append(rows(2_500, 1))
    clock.move_to(START + 2 * DAY)
    model.tick()
    assert len(last_runs(home.db, "m", kind=COMPRESS)) == 1
    clock.move_to(START + 30 * DAY)
    model.tick()
    newest = last_runs(home.db, "m", kind=COMPRESS)[0]
    assert newest.state == "done"
    assert newest.outcome is not None
    assert newest.outcome["certificate"]["certified"]["status"] == "certified"


def test_the_same_bytes_go_live_once_more_rows_have_shown_that_they_may(home: Home) -> None:
    """Breaks when a version that lacked rows keeps its first certificate and its first look."""
    model = home.model("m", task="binary", target="target", key="id")
    model.train(GradientBoostingClassifier(n_estimators=40, random_state=0), rows(1_200))
    asked: dict[str, Any] = {"chains": ["prune.rounds:rounds=30"], "tau": -0.01, "roll_out": True}
    lacking = model.compress(**asked)
    assert (lacking.status, model.rollouts()) == ("uncertified", ())
    model.feed.append(rows(2_500, 1))
    shown = model.compress(**asked)
    assert lacking.candidate is not None
    assert shown.candidate is not None
    assert shown.candidate.manifest.artifact == lacking.candidate.manifest.artifact
    assert shown.candidate.facts["certificate"]["certified"]["status"] == "certified"
    # A claim of its own, at less than the first one.
    assert shown.result.alpha < lacking.result.alpha
    assert [each.candidate for each in model.rollouts()] == [shown.candidate.id]
    model.feed.append(rows(2_500, 2))
    again = model.compress(**asked)
    assert (again.status, again.candidate) == ("certified", shown.candidate)
