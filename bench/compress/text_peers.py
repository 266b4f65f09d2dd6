"""What others make of the same text classifier: ONNX Runtime's own quantizer, NNCF and torchao.

All are handed the same graph (torchao: the same network) and the same training texts, keep the
tokenizer that stands before it, and are asked for what their guides recommend for transformers
on processors. One that is not installed says so.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import pyarrow as pa
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from renewal.compress.form import Form
from renewal.compress.onnx_sensitivity import feeds_of
from renewal.compress.processor import saturates


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What every peer is handed.

    Parameters
    ----------
    network, graph : Form
        The parent in torch, and as a graph.
    calibration : pyarrow.Table
        Training texts.
    """

    network: Form
    graph: Form
    calibration: pa.Table


Made = tuple[Form, int]
"""What a peer has made, as Renewal would serve it, and its bytes."""


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    def __init__(self, subject: Subject) -> None:
        self._feeds = iter(_feeds(subject))

    def get_next(self) -> dict[str, Any] | None:
        """Return the next few rows; None behind the last."""
        return next(self._feeds, None)


def ort_dynamic(subject: Subject) -> Made:
    """ONNX Runtime: weights ahead, activations as they come."""

    def quantized(source: Path, target: Path) -> None:
        quantize_dynamic(source, target, weight_type=QuantType.QInt8, reduce_range=saturates())

    return _through_files(subject, quantized)


def ort_static(subject: Subject) -> Made:
    """ONNX Runtime: pairs of QDQ by channel, ranges from minimum to maximum."""

    def quantized(source: Path, target: Path) -> None:
        quantize_static(
            source,
            target,
            _Feeds(subject),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=saturates(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )

    return _through_files(subject, quantized)


def nncf_ptq(subject: Subject) -> Made:
    """NNCF: post-training quantization, as for a transformer."""
    # It reports its use to a server unless it is told not to, before it is imported.
    os.environ["NNCF_CI"] = "1"
    with _silent():
        nncf: Any = importlib.import_module("nncf")
        feeds = _feeds(subject)
        made = nncf.quantize(
            onnx.load_model_from_string(subject.graph.estimator.graph),
            nncf.Dataset(feeds),
            subset_size=len(feeds),
            model_type=nncf.ModelType.TRANSFORMER,
        )
    return _with_graph(subject, made.SerializeToString())


def torchao_weights(subject: Subject) -> Made:
    """Torchao: linear layers with int8 weights, in torch."""
    return _torchao(subject, "Int8WeightOnlyConfig")


def torchao_dynamic(subject: Subject) -> Made:
    """Torchao: linear layers with int8 weights and activations as they come, in torch."""
    return _torchao(subject, "Int8DynamicActivationInt8WeightConfig")


PEERS: dict[str, tuple[str, Callable[[Subject], Made]]] = {
    "onnxruntime dynamic": ("onnxruntime", ort_dynamic),
    "onnxruntime static": ("onnxruntime", ort_static),
    "NNCF": ("nncf", nncf_ptq),
    "torchao weights": ("torchao", torchao_weights),
    "torchao dynamic": ("torchao", torchao_dynamic),
}
"""By name: the package, and what it does."""


def _through_files(subject: Subject, quantized: Callable[[Path, Path], None]) -> Made:
    with TemporaryDirectory() as folder, _silent():
        source, ready, target = (Path(folder) / each for each in ("a.onnx", "b.onnx", "c.onnx"))
        source.write_bytes(subject.graph.estimator.graph)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantized(ready, target)
        return _with_graph(subject, target.read_bytes())


def _with_graph(subject: Subject, graph: bytes) -> Made:
    """Return another graph behind the same tokenizer; its bytes are counted as ours are."""
    form = replace(subject.graph, estimator=replace(subject.graph.estimator, graph=graph))
    return form, len(form.runs.dump(form.estimator))


def _torchao(subject: Subject, config: str) -> Made:
    model = subject.network.estimator
    with _silent():
        torchao: Any = importlib.import_module("torchao.quantization")
        module = copy.deepcopy(model.fitted.module).eval()
        torchao.quantize_(module, getattr(torchao, config)())
        out = io.BytesIO()
        torch.save(module.state_dict(), out)
    made = replace(model, fitted=replace(model.fitted, module=module))
    # Its tokenizer is not counted.
    return replace(subject.network, estimator=made), len(out.getvalue())


def _feeds(subject: Subject) -> list[dict[str, Any]]:
    return [dict(feed) for feed, _ in feeds_of(subject.graph.estimator, subject.calibration)]


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
