"""Ids are never handed out twice: not by threads, not by a process and its fork."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from renewal.core.ids import new_id


def test_threads_never_share_an_id() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [new_id() for _ in range(5_000)], range(8)))
    assert len({each for ids in found for each in ids}) == 40_000


def test_a_fork_hands_out_ids_of_its_own() -> None:
    """Breaks when the numbers that were drawn in advance are kept by both."""
    program = """
import os
from renewal.core.ids import new_id
new_id()
r, w = os.pipe()
if os.fork() == 0:
    os.write(w, " ".join(new_id()[10:] for _ in range(500)).encode())
    os._exit(0)
os.close(w)
mine = {new_id()[10:] for _ in range(500)}
theirs = set(open(r).read().split())
print(len(mine & theirs), len(theirs))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.split() == ["0", "500"]


def test_ids_sort_by_the_time_of_their_making() -> None:
    first, last = new_id(), new_id()
    assert first[:10] <= last[:10]
    assert len(first) == len(last) == 26
