"""Moves champions through the registry, in a process of its own: what an operator does.

As a program it reads a home's folder and then one move a line, ``AT_S MODEL VERSION`` with a
monotonic time, makes it then (a rollback where VERSION is ``-``), and prints what it did.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

import renewal
from bench.serving.cores import GENERATOR, child_words
from bench.serving.process import ROOT, NotStartedError, end

BACK = "-"
_GRACE_S = 120.0


@dataclass(frozen=True, slots=True)
class Move:
    """One that is asked for: at a monotonic time, to a version or back."""

    at_s: float
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class Moved:
    """One that was made.

    Parameters
    ----------
    model, version : str
        The version is the champion now.
    is_back : bool
        Whether it was a rollback.
    called_s, returned_s : float
        Monotonic, before and after the call.
    """

    model: str
    version: str
    is_back: bool
    called_s: float
    returned_s: float


@dataclass(frozen=True, slots=True)
class Mover:
    """The process, ready to move."""

    process: subprocess.Popen[str]

    def make(self, moves: Sequence[Move]) -> None:
        """Hand it all its moves; it makes each at its time, and ends with the last."""
        assert self.process.stdin is not None
        lines = [f"{each.at_s} {each.model} {each.version}\n" for each in moves]
        self.process.stdin.write("".join(lines))
        self.process.stdin.close()

    def made(self) -> list[Moved]:
        """Wait for the last one and return all."""
        assert self.process.stdout is not None
        found = [msgspec.convert(json.loads(line), Moved) for line in self.process.stdout]
        if self.process.wait(_GRACE_S):
            raise NotStartedError("the mover failed; its error stands above")
        return found

    def stop(self) -> None:
        """End it, whatever it does."""
        end(self.process)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def start_mover(root: Path) -> Mover:
    """Start it on the generator's core and wait until the home is open in it."""
    words = [sys.executable, "-m", "bench.serving.mover", str(root)]
    process = subprocess.Popen(
        child_words(words, core=GENERATOR),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    if not process.stdout.readline():
        end(process)
        raise NotStartedError("the mover did not open the home")
    return Mover(process)


def main() -> None:
    """Make every move at its time."""
    with renewal.open(Path(sys.argv[1]), create=False) as home:
        models = {each.name: each for each in home.models()}
        print("ready", flush=True)
        for line in sys.stdin:
            at_s, name, version = line.split()
            time.sleep(max(float(at_s) - time.monotonic(), 0.0))
            called_s = time.monotonic()
            if version == BACK:
                now = models[name].rollback(who="bench", why="measured")
            else:
                now = models[name].promote(version, force=True, who="bench", why="measured")
            done = Moved(name, now.name, version == BACK, called_s, time.monotonic())
            print(msgspec.json.encode(done).decode(), flush=True)


if __name__ == "__main__":
    main()
