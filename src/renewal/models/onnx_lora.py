"""LoRA additions for graphs: a few matrices that a session takes in at each run.

A graph for additions has their matrices as initializers that are inputs as well, so that a run
may bring others; without one, B is zero and the base answers. One session serves a base and
all that was added to it.

References
----------
.. [1] Hu et al. (2022). LoRA: low-rank adaptation of large language models. ICLR.
   https://arxiv.org/abs/2106.09685
.. [2] https://onnxruntime.ai/docs/api/python/api_summary.html (LoraAdapter)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from renewal.core.errors import Invalid
from renewal.models.task import Classes
from renewal.store.digest import is_digest

MAGIC = b"renewal.onnx_lora.1\n"
_WHO = "lora_model"
_FILE = "addition.onnx_adapter"
_NAMED = 5
_UNREADABLE = (Fail, InvalidArgument, RuntimeError, RuntimeException)


@dataclass(frozen=True, slots=True)
class Addition:
    """What is added to a base, as it is stored.

    Parameters
    ----------
    base : str
        Digest of the base's bytes.
    classes : tuple
        What the columns of the scores mean, in the graph's own order.
    data : bytes
        The matrices, as `onnxruntime.AdapterFormat` writes them.
    """

    base: str
    classes: Classes
    data: bytes

    def to_bytes(self) -> bytes:
        """Return it as bytes: a line of JSON, and the matrices."""
        head = {"base": self.base, "classes": list(self.classes), "n_bytes": len(self.data)}
        return MAGIC + json.dumps(head).encode() + b"\n" + self.data

    @staticmethod
    def from_bytes(data: bytes) -> Addition:
        """Return the addition in `data`: names and numbers alone.

        Raises
        ------
        Invalid
            On bytes of another format, or damaged ones.
        """
        line, _, matrices = data.removeprefix(MAGIC).partition(b"\n")
        try:
            head = json.loads(line)
            found = Addition(head["base"], tuple(head["classes"]), matrices)
            is_whole = is_digest(found.base) and head["n_bytes"] == len(matrices)
        except (LookupError, RecursionError, TypeError, ValueError) as error:
            raise _unreadable(f"{type(error).__name__}: {error}") from error
        if not data.startswith(MAGIC) or not is_whole:
            raise _unreadable(f"{len(data):,} bytes of another format, or half of one")
        return found

    @staticmethod
    def of(base: str, classes: Classes, weights: Mapping[str, NDArray[Any]]) -> Addition:
        """Return the addition of some matrices to the base of a digest."""
        made = onnxruntime.AdapterFormat()
        made.set_adapter_version(1)
        made.set_model_version(1)
        made.set_parameters(
            {
                name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(weights[name]))
                for name in sorted(weights)
            }
        )
        with TemporaryDirectory(prefix="renewal-lora-") as folder:
            path = Path(folder) / _FILE
            made.export_adapter(str(path))
            return Addition(base, classes, path.read_bytes())

    def weights(self) -> dict[str, NDArray[Any]]:
        """Return the matrices by name, copied."""
        with TemporaryDirectory(prefix="renewal-lora-") as folder:
            path = Path(folder) / _FILE
            path.write_bytes(self.data)
            try:
                made = onnxruntime.AdapterFormat.read_adapter(str(path))
            except _UNREADABLE as error:
                raise _unreadable(f"{type(error).__name__}: {error}") from error
            return {name: each.numpy().copy() for name, each in made.get_parameters().items()}


class Added:
    """An addition that runs of one session take in.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Of the base.
    addition : Addition
        Made for it.

    Attributes
    ----------
    options : onnxruntime.RunOptions
        Of each run; any number of them at a time.

    Raises
    ------
    Invalid
        On matrices that the graph has no place for, or of another shape or type, and on bytes
        that ONNX Runtime does not read. No request ever finds that out.
    """

    def __init__(self, session: Any, addition: Addition) -> None:
        # Referred to by the options, which do not keep it alive.
        self._adapter = onnxruntime.LoraAdapter()
        self.options = onnxruntime.RunOptions()
        with TemporaryDirectory(prefix="renewal-lora-") as folder:
            path = Path(folder) / _FILE
            path.write_bytes(addition.data)
            try:
                _demand_places(session, onnxruntime.AdapterFormat.read_adapter(str(path)))
                # Mapped: the file is gone from its folder, and there as long as this is.
                self._adapter.Load(str(path))
            except _UNREADABLE as error:
                raise _unreadable(f"{type(error).__name__}: {error}") from error
        self.options.add_active_adapter(self._adapter)


def demand_fitting(session: Any, weights: Mapping[str, NDArray[Any]]) -> None:
    """Raise `Invalid` unless a graph has a place for each of some matrices.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Of the base.
    weights : mapping of str to ndarray
        By the name of the initializer.
    """
    values = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(each))
        for name, each in weights.items()
    }
    _demand_values(session, values)


def _demand_places(session: Any, made: Any) -> None:
    _demand_values(session, made.get_parameters())


def _demand_values(session: Any, values: Mapping[str, Any]) -> None:
    places = {
        each.name: (each.type, list(each.shape)) for each in session.get_overridable_initializers()
    }
    came = {name: (each.data_type(), list(each.shape())) for name, each in values.items()}
    wrong = [
        f"{name}: {kind} {shape}"
        for name, (kind, shape) in sorted(came.items())
        if places.get(name) != (kind, shape)
    ]
    if wrong or not came:
        able = [f"{name}: {kind} {shape}" for name, (kind, shape) in sorted(places.items())]
        raise Invalid(
            _WHO,
            needs="one or more matrices for initializers of the base that are inputs as well: "
            f"{', '.join(able[:_NAMED]) or 'it has none'}",
            came=", ".join(wrong[:_NAMED]) or "none",
            todo="Hand in matrices of these names, shapes and types.",
            names=wrong,
        )


def _unreadable(came: str) -> Invalid:
    return Invalid(
        _WHO,
        needs="a whole addition that Renewal wrote",
        came=came,
        todo="Make it again: lora_model(base, {...}).",
    )
