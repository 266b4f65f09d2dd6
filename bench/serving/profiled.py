"""Where the time of our server goes: cProfile of the thread of its event loop, under load.

As a program it serves a home as `renewal serve` does and writes the profile when it is told to
stop. The profiler makes Python's functions look two to three times as slow as they are beside
C's: compare shares, not times.
"""

from __future__ import annotations

import cProfile
import io
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
_LOOP = "renewal-http"


def profile(load: Generator, root: Path, requests: Sequence[bytes], seconds: float) -> None:
    """Serve a home under load and print its profile."""
    port, target = free_port(), root.parent / "profile.txt"
    words = [sys.executable, "-m", "bench.serving.profiled", str(root), str(port), str(target)]
    with started(words, port) as child:
        report = load.run(child.port, requests, connections=32, seconds=seconds)
    print(f"under the profiler {report.rate:,.0f}/s, failed: {report.failures()}")
    print(target.read_text(encoding="utf-8"))


def main() -> None:
    """Serve the home until told to stop, then write the profile."""
    root, port, target = sys.argv[1:]
    found: list[cProfile.Profile] = []

    def begin(_frame: Any, _event: str, _argument: Any) -> None:
        sys.setprofile(None)
        if threading.current_thread().name != _LOOP:
            return
        each = cProfile.Profile()
        found.append(each)
        each.enable()

    threading.setprofile(begin)
    with renewal.open(root, create=False) as home:
        home.server(port=int(port)).run()
    threading.setprofile(None)
    text = io.StringIO()
    if not found:
        raise SystemExit(f"no thread was called {_LOOP}")
    found[0].create_stats()
    pstats.Stats(found[0], stream=text).strip_dirs().sort_stats("tottime").print_stats(_N_LINES)
    Path(target).write_text(text.getvalue(), encoding="utf-8")


if __name__ == "__main__":
    main()
