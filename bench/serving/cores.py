"""Which core does what, and how a process is bound to it and to the life of this one.

Run as a program it is the start of every child: it binds itself to a core, asks the kernel to
be told when its parent dies, and becomes the program that it was given.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_CORES = sorted(os.sched_getaffinity(0))
SERVER, GENERATOR = _CORES[0], _CORES[-1]
_SET_PARENT_DEATH_SIGNAL = 1


def child_words(words: Sequence[str], *, core: int, nice: int = 0) -> list[str]:
    """Return the command line of a child: bound to a core, and ending when this process does."""
    return [sys.executable, "-S", "-E", __file__, str(core), str(nice), *words]


def become(words: Sequence[str]) -> None:
    """Bind this process to a core and become the program that is named."""
    core, nice, *program = words
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    os.sched_setaffinity(0, {int(core)})
    with contextlib.suppress(PermissionError):  # only root may be quicker than others
        os.nice(int(nice))
    os.execvp(program[0], program)  # noqa: S606  # it becomes the program under test


def told() -> str:
    """Say which core does what."""
    if SERVER == GENERATOR:
        return f"server and load generator share core {SERVER}: no figure of this run counts"
    return f"server on core {SERVER}, load generator on core {GENERATOR}"


if __name__ == "__main__":
    become(sys.argv[1:])
