"""A fitted network as an ONNX graph, which is served without torch and without its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.core.spec import Signature
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_front import Front
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_parts import Codes, ImageColumn, Numbers, Part, TensorColumn
from renewal.models.pillow_images import written
from renewal.models.torch import TorchAdapter
from renewal.models.torch_build import copied
from renewal.models.torch_graph import OUTPUT, SIZES, Example, demand_equal, graph_of
from renewal.models.torch_inputs import Inputs, finished, tensors_of
from renewal.models.torch_model import Fitted, TorchModel, demand_fitted

_WHO = "torch_onnx.export"
# Rows from which the graph is made: neither 0 nor 1, which exporters take for constants.
_ROWS = 3


def export(
    estimator: TorchModel, signature: Signature, *, rows: pa.Table | None = None
) -> OnnxModel:
    """Return a fitted network as a graph that gives the same scores.

    It is made from the network in memory, whatever built it, so one with fewer channels or
    factorized layers is exported as it is. Images are standardized, and a regression brought
    to the units of its labels, in the graph; what numbers and texts need stands in the front.
    An addition (LoRA) is added to the weights first. `estimator` stays as it is.

    Parameters
    ----------
    estimator : TorchModel
        Fitted.
    signature : Signature
        The columns that will be sent; those of the fit among them.
    rows : pyarrow.Table or None
        A few rows on which network and graph are compared; None: random ones.

    Returns
    -------
    OnnxModel
        With a free number of rows; its scores are logits of the classes, or values.

    Raises
    ------
    Invalid
        On a network that reads its columns with a function of its own, one that no exporter
        can write, or when **the export is not equal**: a score differs by more than 1e-4 on
        1, 2 or 7 rows.

    Examples
    --------
    >>> from renewal.core.spec import Field
    >>> from renewal.models.layers import Tuning
    >>> rows = pa.table({"hour": [6.0, 7.0, 20.0, 21.0]})
    >>> labels = np.array(["in time", "in time", "late", "late"], dtype=object)
    >>> recipe = TorchModel(nn.Linear, {"in_features": 1, "out_features": 2}, Tuning(epochs=3))
    >>> fitted = TorchAdapter().fit(recipe, rows, labels, seed=0)
    >>> model = export(fitted, Signature((Field("hour", "float64"),)))
    >>> model.classes, OnnxAdapter().predict(model, rows).shape
    (('in time', 'late'), (4, 2))
    """
    fitted = demand_fitted(estimator, who=_WHO)
    front = _front(fitted.inputs)
    _demand_readable(estimator, front, signature)
    module = _Served(_bare(estimator, fitted), fitted).cpu().eval()
    tables = [rows] if rows is not None and rows.num_rows else list(_drawn(fitted.inputs))
    checked = _taken(estimator, tables)
    tensors = tensors_of(fitted.inputs, _repeated(checked, _ROWS), who=_WHO)
    names = [each.input for each in front.parts]  # type: ignore[attr-defined]  # all but tokens have one
    examples = [Example(name, each, {0: "rows"}) for name, each in zip(names, tensors, strict=True)]

    def made(graph: bytes) -> OnnxModel:
        is_logits = bool(fitted.classes)
        return OnnxModel(graph, fitted.classes, OUTPUT, is_logits, front=front.to_json())

    def demand(graph: bytes) -> None:
        for size in SIZES:
            some = _repeated(checked, size)
            expected = TorchAdapter().predict(estimator, some)
            found = OnnxAdapter().predict(made(graph), some)
            if not fitted.classes:
                mean, spread = fitted.target
                expected, found = (expected - mean) / spread, (found - mean) / spread
            demand_equal(expected, found, who=_WHO)

    return made(graph_of(module, examples, demand=demand, who=_WHO))


class _Served(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """A network with what surrounds it at serving: pixels as bytes in, scores out."""

    def __init__(self, module: nn.Module, fitted: Fitted) -> None:
        super().__init__()
        self.module = module
        self.inputs, self.target, self.classes = fitted.inputs, fitted.target, fitted.classes

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return logits, or values in the units of the labels."""
        outputs = self.module(*finished(self.inputs, tensors))
        outputs = getattr(outputs, "logits", outputs)
        if outputs.ndim == 1:
            outputs = outputs[:, None]
        if self.classes:
            return cast("Tensor", outputs if outputs.dtype == torch.float64 else outputs.float())
        mean, spread = self.target
        return cast("Tensor", outputs.double() * spread + mean)


def _bare(estimator: TorchModel, fitted: Fitted) -> nn.Module:
    """Return a copy of the network, an addition added to its weights."""
    if fitted.lora is None:
        return copied(estimator, fitted)
    return cast("nn.Module", load_plugin("additions", "lora")().melted(fitted.module))


def _demand_readable(estimator: TorchModel, front: Front, signature: Signature) -> None:
    if estimator.reading.prepare is not None:
        raise Invalid(
            _WHO,
            needs="columns that a graph can be fed without code",
            came=f"the function {estimator.reading.prepare}, which makes tensors of them: a "
            "graph cannot hold it, and a server without torch could not run it",
            todo="Move its work into the network, or keep the network in its own format.",
        )
    missing = [name for name in front.reads if name not in signature.names]
    if missing:
        raise Invalid(
            _WHO,
            needs=f"a signature with the columns of the fit: {', '.join(front.reads)}",
            came=f"one without {', '.join(missing)}",
            todo="Hand in the signature of the version.",
            columns=missing,
        )


def _front(inputs: Inputs) -> Front:
    """Return the parts in the order in which a network is handed its tensors."""
    is_one_hot = inputs.reading.texts == "one_hot"
    numbers = Numbers(
        "numbers",
        tuple((name, mean, spread) for name, (mean, spread) in inputs.numbers.items()),
        tuple(inputs.texts.items()) if is_one_hot else (),
    )
    parts: list[Part] = []
    if numbers.columns or any(words for _, words in numbers.one_hot):
        parts.append(numbers)
    if inputs.texts and not is_one_hot:
        parts.append(Codes("codes", tuple(inputs.texts.items())))
    parts += [
        TensorColumn(f"tensor_{at}", name, shape)
        for at, (name, shape) in enumerate(inputs.tensors.items())
    ]
    parts += [
        ImageColumn(f"image_{at}", name, cast("tuple[int, int, int]", shape), inputs.reading.images)
        for at, (name, (shape, _, _)) in enumerate(inputs.images.items())
    ]
    return Front(tuple(parts))


def _taken(estimator: TorchModel, tables: list[pa.Table]) -> pa.Table:
    """Return the first table that the network takes."""
    failure: Invalid | None = None
    for table in tables:
        try:
            TorchAdapter().predict(estimator, table)
        except Invalid as error:
            failure = error
        else:
            return table
    raise Invalid(
        _WHO,
        needs="rows that the network takes, to compare network and graph",
        came=f"none of those at hand is taken: {failure}".rstrip("."),
        todo="Hand in a few rows of its training: export(..., rows=rows).",
    ) from failure


def _repeated(rows: pa.Table, n_rows: int) -> pa.Table:
    return rows.take(np.arange(n_rows) % rows.num_rows)


def _drawn(inputs: Inputs) -> Iterator[pa.Table]:
    """Yield random rows: tensors of any numbers, and then of 0 and 1, as codes are."""
    draws: tuple[Callable[[np.random.Generator, tuple[int, ...]], Any], ...] = (
        lambda rng, shape: rng.standard_normal(shape, np.float32),
        lambda rng, shape: rng.integers(0, 2, shape).astype(np.float32),
    )
    for draw in draws[: 2 if inputs.tensors else 1]:
        rng, n_rows = np.random.default_rng(0), max(SIZES)
        columns: dict[str, Any] = {}
        for name, (mean, spread) in inputs.numbers.items():
            values = mean + spread * rng.standard_normal(n_rows)
            columns[name] = pa.array(values, mask=np.arange(n_rows) == 1)
        for name, words in inputs.texts.items():
            known = pa.array([*words, "", None], pa.string())
            columns[name] = known.take(rng.integers(0, len(known), n_rows))
        for name, shape in inputs.tensors.items():
            whole = draw(rng, (n_rows, *shape))
            columns[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(whole)
        for name, (shape, _, _) in inputs.images.items():
            pixels = rng.integers(0, 256, (n_rows, *shape)).astype(np.uint8)
            columns[name] = pa.array(written(pixels), pa.binary())
        yield pa.table(columns)
