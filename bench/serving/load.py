"""The load generator: compiled at the start, run on a core of its own, its report read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.serving.cores import GENERATOR, child_words

RECORD = np.dtype([("due", "f8"), ("sent", "f8"), ("done", "f8"), ("status", "i4"), ("mark", "i4")])
_SOURCE = Path(__file__).with_name("load.c")
_GRACE_S = 60.0
# Who moves champions meanwhile has the generator's core as well; the generator goes first.
_NICE = -10


@dataclass(frozen=True, slots=True)
class Mark:
    """A text that answers carried, such as a version, and when it was seen; monotonic seconds."""

    text: str
    n: int
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one run of the generator; times in milliseconds where they say so.

    Parameters
    ----------
    n, n_ok, n_not_sent : int
        Requests that ended, those with a 2xx, and those that were due and found no connection.
    statuses, errors : dict
        Answers by status, and what was no answer by kind.
    began_s, seconds, rate : float
        When it began (monotonic), how long it took, 2xx answers a second within it.
    p50_ms, p90_ms, p99_ms, p999_ms, max_ms : float
        Of every answer; in open loop from the time at which the request was due.
    stall_ms, stall_at_s : float
        The longest time without any answer while somebody waited, and when it began.
    lag_ms : float
        How late the generator itself was at most: what it says is not finer than this.
    n_idle_closed, n_reconnects : int
        Connections that the server closed between two requests, and all that were opened again.
    marks : list of Mark
        In the order in which they came.
    bin_s, counts, worst_ms
        A timeline: answers and the slowest answer by bins.
    records : structured array or None
        One record a request, of the fields of `RECORD`, where it was asked for.
    """

    n: int
    n_ok: int
    n_not_sent: int
    statuses: dict[str, int]
    errors: dict[str, int]
    began_s: float
    seconds: float
    rate: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    stall_ms: float
    stall_at_s: float
    lag_ms: float
    n_idle_closed: int
    n_reconnects: int
    marks: list[Mark]
    bin_s: float
    counts: list[int]
    worst_ms: list[float]
    records: Any = None

    @property
    def n_failed(self) -> int:
        """How many requests were not answered with a 2xx."""
        return self.n - self.n_ok + self.n_not_sent

    def failures(self) -> str:
        """Say what failed, in words."""
        wrong = {key: n for key, n in self.statuses.items() if not key.startswith("2")}
        parts = {**wrong, **self.errors}
        if self.n_not_sent:
            parts["not sent"] = self.n_not_sent
        return ", ".join(f"{n} {key}" for key, n in parts.items()) or "none"


@dataclass(frozen=True, slots=True)
class Generator:
    """A compiled generator, and where requests are put for it."""

    program: Path
    folder: Path

    def start(self, port: int, requests: Sequence[bytes], **how: Any) -> Running:
        """Start it on its core; `Running.report` waits for its end.

        Parameters
        ----------
        port : int
            Of a server on this machine.
        requests : sequence of bytes
            Whole HTTP requests, sent in turn.
        **how
            ``connections``, ``seconds``, ``warm``, ``rate`` (requests a second: open loop),
            ``timeout``, ``bin`` and ``mark``, the text in front of what is told apart.
        """
        words: list[str] = [str(self.program), "--port", str(port)]
        for at, each in enumerate(requests):
            path = self.folder / f"{at}.http"
            path.write_bytes(each)
            words += ["--request", str(path)]
        is_recorded = bool(how.pop("is_recorded", False))
        target = self.folder / "records" if is_recorded else None
        for name, value in how.items():
            words += [f"--{name}", str(value)]
        if target is not None:
            words += ["--records", str(target)]
        limit_s = float(how.get("seconds", 5)) + float(how.get("warm", 0)) + _GRACE_S
        process = subprocess.Popen(
            child_words(words, core=GENERATOR, nice=_NICE), stdout=subprocess.PIPE, text=True
        )
        return Running(process, limit_s, target)

    def run(self, port: int, requests: Sequence[bytes], **how: Any) -> Report:
        """Run it to its end; see `start`."""
        return self.start(port, requests, **how).report()


@dataclass(slots=True)
class Running:
    """A generator that is at work."""

    process: subprocess.Popen[str]
    limit_s: float
    target: Path | None = None
    _text: str = field(default="", init=False)

    def report(self) -> Report:
        """Wait for its end and return what it says."""
        try:
            self._text, _ = self.process.communicate(timeout=self.limit_s)
        finally:
            self.stop()
        if self.process.returncode:
            sys.exit(f"the load generator ended with {self.process.returncode}")
        found = msgspec.convert(json.loads(self._text), Report)
        if self.target is None:
            return found
        records: NDArray[Any] = np.fromfile(self.target, RECORD)
        return replace(found, records=records)

    def stop(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@contextmanager
def generator() -> Iterator[Generator | None]:
    """Compile the generator into a temporary folder; None, told aloud, without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        print("NOT RUN: a C compiler is needed for the load generator: apt-get install gcc")
        yield None
        return
    with TemporaryDirectory(prefix="renewal-load-") as name:
        folder = Path(name)
        program = folder / "load"
        words = [compiler, "-O2", "-o", str(program), str(_SOURCE)]
        subprocess.run(words, check=True, timeout=120)
        yield Generator(program, folder)
