"""The whole state of a training, so that a killed one goes on bit for bit."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from renewal.core.errors import Invalid
from renewal.models.torch_tensors import tensors_from_bytes, write_tensors
from renewal.store.digest import digest

_FILE = "training.safetensors"
_WHO = "the checkpoint of a training"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training as it stood after a step.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        Weights, optimizer, best weights and random states, by names with a prefix.
    said : mapping
        JSON values: the step, what was best, digests of rows, code and base.
    """

    tensors: Mapping[str, Tensor]
    said: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with ``prefix/``, without it."""
        start = f"{prefix}/"
        return {
            name.removeprefix(start): each
            for name, each in self.tensors.items()
            if name.startswith(start)
        }


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint over the one before it, whole or not at all.

    Raises
    ------
    Unavailable
        When the disk is full; the checkpoint before it stays whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / _FILE, checkpoint.tensors, checkpoint.said, who=_WHO)


def find_checkpoint(folder: Path, run: Mapping[str, str]) -> Checkpoint | None:
    """Return the checkpoint of a run, or None where there is none of it.

    Parameters
    ----------
    folder : Path
        The scratch folder.
    run : mapping of str to str
        Digests that say which run it is; one of another run is left alone and said in the log.
    """
    try:
        data = (folder / _FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        tensors, said = tensors_from_bytes(data, who=_WHO)
    except Invalid:
        _log.warning("a checkpoint that cannot be read; the training starts over")
        return None
    others = [name for name, value in run.items() if said.get("run", {}).get(name) != value]
    if others:
        _log.info("a checkpoint of other %s; the training starts over", " and ".join(others))
        return None
    return Checkpoint(tensors, said)


def digest_of(tensors: Iterator[tuple[str, Tensor]]) -> str:
    """Return one digest of named tensors: of their types, shapes and bytes."""
    said = []
    for name, each in tensors:
        flat = each.detach().to("cpu").contiguous().reshape(-1)
        found = digest(memoryview(flat.view(torch.uint8).numpy()))
        said.append([name, str(each.dtype), list(each.shape), found])
    return digest(json.dumps(said).encode())


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw everything random inside the block from `seed`; afterwards all is as it was.

    Python's, NumPy's and torch's generators belong to the whole process: two trainings in
    two threads would draw from each other's.
    """
    before, said = random_state(device)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the generator that modules of others draw from
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    try:
        yield
    finally:
        set_random_state(before, said, device)


def random_state(device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the states of every generator, as tensors and JSON values."""
    _, keys, *numpy_rest = np.random.get_state()  # noqa: NPY002  # as in seeded
    version, inner, gauss = random.getstate()
    tensors = {
        "torch": torch.default_generator.get_state(),
        "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
        "python": torch.tensor(inner, dtype=torch.int64),
    }
    if device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(device)
    said = {"python": [version, gauss], "numpy": [int(numpy_rest[0]), int(numpy_rest[1])]}
    said["numpy"].append(float(numpy_rest[2]))
    return tensors, said


def set_random_state(
    tensors: Mapping[str, Tensor], said: Mapping[str, Any], device: torch.device
) -> None:
    """Put the generators back into the states that `random_state` returned.

    What was noted without a GPU leaves the generator of a GPU as it is.
    """
    torch.default_generator.set_state(tensors["torch"])
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, *said["numpy"]))  # noqa: NPY002  # as in seeded
    version, gauss = said["python"]
    random.setstate((version, tuple(tensors["python"].tolist()), gauss))
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
