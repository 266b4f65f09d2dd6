"""Where the time of our server goes: its threads, and cProfile of its event loop, under load.

As a program it serves a home as `renewal serve` does and writes what it saw when it is told to
stop: the processor time of each thread, then the functions of the event loop. The profiler makes
Python's functions look two to three times as slow as they are beside C's: compare shares, not
times; the other threads are not profiled, their times are true. RENEWAL_BENCH_THREAD names
another thread to profile, such as ``renewal-log``.
"""

from __future__ import annotations

import cProfile
import io
import os
import pstats
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import renewal
from bench.serving.load import Generator
from bench.serving.process import free_port, started

_N_LINES = 45
# Of the threads that the server starts, the one that is profiled.
_LOOP = os.environ.get("RENEWAL_BENCH_THREAD", "renewal-http")
_TICKS = os.sysconf("SC_CLK_TCK")
_STEP_S = 0.1


def profile(
    load: Generator, root: Path, requests: Sequence[bytes], seconds: float, *, n: int = 32
) -> None:
    """Serve a home under the load of `n` connections and print its profile."""
    port, target = free_port(), root.parent / "profile.txt"
    words = [sys.executable, "-m", "bench.serving.profiled", str(root), str(port), str(target)]
    with started(words, port) as child:
        report = load.run(child.port, requests, connections=n, seconds=seconds)
    print(f"under the profiler {report.rate:,.0f}/s, {report.n:,} answers, {report.failures()}")
    print(target.read_text(encoding="utf-8"))


def main() -> None:
    """Serve the home until told to stop, then write the profile."""
    root, port, target = sys.argv[1:]
    found: list[cProfile.Profile] = []
    spent: dict[str, float] = {}
    over = threading.Event()

    def begin(_frame: Any, _event: str, _argument: Any) -> None:
        sys.setprofile(None)
        if threading.current_thread().name == _LOOP:
            found.append(cProfile.Profile())
            found[-1].enable()

    def watch() -> None:
        while not over.wait(_STEP_S):
            spent.update(_threads())

    watcher = threading.Thread(target=watch, name="bench-watch", daemon=True)
    watcher.start()
    threading.setprofile(begin)
    with renewal.open(root, create=False) as home:
        home.server(port=int(port)).run()
    threading.setprofile(None)
    over.set()
    watcher.join()
    if not found:
        raise SystemExit(f"no thread was called {_LOOP}")
    text = io.StringIO()
    for name, spent_s in sorted(spent.items(), key=lambda each: -each[1])[:10]:
        text.write(f"  {spent_s:6.2f} s of processor time, start included: {name}\n")
    found[0].create_stats()
    pstats.Stats(found[0], stream=text).strip_dirs().sort_stats("tottime").print_stats(_N_LINES)
    Path(target).write_text(text.getvalue(), encoding="utf-8")


def _threads() -> dict[str, float]:
    """Return the processor seconds that every thread has used so far."""
    found = {}
    for thread in threading.enumerate():
        path = Path(f"/proc/self/task/{thread.native_id}/stat")
        if path.exists():
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            found[f"{thread.name} {thread.native_id}"] = sum(map(int, fields[11:13])) / _TICKS
    return found


if __name__ == "__main__":
    main()
