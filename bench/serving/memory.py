"""The most memory that a server takes, watched in a thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.serving.cores import GENERATOR
from bench.serving.process import Child, own_bytes, rss_bytes

_STEP_S = 0.02
# Who is of the family is looked up less often: that reads the whole of /proc.
_LOOKS_A_FAMILY = 25


@dataclass(slots=True)
class Peak:
    """What was seen: the most bytes of all processes together, and how often it was looked.

    `n_own_bytes` leaves the pages of files out, which the kernel takes back when it needs them.
    """

    n_bytes: int = 0
    n_own_bytes: int = 0
    n_looks: int = 0


@contextmanager
def watched(child: Child) -> Iterator[Peak]:
    """Look at a server's memory every 20 ms."""
    found, over = Peak(), threading.Event()

    def look() -> None:
        os.sched_setaffinity(0, {GENERATOR})  # of this thread
        pids: list[int] = []
        while not over.wait(_STEP_S):
            if found.n_looks % _LOOKS_A_FAMILY == 0:
                pids = child.pids
            found.n_bytes = max(found.n_bytes, rss_bytes(pids))
            found.n_own_bytes = max(found.n_own_bytes, own_bytes(pids))
            found.n_looks += 1

    thread = threading.Thread(target=look, name="bench-memory", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
