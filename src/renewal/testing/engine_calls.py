"""What the conformance suite of engines lets them run: importable by name, as calls must be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Never

import numpy as np

from renewal.core.errors import Refused
from renewal.core.progress import tell_progress
from renewal.engine.contract import Call, Engine

_PATIENCE_S = 60.0


def spin(cpu_s: float) -> int:
    """Use the processor for so long."""
    until_s, turns = time.process_time() + cpu_s, 0
    while time.process_time() < until_s:
        turns += 1
    return turns


def hold(n_bytes: int, for_s: float = 0.0) -> int:
    """Hold so many bytes, really in memory, for so long."""
    held = bytearray(n_bytes)
    held[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(range(0, n_bytes, os.sysconf("SC_PAGE_SIZE")))
    time.sleep(for_s)
    return len(held)


def refuse() -> Never:
    """Raise an error with fields, as a strategy does."""
    raise Refused("the suite", needs="a", came="b", todo="c", verdict="reject", at=3)


class Stubborn(Exception):  # named by what it does
    """An error that does not survive pickling: its text is not its only argument."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def raise_stubborn() -> Never:
    """Raise an error that does not survive pickling."""
    raise Stubborn(3, 4)


def run_short_of_memory() -> Never:
    """Raise what Python raises when memory runs out."""
    raise MemoryError("no room for 1 TB")  # as the allocator says it


def leave() -> Never:
    """Call `sys.exit`, as scripts do."""
    sys.exit(3)


def make_function() -> object:
    """Return what does not pickle."""
    return lambda: 1


def touch(path: str) -> str:
    """Leave a sign."""
    Path(path).touch()
    return path


def note(path: str, text: str) -> None:
    """Append a line."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def await_sign(path: str) -> str:
    """Wait until there is a sign; raise where none comes in a minute."""
    until_s = time.monotonic() + _PATIENCE_S
    while not Path(path).exists():
        assert time.monotonic() < until_s, f"no sign at {path}: nothing else ran meanwhile"
        time.sleep(0.01)
    return path


def count_beside(folder: str, name: str) -> int:
    """Stay a moment in a folder; return the largest number that was there together."""
    own, most = Path(folder) / name, 0
    own.touch()
    for _ in range(20):
        most = max(most, sum(1 for _ in Path(folder).iterdir()))
        time.sleep(0.01)
    own.unlink()
    return most


def start_and_stay(sign: str) -> None:
    """Start a process that sleeps, write both process ids as a sign, and sleep too."""
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleeper)  # noqa: S603  # this Python, asleep
    partial = Path(sign + ".partial")
    partial.write_text(f"{os.getpid()} {child.pid}", encoding="ascii")
    partial.rename(sign)
    time.sleep(600)


def kill_self() -> None:
    """Die as by the kernel's hand."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop_self() -> None:
    """Stop, as a debugger or a job control would have it."""
    os.kill(os.getpid(), signal.SIGSTOP)


def hold_in_a_child(n_bytes: int) -> None:
    """Let a child process hold so many bytes."""
    body = f"import time; held = bytearray(b'x') * {n_bytes}; time.sleep(60)"
    subprocess.run([sys.executable, "-c", body], check=True)  # noqa: S603  # this Python


def is_loaded(name: str) -> bool:
    """Tell whether a module is loaded here."""
    return name in sys.modules


def draw() -> float:
    """Draw a number from numpy's global state, as many libraries do."""
    return float(np.random.random())  # noqa: NPY002  # that state is what is looked at


def tell_much(n_words: int) -> int:
    """Say more than anybody wants to hear."""
    for at in range(n_words):
        tell_progress(f"word {at + 1} of {n_words}", (at + 1) / n_words)
    return n_words


def run_inside(engine: Engine, n_calls: int) -> tuple[int, int]:
    """Run calls by an engine that was carried here; return the sum and its slots."""
    calls = [Call(max, (at, 0), f"inner {at}") for at in range(n_calls)]
    try:
        total = 0
        for ended in engine.run_all(calls):
            assert ended.ran is not None, repr(ended.error)
            total += ended.ran.value
        return total, engine.n_slots
    finally:
        engine.close()


def stay_inside(engine: Engine, sign: str) -> None:
    """Let a worker of an engine that was carried here start a process, and stay."""
    engine.run(start_and_stay, sign, label="stay")
