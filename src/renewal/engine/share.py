"""How many cores the engines of this process may use, and what their workers are left with."""

from __future__ import annotations

import os
from collections.abc import Mapping

CORES = "RENEWAL_CORES"
"""Environment variable: how many cores all engines of a process may use together.

Every worker is started with its share in it, so an engine inside a worker stays within that
share instead of multiplying the processes. People may set it too.
"""

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "POLARS_MAX_THREADS",
    "LOKY_MAX_CPU_COUNT",
)


def n_cores() -> int:
    """Return how many cores this process may use: what was granted, or what it is bound to."""
    granted = _number(os.environ, CORES)
    if granted is not None:
        return granted
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def n_slots_for(workers: int | None) -> int:
    """Return how many workers an engine of this process has.

    Parameters
    ----------
    workers : int or None
        As the policy says; None: one a core. Where a share of cores was granted, as inside a
        worker, there are never more than that.
    """
    if workers is None:
        return n_cores()
    granted = _number(os.environ, CORES)
    return workers if granted is None else min(workers, granted)


def worker_environment(n_slots: int) -> dict[str, str]:
    """Return what a worker finds in its environment, so that all of them share the cores.

    Libraries read the number of their threads when they are loaded, so it must be there
    before. A lower number that is set already stays.

    Parameters
    ----------
    n_slots : int >= 1
        How many workers there are at the same time.

    Examples
    --------
    >>> worker_environment(n_cores())["RENEWAL_CORES"]
    '1'
    """
    share = max(1, n_cores() // n_slots)
    environment = {CORES: str(share)}
    for name in _THREADS:
        there = _number(os.environ, name)
        environment[name] = str(share if there is None else min(there, share))
    return environment


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdigit() and int(text) > 0 else None
