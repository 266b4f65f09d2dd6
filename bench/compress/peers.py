"""What others make of the same network: ONNX Runtime's own quantizer, NNCF and torchao.

Each is handed the same network and the same calibration rows, is asked for what its guide
recommends for processors, and runs in its own runtime. One that is not installed says so.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from bench.compress.beside import Pixels, Run
from renewal.compress.processor import saturates

HINT = "pip install 'renewal[peers]'"
_AT_ONCE = 32


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What every peer is handed.

    Parameters
    ----------
    graph : bytes
        The parent as ONNX: pixels in, scores out.
    module : torch.nn.Module
        The parent in torch: pixels in, scores out.
    calibration : uint8 array of (n, 3, height, width)
        Training rows.
    validation, labels : arrays
        Rows on which a peer may measure its own accuracy.
    """

    graph: bytes
    module: nn.Module
    calibration: Pixels
    validation: Pixels
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a peer has made.

    Parameters
    ----------
    n_bytes : int
        Of its file.
    run : callable
        Pixels to scores, in its own runtime.
    """

    n_bytes: int
    run: Run


Peer = Callable[[Subject], Made]


def session_of(graph: bytes) -> Run:
    """Return a graph as a function that runs on one thread of ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(pixels: Pixels) -> NDArray[Any]:
        found: NDArray[Any] = session.run(None, {name: pixels})[0]
        return found

    return run


def input_of(graph: bytes) -> str:
    """Return the name of the only input of a graph."""
    return str(onnx.load_model_from_string(graph).graph.input[0].name)


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    def __init__(self, subject: Subject) -> None:
        self._feeds: Iterator[dict[str, Pixels]] = iter(_batches(subject))

    def get_next(self) -> dict[str, Pixels] | None:
        """Return the next few rows; None behind the last."""
        return next(self._feeds, None)


def ort_static(subject: Subject) -> Made:
    """ONNX Runtime: pre-processed, QDQ, by channel, uint8 and int8, ranges from minimum to maximum."""  # noqa: E501  # what it is
    with TemporaryDirectory() as folder, _silent():
        source, ready, target = (Path(folder) / each for each in ("a.onnx", "b.onnx", "c.onnx"))
        source.write_bytes(subject.graph)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            target,
            _Feeds(subject),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=saturates(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        graph = target.read_bytes()
    return Made(len(graph), session_of(graph))


def ort_dynamic(subject: Subject) -> Made:
    """ONNX Runtime: weights ahead, activations as they come."""  # what it is
    with TemporaryDirectory() as folder, _silent():
        source, ready, target = (Path(folder) / each for each in ("a.onnx", "b.onnx", "c.onnx"))
        source.write_bytes(subject.graph)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_dynamic(ready, target, weight_type=QuantType.QInt8, reduce_range=saturates())
        graph = target.read_bytes()
    return Made(len(graph), session_of(graph))


def nncf_ptq(subject: Subject) -> Made:
    """NNCF: post-training quantization of the graph."""
    nncf = _nncf()
    with _silent():
        made = nncf.quantize(
            onnx.load_model_from_string(subject.graph),
            nncf.Dataset(_batches(subject)),
            subset_size=len(_batches(subject)),
        )
    graph = made.SerializeToString()
    return Made(len(graph), session_of(graph))


def nncf_control(subject: Subject) -> Made:
    """NNCF: the same, layers going back to float32 until the accuracy falls by 1 point at most."""
    nncf = _nncf()

    def accuracy(model: Any, rows: Any) -> tuple[float, None]:
        proto = model if isinstance(model, onnx.ModelProto) else model.model
        run = session_of(proto.SerializeToString())
        right = [run(pixels).argmax(axis=1) == labels for pixels, labels in rows]
        return float(np.concatenate(right).mean()), None

    name = input_of(subject.graph)
    pairs = [
        (subject.validation[at : at + _AT_ONCE], subject.labels[at : at + _AT_ONCE])
        for at in range(0, len(subject.labels), _AT_ONCE)
    ]
    with _silent():
        made = nncf.quantize_with_accuracy_control(
            onnx.load_model_from_string(subject.graph),
            calibration_dataset=nncf.Dataset(_batches(subject)),
            validation_dataset=nncf.Dataset(pairs, lambda each: {name: each[0]}),
            validation_fn=accuracy,
            max_drop=0.01,
            subset_size=len(_batches(subject)),
        )
    graph = made.SerializeToString()
    return Made(len(graph), session_of(graph))


def torchao_weights(subject: Subject) -> Made:
    """Torchao: linear layers with int8 weights, in torch."""
    return _torchao(subject, "Int8WeightOnlyConfig")


def torchao_dynamic(subject: Subject) -> Made:
    """Torchao: linear layers with int8 weights and activations as they come, in torch."""
    return _torchao(subject, "Int8DynamicActivationInt8WeightConfig")


def torchao_compiled(subject: Subject) -> Made:
    """Torchao: the same, compiled by torch, which takes a compiler of C++."""
    made = _torchao(subject, "Int8DynamicActivationInt8WeightConfig", is_compiled=True)
    with _silent():
        for size in (1, 2, 64):
            made.run(np.repeat(subject.calibration[:1], size, axis=0))
    return made


PEERS: dict[str, tuple[str, Peer]] = {
    "onnxruntime static": ("onnxruntime", ort_static),
    "onnxruntime dynamic": ("onnxruntime", ort_dynamic),
    "NNCF": ("nncf", nncf_ptq),
    "NNCF accuracy control": ("nncf", nncf_control),
    "torchao weights": ("torchao", torchao_weights),
    "torchao dynamic": ("torchao", torchao_dynamic),
    "torchao compiled": ("torchao", torchao_compiled),
}
"""By name: the package, and what it does."""


def is_installed(package: str) -> bool:
    """Return whether a package is here, without importing it."""
    return importlib.util.find_spec(package) is not None


def torch_run(module: nn.Module) -> Run:
    """Return a network of torch as a function of pixels."""

    def run(pixels: Pixels) -> NDArray[Any]:
        with torch.inference_mode():
            found: NDArray[Any] = module(torch.from_numpy(pixels)).numpy()
        return found

    return run


def _torchao(subject: Subject, config: str, *, is_compiled: bool = False) -> Made:
    with _silent():
        torchao: Any = importlib.import_module("torchao.quantization")
        module = copy.deepcopy(subject.module).eval()
        torchao.quantize_(module, getattr(torchao, config)())
        out = io.BytesIO()
        torch.save(module.state_dict(), out)
        ready = torch.compile(module) if is_compiled else module
    return Made(len(out.getvalue()), torch_run(ready))


def _nncf() -> Any:
    # It reports its use to a server unless it is told not to, before it is imported.
    os.environ["NNCF_CI"] = "1"
    with _silent():
        return importlib.import_module("nncf")


def _batches(subject: Subject) -> list[dict[str, Pixels]]:
    name, rows = input_of(subject.graph), subject.calibration
    return [{name: rows[at : at + _AT_ONCE]} for at in range(0, len(rows), _AT_ONCE)]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what strangers print and warn of away from the tables."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
