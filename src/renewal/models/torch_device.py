"""Where networks compute: on the GPU when there is one."""

from __future__ import annotations

import os

import torch

from renewal.core.errors import Invalid


def device_here() -> torch.device:
    """Return the device of this process: ``RENEWAL_DEVICE``, else the GPU, else the CPU.

    Raises
    ------
    Invalid
        When the variable names a device that is not here.
    """
    wanted = os.environ.get("RENEWAL_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(wanted)
        is_here = found.type == "cpu" or (found.type == "cuda" and torch.cuda.is_available())
    except RuntimeError:
        is_here = False
    if not is_here:
        raise Invalid(
            "RENEWAL_DEVICE",
            needs="cpu, or cuda or cuda:N where there is such a GPU",
            came=repr(wanted),
            todo="Correct or remove the variable.",
        )
    return found
