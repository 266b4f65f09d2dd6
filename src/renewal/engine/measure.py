"""What a function costs: wall time, processor time, memory."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from renewal.engine.contract import Ran

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def resident_bytes() -> int | None:
    """Return what this process holds in memory now; None where the system does not tell."""
    return _kilobytes("VmRSS:")


def measured(function: Callable[..., Any], args: tuple[Any, ...], *, fresh: bool) -> Ran[Any]:
    """Run ``function(*args)`` and return its value with its cost.

    Parameters
    ----------
    function : callable
        What to run.
    args : tuple
        What to hand it.
    fresh : bool
        Whether the process is ours alone, so that its high-water mark of memory may be set
        back first. In a process of somebody else's the peak is known only where it rose.

    Examples
    --------
    >>> ran = measured(max, (2, 3), fresh=False)
    >>> ran.value, ran.seconds >= 0, ran.cpu_s >= 0
    (3, True, True)
    """
    known = fresh and _set_back()
    before = _kilobytes("VmHWM:")
    cpu_before, started_s = _cpu_s(), time.perf_counter()
    value = function(*args)
    seconds, cpu_s = time.perf_counter() - started_s, _cpu_s() - cpu_before
    after = _kilobytes("VmHWM:")
    risen = before is not None and after is not None and after > before
    return Ran(value, seconds, cpu_s, after if known or risen else None)


def _cpu_s() -> float:
    """Return the processor time of this process and of the children that it waited for."""
    used = os.times()
    own = time.process_time()  # finer than the clock ticks of `os.times`
    return own + used.children_user + used.children_system


def _set_back() -> bool:
    """Set the high-water mark of this process to what it holds now, where the system can."""
    if not _RESET.exists():
        return False
    try:
        _RESET.write_text("5", encoding="ascii")
    except OSError:  # a kernel, or a container, that forbids it: the peak stays unknown
        return False
    return True


def _kilobytes(field: str) -> int | None:
    if not _STATUS.exists():
        return _life_peak() if field == "VmHWM:" else None
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return None


def _life_peak() -> int:
    """Return the largest memory of this process in its life, where there is no ``/proc``."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
