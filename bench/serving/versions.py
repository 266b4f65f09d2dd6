"""What was measured: releases of what takes part, the machine, and which core does what."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.serving.cores import told

_PACKAGES = ("renewal", "uvicorn", "uvloop", "httptools", "msgspec", "numpy", "onnxruntime")


def release(package: str) -> str:
    """Return the release of a package; ``absent`` where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def tell_machine() -> None:
    """Print all of it, and how busy the machine is besides."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    print(f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores; {told()}")
    print(f"python {platform.python_version()}, {', '.join(_versions())}")
    print(f"load of the machine before: {os.getloadavg()[0]:.2f} (should be near 0)")


def _versions() -> list[str]:
    return [f"{each} {release(each)}" for each in _PACKAGES]
