"""kill -9 of the watcher while workers fit: they die with it, and the next watch finishes.

What would break this: workers, or what they have started, that live on and write beside their
successors; heats that had ended and are run again; a run that nobody takes up.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from renewal.assemble.home import open_home
from renewal.loop.journal import last_runs, steps_of

SCRIPT = Path(__file__).with_name("dying_watcher.py")
PATIENCE_S = 120.0


def is_alive(pid: int) -> bool:
    """Whether a process runs; the dead whom nobody has buried do not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < give_up_s, what
        time.sleep(0.02)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Install the strategy as a package; return where processes find it."""
    site = tmp_path / "site"
    info = site / "waiting_strategy-1.0.dist-info"
    info.mkdir(parents=True)
    source = SCRIPT.with_name("waiting_strategy.py")
    (site / source.name).write_bytes(source.read_bytes())
    (info / "METADATA").write_text("Name: waiting-strategy\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[renewal.strategies]\nwaiting = waiting_strategy:Waiting\n", encoding="utf-8"
    )
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return {
        **os.environ,
        "PYTHONPATH": path,
        "WAITING_PLACE": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks processes up in /proc")
def test_a_killed_watcher_takes_its_workers_along_and_the_next_one_finishes(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home = tmp_path / "home"
    command = [sys.executable, str(SCRIPT), str(home)]
    at_work = [tmp_path / "at work 30", tmp_path / "at work 20"]
    with subprocess.Popen(command, env=environment) as watcher:
        wait_until(lambda: all(each.exists() for each in at_work), "two workers at work")
        pids = [int(pid) for each in at_work for pid in each.read_text().split()]
        assert len(set(pids)) == 5  # two workers, their keeper, and what each has started
        assert all(map(is_alive, pids))
        os.kill(watcher.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, pids)), "workers that die with their watcher")
    with open_home(home) as opened:
        (run,) = last_runs(opened.db, "m")
        states = {each["name"]: each["state"] for each in steps_of(opened.db, run.id)}
    assert run.state == "open"
    assert states["select:keep"] == states["select:recalibrate(method=sigmoid)"] == "done"
    assert states["select:waiting"] == states["select:waiting(min_rows=20)"] == "running"

    (tmp_path / "go").touch()
    subprocess.run(command, env=environment, check=True, timeout=PATIENCE_S)
    with open_home(home) as opened:
        (run,) = last_runs(opened.db, "m")
        attempts = {each["name"]: each["attempt"] for each in steps_of(opened.db, run.id)}
        model = opened.model("m")
        assert [each.stage for each in model.rollouts()] == ["shadow"]
        assert model.version("champion").name == "v1"
    assert run.state == "done"
    assert {name for name, n in attempts.items() if n == 2} == {
        "select:waiting",
        "select:waiting(min_rows=20)",
    }
    assert max(attempts.values()) == 2
