"""Several processes that want the same: one gets it, the others are told so."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.registry.db import Database
from renewal.registry.registry import Move, Registry

PROMOTER = Path(__file__).with_name("promote.py")
WRITER = Path(__file__).with_name("endless_moves.py")


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


@pytest.mark.parametrize("is_same", [True, False], ids=["one candidate", "two candidates"])
def test_of_processes_that_promote_at_once_exactly_one_wins(
    registry: Registry,
    grow: Callable[[int], list[Version]],
    judged: Callable[..., Verdict],
    tmp_path: Path,
    is_same: bool,  # noqa: FBT001  # a column of the table
) -> None:
    """Breaks when two promotions read the same champion and both write."""
    champion, *others = grow(3)
    registry.move("flights", Move("champion", None, champion.id), who="ada", why="first")
    candidates = [others[0]] * 4 if is_same else others
    children = [
        start(
            PROMOTER,
            registry.db.url,
            tmp_path / "go",
            champion.id,
            candidate.id,
            registry.add_verdict("flights", judged(candidate.id, champion.id)),
        )
        for candidate in candidates
    ]
    assert [line_of(child) for child in children] == ["ready"] * len(children)
    (tmp_path / "go").touch()
    told = [child.communicate(timeout=60)[0].strip() for child in children]
    winner = registry.aliases("flights")["champion"]
    assert sorted(told) == sorted([f"won {winner}"] + [f"Conflict {winner}"] * (len(children) - 1))
    assert [move.to_id for move in registry.history("flights", "champion")] == [
        champion.id,
        winner,
    ]
    (plan,) = registry.plans_after(0)
    assert plan[1].versions == (winner,)


def test_kill_in_the_middle_of_moves_leaves_whole_transactions_only(
    registry: Registry, grow: Callable[[int], list[Version]]
) -> None:
    """Breaks when alias, event and plan of one move can be torn apart, or a commit is lost."""
    one, two = grow(2)
    registry.move("flights", Move("champion", None, one.id), who="ada", why="first")
    n_told = 0
    for pause_s in (0.02, 0.05):
        child = start(WRITER, registry.db.url, one.id, two.id)
        assert line_of(child) == "ready"
        time.sleep(pause_s)
        child.send_signal(signal.SIGKILL)
        told = child.communicate(timeout=60)[0].splitlines()
        n_told += sum(line == "moved" for line in told)
        db = Database(registry.db.url)
        try:
            again = Registry(db, registry._clock)
            history = again.history("flights", "champion")
            plans = [plan.arms[0].version_id for _, plan in again.plans_after(0)]
            assert history[-1].to_id == again.aliases("flights")["champion"]
            assert [move.from_id for move in history[1:]] == [m.to_id for m in history[:-1]]
            assert plans == [move.to_id for move in history[1:]]
            assert len(plans) >= n_told, "what was told as done is done"
            # The killed one held the write lock perhaps; it is free again.
            again.note("flights", "seen", who="", why="", details=json.loads("{}"))
        finally:
            db.close()
    assert n_told > 0
