"""Fifty swaps in a minute under a constant rate of half the capacity, open loop.

A process of its own moves the champion through the registry: a promotion to a version that is
not in memory, a rollback to the one before, which is warm, and so on. The generator sends at a
constant rate whatever the server does; its first seconds, before any swap, are what the others
are held against. Then the same again, while a model of 1 GB of another name is promoted. And once
more with networks whose weights are small enough to lie in the server's own memory, and of which
each prediction reads all: those of large graphs stay in their files.

Memory: that of a server with next to no model under the same kind of load is taken off; a copy is
what one loaded model adds, or its bytes where that is more. Once with and once without the pages
of files, which are there while a model is read, and which the kernel takes back when it needs them.

Run it as ``python -m bench.serving.swaps``; ``--quick`` takes small models and six swaps.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bench.figure import figure
from bench.serving.answers import Followed, followed, part, versions
from bench.serving.asked import Seen, asked
from bench.serving.homes import add_large, dense_graph, write_policy
from bench.serving.load import Generator, Report, generator
from bench.serving.memory import Peak, watched
from bench.serving.mover import BACK, Move, Moved, start_mover
from bench.serving.process import Child
from bench.serving.requests import rows, v2_body, v2_json
from bench.serving.throughput import ours
from bench.serving.versions import tell_machine

LARGEST_STALL_MS = 25.0
# Two copies, and a fortieth of one for the allocator.
MOST_COPIES = 2.05
MODEL, GIANT = "large", "giant"
MARK = "x-renewal-version: "
_MB = 1_000_000
_N_REQUESTS = 64
_TINY = 100_000
# About what the server of dense networks answers under load here.
_DENSE_RATE = 1_700.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    n_bytes: int
    giant_bytes: int
    n_versions: int
    n_swaps: int
    every_s: float
    steady_s: float
    capacity_s: float

    dense_bytes: int
    n_dense_swaps: int


FULL = Size(200 * _MB, 1000 * _MB, 6, 50, 1.2, 15.0, 4.0, 60 * _MB, 12)
QUICK = Size(2 * _MB, 5 * _MB, 3, 6, 0.5, 1.0, 0.3, _MB, 4)


def run(quick: bool) -> None:  # noqa: FBT001  # the one switch of every part
    """Measure and print the figures."""
    size = QUICK if quick else FULL
    tell_machine()
    with TemporaryDirectory(prefix="renewal-bench-") as name, generator() as load:
        if load is None:
            return
        root, tiny = Path(name) / "home", Path(name) / "tiny"
        for each in (root, tiny):
            write_policy(each)
        add_large(tiny, {MODEL: [_TINY], GIANT: [_TINY]})
        sizes = {MODEL: [size.n_bytes] * size.n_versions, GIANT: [_TINY, size.giant_bytes]}
        add_large(root, sizes)
        base = _base(load, tiny, size, rate=None)
        for title in ("swaps", "beside"):
            with ours(root) as child:
                _measure(load, root, child, size, base=base, title=title)
        dense = Path(name) / "dense"
        write_policy(dense)
        versions = {MODEL: [size.dense_bytes] * size.n_versions, GIANT: [_TINY]}
        add_large(dense, versions, make=dense_graph)
        size = replace(size, n_bytes=size.dense_bytes, n_swaps=size.n_dense_swaps)
        base = _base(load, tiny, size, rate=_DENSE_RATE)
        with ours(dense) as child:
            _measure(load, dense, child, size, base=base, title="resident")


def _base(load: Generator, tiny: Path, size: Size, *, rate: float | None) -> Peak:
    """Return the memory of a server with next to no model under load."""
    with ours(tiny) as child:
        load.run(child.port, _requests(), connections=32, seconds=size.capacity_s, rate=rate)
        return Peak(child.rss_bytes(), child.own_bytes())


def _requests() -> list[bytes]:
    return [v2_json(MODEL, each) for each in rows(_N_REQUESTS)]


def schedule(size: Size, start_s: float, *, is_beside: bool) -> list[Move]:
    """Return the moves: to a version that is not in memory, back, to the next one, back."""
    moves, champion = [], 1
    for at in range(size.n_swaps):
        when = start_s + at * size.every_s
        if at % 2:
            moves.append(Move(when, MODEL, BACK))
        else:
            champion = champion % size.n_versions + 1
            champion = champion if champion != 1 else 2
            moves.append(Move(when, MODEL, f"v{champion}"))
    if is_beside:
        moves.append(Move(start_s + 2.5 * size.every_s, GIANT, "v2"))
    return sorted(moves, key=lambda each: each.at_s)


def _measure(
    load: Generator, root: Path, child: Child, size: Size, *, base: Peak, title: str
) -> None:
    requests = _requests()
    capacity = load.run(child.port, requests, connections=32, seconds=size.capacity_s)
    if capacity.n_failed or not capacity.n:
        raise SystemExit(f"before any swap: {capacity.failures()} of {capacity.n}")
    one = child.own_bytes() - base.n_own_bytes
    rate = capacity.rate / 2
    mover = start_mover(root)
    try:
        spent_s = size.n_swaps * size.every_s
        body = v2_body(rows(1)[0])
        with watched(child) as peak, asked(child.port, GIANT, body) as giant:
            running = load.start(
                child.port,
                requests,
                connections=64,
                seconds=size.steady_s + spent_s + 1.0,
                rate=rate,
                mark=MARK,
                is_recorded=True,
            )
            start_s = time.monotonic() + size.steady_s
            mover.make(schedule(size, start_s, is_beside=title == "beside"))
            report = running.report()
        made = mover.made()
    finally:
        mover.stop()
    print(
        f"{title}: {size.n_swaps} swaps in {spent_s:g} s of versions of {size.n_bytes / _MB:g} MB;"
        f" capacity {capacity.rate:,.0f}/s, rate {rate:,.0f}/s, open loop, 64 connections"
    )
    moves = [each for each in made if each.model == MODEL]
    _tell_answers(title, report, moves, start_s, size)
    if title == "beside":
        _tell_giant(made, giant, size)
    else:
        peak.n_bytes = max(peak.n_bytes, child.peak_bytes())
        _tell_memory(title, base, one, peak, size.n_bytes)


def _tell_memory(title: str, base: Peak, one: int, peak: Peak, n_bytes: int) -> None:
    # A graph whose weights stay in its file adds next to nothing: then the file is the unit.
    copy = max(one, n_bytes)
    copies = (peak.n_bytes - base.n_bytes) / copy
    own = (peak.n_own_bytes - base.n_own_bytes) / copy
    print(
        f"  memory: {base.n_bytes / _MB:,.0f} MB without the model, at most"
        f" {peak.n_bytes / _MB:,.0f} MB in {peak.n_looks} looks and by the kernel's own count:"
        f" {copies:.2f} copies of {copy / _MB:,.0f} MB\n"
        f"  without the pages of files {base.n_own_bytes / _MB:,.0f} MB,"
        f" {one / _MB:,.0f} MB more with one model, at most {peak.n_own_bytes / _MB:,.0f} MB:"
        f" {own:.2f} copies"
    )
    figure(f"{title}.copies", copies, f"<={MOST_COPIES:g}", copies <= MOST_COPIES)
    figure(f"{title}.own_copies", own, f"<={MOST_COPIES:g}", own <= MOST_COPIES)


def _tell_answers(
    title: str, report: Report, moves: Sequence[Moved], start_s: float, size: Size
) -> None:
    steady = part(report.records, report.began_s, start_s)
    during = part(report.records, start_s, math.inf)
    print(f"  steady:       {steady}")
    print(f"  during swaps: {during}")
    print(f"  failed: {report.failures()}; {report.n_reconnects} connections opened again")
    print(f"  the generator itself was late by {report.lag_ms:.1f} ms at most")
    if during.p99_ms:
        print(
            f"  p99 {during.p99_ms / steady.p99_ms:.2f} and p99.9"
            f" {during.p999_ms / steady.p999_ms:.2f} times the steady ones"
        )
    found = followed(report, moves)
    for kind, is_back in (("promotions, loaded", False), ("rollbacks, warm", True)):
        _tell_followed(kind, [each for each in found if each.move.is_back == is_back])
    n_followed = sum(not math.isnan(each.first_s) for each in found)
    told = versions(report, moves, "v1")
    print(
        f"  answers of the champion {told.n_current:,}, of the one before {told.n_before:,},"
        f" of any other {told.n_wrong:,}"
    )
    figure(f"{title}.followed", n_followed, size.n_swaps, n_followed == size.n_swaps)
    figure(f"{title}.failed", report.n_failed, 0, report.n_failed == 0)
    figure(f"{title}.wrong_version", told.n_wrong, 0, told.n_wrong == 0)
    stall = during.stall_ms
    if title == "resident":
        # One of its predictions takes milliseconds, and its loading reads and rearranges weights.
        print(f"  largest stall {stall:.1f} ms; at rest {steady.stall_ms:.1f} ms")
        return
    figure(f"{title}.stall_ms", stall, f"<={LARGEST_STALL_MS:g}", stall <= LARGEST_STALL_MS)


def _tell_followed(kind: str, found: Sequence[Followed]) -> None:
    first = np.array([each.first_s for each in found if not math.isnan(each.first_s)])
    if not len(first):
        print(f"  {kind}: none of {len(found)} was followed in time")
        return
    last_s = max(each.last_s for each in found)
    print(
        f"  {kind}: {len(first)} of {len(found)} followed; from the call to the first answer"
        f" {np.median(first) * 1e3:,.0f} ms at the median, {first.max() * 1e3:,.0f} at most; to the"
        f" last answer of the version before {last_s * 1e3:,.0f} at most"
    )


def _tell_giant(made: Sequence[Moved], seen: Seen, size: Size) -> None:
    (move,) = (each for each in made if each.model == GIANT)
    first_s = seen.first_s.get(move.version, math.nan) - move.called_s
    print(
        f"  beside it {GIANT} was promoted to a version of {size.giant_bytes / _MB:,.0f} MB, which"
        f" answered {first_s:.1f} s later"
    )
    has_answered = not math.isnan(first_s)
    figure("beside.giant_answers", has_answered, "True", has_answered)


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small models and six swaps")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
