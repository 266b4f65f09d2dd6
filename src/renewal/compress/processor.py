"""What the processor of this machine does well: it decides how bytes are best written."""

from __future__ import annotations

import platform
from pathlib import Path

_FLAGS = ("avx512_vnni", "avx_vnni", "avxvnni", "amx_int8")


def on_x86() -> bool:
    """Return whether this is an x86 processor, whose kernels want uint8 activations."""
    return platform.machine().lower() in {"x86_64", "amd64", "x86", "i686"}


def saturates(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Return whether sums of bytes can saturate on this processor.

    On x86 without VNNI, products of uint8 and int8 are added in pairs in 16 bits and clipped;
    weights of 7 bits keep them below. Where the processor cannot be asked, the answer is the
    careful one.
    """
    if not on_x86():
        return False
    try:
        text = cpuinfo.read_text()
    except OSError:
        return True
    flags = {
        flag for line in text.splitlines() if line.startswith("flags") for flag in line.split()
    }
    return flags.isdisjoint(_FLAGS)
