"""Asks a server now and then which version of a model answers, in a thread."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bench.serving.cores import GENERATOR

_STEP_S = 0.2


@dataclass(slots=True)
class Seen:
    """When each version answered first; monotonic seconds."""

    first_s: dict[str, float] = field(default_factory=dict)


@contextmanager
def asked(port: int, model: str, body: bytes) -> Iterator[Seen]:
    """Ask every 0.2 s."""
    found, over = Seen(), threading.Event()
    url = f"http://127.0.0.1:{port}/v2/models/{model}/infer"

    def ask() -> None:
        os.sched_setaffinity(0, {GENERATOR})  # of this thread
        while not over.wait(_STEP_S):
            with (
                suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(url, body, timeout=30) as answer,
            ):
                found.first_s.setdefault(answer.headers["x-renewal-version"], time.monotonic())

    thread = threading.Thread(target=ask, name="bench-asked", daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
