"""The most memory that a server takes, watched in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.serving.process import Child

_STEP_S = 0.02


@dataclass(slots=True)
class Peak:
    """What was seen: the most bytes of all processes together, and how often it was looked."""

    n_bytes: int = 0
    n_looks: int = 0


@contextmanager
def watched(child: Child) -> Iterator[Peak]:
    """Look at a server's memory every 20 ms."""
    found, over = Peak(), threading.Event()

    def look() -> None:
        while not over.wait(_STEP_S):
            found.n_bytes = max(found.n_bytes, child.rss_bytes())
            found.n_looks += 1

    thread = threading.Thread(target=look, name="bench-memory", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
