"""Where networks compute: on the GPU when there is one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from renewal.core.errors import Invalid


def device_here() -> torch.device:
    """Return the device of this process: ``RENEWAL_DEVICE``, else the GPU, else the CPU.

    On a GPU convolutions are told, for the whole process, to compute in single precision, as
    matrix products do by themselves: the ten bits that they would keep else move a score by
    a thousandth, so that no other device and no compiled form would give equal ones.

    Raises
    ------
    Invalid
        When the variable names a device that is not here.
    """
    wanted = os.environ.get("RENEWAL_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(wanted)
        is_here = found.type == "cpu" or (found.type == "cuda" and _is_gpu(found))
    except RuntimeError:
        is_here = False
    if not is_here:
        raise Invalid(
            "RENEWAL_DEVICE",
            needs="cpu, or cuda or cuda:N where there is such a GPU",
            came=repr(wanted),
            todo="Correct or remove the variable.",
        )
    if found.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return found


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Have a GPU add up in one order inside the block, so that a training can be repeated.

    Convolutions and embeddings else add up in the order in which their threads come. What torch
    has no such kernel for, such as attention over thousands of tokens, runs as it is and may
    differ by its last bits. The choice is the process's: other networks that are trained at the
    same time follow it, too.

    Parameters
    ----------
    device : torch.device
        On the CPU nothing is to be done.
    """
    if device.type != "cuda":
        yield
        return
    was_on = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*determinis")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # nobody here reads it
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was_on, warn_only=warned)
            torch.utils.deterministic.fill_uninitialized_memory = filled


def _is_gpu(device: torch.device) -> bool:
    n_gpus: int = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return (device.index or 0) < n_gpus
