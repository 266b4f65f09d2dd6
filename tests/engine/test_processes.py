"""Worker processes: who starts, watches, kills and outlives whom."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

from renewal.core.errors import Invalid, Unavailable
from renewal.engine.contract import Call
from renewal.engine.crew import PRELOADED, loaded_here
from renewal.engine.keeper import Keeper, _Nest
from renewal.engine.options import EngineOptions
from renewal.engine.processes import ProcessEngine
from renewal.testing import engine_calls as work
from renewal.testing.engines import _demand_dead, _is_alive


def _engine(n_workers: int = 1, *, memory_bytes: int | None = None) -> ProcessEngine:
    return ProcessEngine(EngineOptions(workers=n_workers, memory_bytes=memory_bytes), preload=())


def test_a_warm_worker_is_used_again() -> None:
    """Broken by an engine that starts a process for each call: libraries load every time."""
    engine = _engine()
    pids = {engine.run(os.getpid, label="pid").value for _ in range(3)}
    engine.close()
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_closing_leaves_nobody() -> None:
    """Broken by a keeper or a warm worker that outlives its engine."""
    engine = _engine()
    worker = engine.run(os.getpid, label="pid").value
    keeper = engine.run(os.getppid, label="keeper").value
    assert _is_alive(worker)
    assert _is_alive(keeper)
    engine.close()
    assert not _is_alive(worker)
    assert not _is_alive(keeper)


def test_one_that_leads_no_group_yet_is_killed() -> None:
    """Broken by a kill that reaches only the group of a worker, before it leads one."""
    here, there = socket.socketpair()
    with here, there, subprocess.Popen(["sleep", "60"]) as fresh:
        keeper = Keeper(there, None, 60.0, _nothing)
        keeper._kill(_Nest(fresh.pid, here, -1, 0), "cancelled", "one that was let go")
        assert fresh.wait(30) == -signal.SIGKILL
        keeper.selector.close()


def _nothing(_line: socket.socket, _pulse: int, _memory_bytes: int | None) -> None:
    """Become nothing."""


def test_warming_up_is_what_the_first_call_finds() -> None:
    """Broken by an engine that starts a second keeper for its first call."""
    engine = _engine()
    engine.warm_up()
    assert engine._crew is not None
    warm = engine._crew._keeper.pid
    assert engine.run(os.getppid, label="keeper").value == warm
    engine.close()


def test_an_engine_that_is_forgotten_leaves_nobody() -> None:
    """Broken by workers that wait for an engine that was never closed."""
    engine = _engine()
    worker = engine.run(os.getpid, label="pid").value
    del engine
    assert not _is_alive(worker)


def _script(folder: Path, body: str) -> list[str]:
    path = folder / "script.py"
    path.write_text(dedent(body), encoding="utf-8")
    return [sys.executable, str(path)]


def test_workers_die_with_their_owner(tmp_path: Path) -> None:
    """Broken by workers that fit on for a process that was killed."""
    sign = tmp_path / "pids"
    body = f"""
        from renewal.engine.processes import ProcessEngine
        from renewal.testing.engine_calls import start_and_stay
        ProcessEngine(preload=()).run(start_and_stay, {str(sign)!r}, label="stay")
    """
    with subprocess.Popen(_script(tmp_path, body)) as owner:
        work.await_sign(str(sign))
        owner.send_signal(signal.SIGKILL)
    _demand_dead(sign)


def test_workers_die_with_their_keeper(tmp_path: Path) -> None:
    """Broken by an engine that waits for ever for a keeper that was killed."""
    engine = _engine(2)
    keeper = engine.run(os.getppid, label="keeper").value
    sign = str(tmp_path / "pids")
    calls = [Call(work.start_and_stay, (sign,), "stay"), Call(work.await_sign, (sign,), "wait")]
    ends = engine.run_all(calls)
    assert next(ends).at == 1
    os.kill(keeper, signal.SIGKILL)
    (ended,) = ends
    assert isinstance(ended.error, Unavailable)
    assert ended.error.fields["reason"] == "lost"
    assert engine.run(max, 2, 3, label="a new keeper").value == 3
    engine.close()
    worker, grandchild = (int(text) for text in Path(sign).read_text("ascii").split())
    assert not _is_alive(worker)
    os.kill(grandchild, signal.SIGKILL)  # nobody was left to do it


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """Broken by workers that run the user's script again, or that find its functions."""
    body = """
        from renewal.core.errors import Invalid
        from renewal.engine.processes import ProcessEngine
        print("once")
        def own():
            return 1
        engine = ProcessEngine(preload=())
        print(engine.run(max, 2, 3, label="larger").value)
        try:
            engine.run(own, label="own")
        except Invalid as error:
            print(error)
    """
    done = subprocess.run(_script(tmp_path, body), capture_output=True, text=True, check=True)
    once, larger, refused = done.stdout.splitlines()
    assert (once, larger, done.stderr) == ("once", "3", "")
    assert re.search("own needs a function of a module .* Move it into a module", refused)


def test_what_workers_print_is_not_the_programs_answer(tmp_path: Path) -> None:
    """Broken by a worker's words in the output that another program reads."""
    body = """
        from renewal.engine.processes import ProcessEngine
        engine = ProcessEngine(preload=())
        engine.run(print, "from a worker", label="print")
        engine.close()
        print("answer")
    """
    done = subprocess.run(_script(tmp_path, body), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("answer\n", "from a worker\n")


def test_a_stopped_worker_is_lost_and_a_computing_one_is_not() -> None:
    """Broken by silence taken for death: C code that holds the interpreter cannot beat."""
    engine = ProcessEngine(EngineOptions(workers=1), preload=(), silent_s=0.75)
    count = 60_000_000
    ran = engine.run(sum, range(count), label="sums in C, silently")
    assert ran.value == count * (count - 1) // 2
    with pytest.raises(Unavailable, match="silent and idle") as caught:
        engine.run(work.stop_self, label="stops")
    assert caught.value.fields["reason"] == "lost"
    engine.close()


def test_a_keeper_outlives_a_worker_that_a_nameless_signal_killed() -> None:
    """Broken by a keeper that cannot name a real-time signal: it would take all workers along."""
    engine = _engine(2)
    calls = [Call(signal.raise_signal, (signal.SIGRTMIN + 3,), "odd"), Call(pow, (2, 3), "fine")]
    odd, fine = sorted(engine.run_all(calls), key=lambda ended: ended.at)
    engine.close()
    assert "signal 37" in str(odd.error)
    assert fine.ran is not None


def test_a_keeper_outlives_a_worker_that_it_cannot_start() -> None:
    """Broken by a keeper that dies when it has no file left: all workers would go with it."""
    engine = _engine(2)
    keeper = engine.run(os.getppid, label="keeper").value
    most = resource.prlimit(keeper, resource.RLIMIT_NOFILE)
    n_open = len(list(Path(f"/proc/{keeper}/fd").iterdir()))
    calls = [Call(pow, (2, 3), "first"), Call(pow, (2, 4), "second")]
    seconds = []
    for n_files in (3, n_open, n_open + 1, n_open + 2):  # it stops at another place each time
        resource.prlimit(keeper, resource.RLIMIT_NOFILE, (n_files, most[1]))
        first, second = sorted(engine.run_all(calls), key=lambda ended: ended.at)
        assert first.ran is not None  # the warm worker
        seconds.append(second)
    resource.prlimit(keeper, resource.RLIMIT_NOFILE, most)
    again = engine.run(os.getppid, label="keeper").value
    engine.close()
    assert isinstance(seconds[0].error, Unavailable)
    assert all(each.ran or isinstance(each.error, Unavailable) for each in seconds)
    assert again == keeper


def test_limits_hold_while_nobody_listens(tmp_path: Path) -> None:
    """Broken by limits that the owner keeps: it may be busy with another end."""
    engine = _engine(2)
    sign = tmp_path / "pids"
    calls = [
        Call(work.start_and_stay, (str(sign),), "stay", limit_s=1.0),
        Call(max, (2, 3), "quick"),
    ]
    ends = engine.run_all(calls)
    assert next(ends).at == 1
    work.await_sign(str(sign))
    _demand_dead(sign)  # the iterator has not been asked again
    (ended,) = ends
    assert isinstance(ended.error, Unavailable)
    assert ended.error.fields["reason"] == "time"
    engine.close()


def test_a_worker_above_its_share_of_memory_counts_its_children() -> None:
    """Broken by a limit that `n_jobs` walks around."""
    engine = _engine(1, memory_bytes=400 * 2**20)
    with pytest.raises(Unavailable) as caught:
        engine.run(work.hold_in_a_child, 600 * 2**20, label="child")
    assert caught.value.fields["reason"] == "memory"
    engine.close()


def test_engines_inside_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by workers of workers that each take the whole machine."""
    monkeypatch.setenv("RENEWAL_CORES", "4")
    outer = _engine(2)
    assert outer.n_slots == 2
    inner = ProcessEngine(EngineOptions(workers=8), preload=())
    assert outer.run(work.run_inside, inner, 5, label="inner").value == (10, 2)
    threads = outer.run(os.getenv, "OMP_NUM_THREADS", label="threads").value
    assert threads in {"1", "2"}
    outer.close()


def test_killing_a_worker_kills_the_engine_inside(tmp_path: Path) -> None:
    """Broken by workers of workers, in sessions of their own, that nobody kills."""
    outer, sign = _engine(2), tmp_path / "pids"
    calls = [
        Call(work.stay_inside, (_engine(), str(sign)), "inner"),
        Call(work.await_sign, (str(sign),), "wait"),
    ]
    for ended in outer.run_all(calls):
        assert ended.at == 1
        break
    _demand_dead(sign)
    outer.close()


def test_workers_draw_numbers_of_their_own() -> None:
    """Broken by forks that share the state of numpy's global dice."""
    engine = ProcessEngine(EngineOptions(workers=2), preload=["numpy"])
    calls = [Call(work.draw, (), f"draw {at}") for at in range(2)]  # strangers use it
    drawn = [ended.ran.value for ended in engine.run_all(calls) if ended.ran is not None]
    engine.close()
    assert len(set(drawn)) == 2


def test_preloading_starts_no_threads(tmp_path: Path) -> None:
    """Broken by a library that starts threads when imported: forking after that may hang."""
    names = [name for name in PRELOADED if name != "renewal"]
    extra = ["sklearn.ensemble", "sklearn.linear_model", "scipy.stats", "renewal.update.race"]
    body = f"""
        import importlib, json, os
        for name in {names + extra!r}:
            importlib.import_module(name)
        tasks = os.listdir("/proc/self/task")
        print(json.dumps([open(f"/proc/self/task/{{t}}/comm").read().strip() for t in tasks]))
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        _script(tmp_path, body), capture_output=True, text=True, check=True, env=environment
    )
    threads = re.findall(r'"(.*?)"', done.stdout)
    assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1, threads


def test_preloads_what_its_owner_uses() -> None:
    """Broken by a worker that pays a second for what its owner has loaded already."""
    names = loaded_here()
    assert "numpy" in names
    assert "renewal.engine.crew" in names
    assert "renewal.testing.engine_calls" not in names
    assert not [name for name in names if "._" in name]
    engine = ProcessEngine(EngineOptions(workers=1), preload=["colorsys", "no_such_module"])
    assert engine.run(work.is_loaded, "colorsys", label="loaded").value
    assert not engine.run(work.is_loaded, "sklearn", label="loaded").value
    engine.close()


def test_the_folder_and_the_path_of_the_caller_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by warm workers that stand where their owner stood before."""
    engine = _engine()
    engine.run(os.getcwd, label="where")
    monkeypatch.chdir(tmp_path)
    assert engine.run(os.getcwd, label="where").value == str(tmp_path)
    (tmp_path / "newcomer.py").write_text("def answer():\n    return 42\n", encoding="ascii")
    monkeypatch.syspath_prepend(str(tmp_path))
    newcomer = import_module("newcomer")
    assert engine.run(newcomer.answer, label="new").value == 42
    (tmp_path / "newcomer.py").unlink()
    engine.close()
    fresh = ProcessEngine(EngineOptions(workers=1), preload=())
    with pytest.raises(Invalid, match="No module named 'newcomer'"):
        fresh.run(newcomer.answer, label="gone")
    fresh.close()


def test_interleaved_loops_keep_apart() -> None:
    """Broken by ends that reach the loop of other calls."""
    engine = _engine(2)
    first = engine.run_all([Call(max, (at, 0), "first") for at in range(4)])
    second = engine.run_all([Call(max, (at, 9), "second") for at in range(4)])
    values: list[list[int]] = [[], []]
    for pair in zip(first, second, strict=True):
        for at, ended in enumerate(pair):
            assert ended.ran is not None
            values[at].append(ended.ran.value)
    engine.close()
    assert sorted(values[0]) == [0, 1, 2, 3]
    assert values[1] == [9, 9, 9, 9]
