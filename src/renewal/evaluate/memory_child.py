"""The program of the child process of `renewal.evaluate.cost.memory_of`.

Reads a pickled callable from its input, calls it, and prints by how much the process grew, as
JSON. A process of its own and not a fork: it starts empty, and never runs the caller's script.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return the bytes of this process that are in memory now; without ``/proc`` their peak."""
    if _STATM.exists():
        n_pages = int(_STATM.read_text(encoding="ascii").split()[1])
        return n_pages * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Load what the input names and print the growth, or what it raised."""
    # What loading prints must not mix with the answer.
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        load = pickle.load(sys.stdin.buffer)  # noqa: S301  # the parent's own bytes
        before = resident_bytes()
        loaded = load()
        told: dict[str, object] = {"n_bytes": max(0, resident_bytes() - before)}
        del loaded  # it had to live until here
    except Exception as error:  # noqa: BLE001  # the worker border: the parent is told
        told = {"failed": f"{type(error).__name__}: {error}"}
    os.write(answer, json.dumps(told).encode())


if __name__ == "__main__":
    main()
