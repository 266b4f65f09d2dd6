"""A fitted estimator as an ONNX graph: what the child process of a conversion runs.

``python -m renewal.models.onnx_graph FOLDER`` reads ``request.json`` and ``artifact``
there and leaves either ``model.onnx`` or ``error.json``.
"""

from __future__ import annotations

import json
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxmltools
import onnxruntime
from onnx import ModelProto, TensorProto, helper
from onnxmltools.convert.common.data_types import FloatTensorType as BoosterTensorType
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

from renewal.core.errors import Invalid, RenewalError
from renewal.core.plugin import load_plugin
from renewal.core.spec import Field, Signature
from renewal.models.boosters_library import Boosted
from renewal.models.contract import Adapter
from renewal.models.onnx_mended import mended
from renewal.models.reachable import reachable

_WHO = "onnx_convert.convert"
# A converter's complaint may name every node of the graph.
_LONGEST_REASON = 300
_DOUBLE, _FLOAT = TensorProto.DOUBLE, TensorProto.FLOAT
_NUMBERS: dict[int, Any] = {_DOUBLE: DoubleTensorType, _FLOAT: FloatTensorType}
# What the one input of a model of numbers alone is called, and where its columns are named:
# a row that enters as one matrix is 20 times as fast as one of 30 tensors.
MATRIX = "renewal_matrix"
COLUMNS = "renewal_columns"
_BOOSTERS: dict[str, Callable[..., Any]] = {
    "lightgbm": onnxmltools.convert_lightgbm,
    "xgboost": onnxmltools.convert_xgboost,
}


def onnx_graph(estimator: Any, signature: Signature) -> bytes:
    """Return `estimator` as ONNX with one output, the scores.

    A model without trees is kept in float64, where the runtime has the operators for it.
    Trees, and what has no float64 operator, take float32: their comparisons are made in it,
    and a row rounded as the threshold is stays on its side of it more often than one that
    is not (0.03% of rows of a boosted model moved, against 0.23%).

    Parameters
    ----------
    estimator : object
        Fitted, of scikit-learn, or what the adapters of LightGBM and XGBoost fit; of no
        further use: it is not copied.
    signature : Signature
        Kinds of the columns. Texts become string tensors; ints and booleans enter as the
        floats that gaps turn them into, so that a gap can be NaN in each of them.

    Returns
    -------
    bytes
        A serialized ``ModelProto``, whose session was once built. A model of numbers alone
        has the one input ``renewal_matrix`` of shape (n_rows, n_columns), and its metadata
        the names of the columns under ``renewal_columns``; another has an input a column, by
        its name, of shape (n_rows, 1). The output has the shape (n_rows, n_scores).

    Raises
    ------
    Invalid
        When the converter or the runtime does not take the estimator, with its reason; or
        when it is known to convert into something else than it is.

    Notes
    -----
    From 10 ms to minutes; call it where it can be stopped.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> model = onnx_graph(Ridge().fit([[0.0], [1.0]], [0.0, 2.0]), Signature((Field("a", "int"),)))
    >>> session = onnxruntime.InferenceSession(model)
    >>> [each.name for each in session.get_inputs()]
    ['renewal_matrix']
    >>> session.get_modelmeta().custom_metadata_map
    {'renewal_columns': '["a"]'}
    """
    _refuse_categories(estimator)
    reason = ""
    is_boosted = isinstance(estimator, Boosted)
    for width in (_FLOAT,) if is_boosted or _holds_trees(estimator) else (_DOUBLE, _FLOAT):
        try:
            if is_boosted:
                model = _boosted(estimator, signature)
            else:
                model = _converted(estimator, signature, width)
            if width == _DOUBLE and _has_trees(model):
                continue
            data: bytes = model.SerializeToString()
            onnxruntime.InferenceSession(data, _quiet(), providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  # a plug-in call: converters raise anything
            reason = f"{type(error).__name__}: {error}"
        else:
            return data
    raise _not_converted(estimator, reason)


def main(folder: Path) -> None:
    """Convert what `folder` holds and leave the graph there, or the error in words.

    Parameters
    ----------
    folder : Path
        Made by `renewal.models.onnx_convert.convert`, which reads the answer.
    """
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    # Whoever asked stops this process in time; where they died, the alarm does.
    signal.alarm(request["alarm_s"])
    try:
        model = onnx_graph(
            _loaded(request, (folder / "artifact").read_bytes()), _signature(request["fields"])
        )
    except RenewalError as error:
        told = {
            "kind": type(error).__name__,
            "who": error.who,
            "needs": error.needs,
            "came": error.came,
            "todo": error.todo,
            "fields": error.fields,
        }
        (folder / "error.json").write_text(json.dumps(told, default=str), encoding="utf-8")
    else:
        (folder / "model.onnx").write_bytes(model)


def _loaded(request: dict[str, Any], artifact: bytes) -> Any:
    adapter: Adapter = load_plugin("adapters", request["adapter"])()
    return adapter.load(artifact, tuple(request["trust"]))


def _signature(fields: list[list[Any]]) -> Signature:
    return Signature(tuple(Field(name, kind, nullable) for name, kind, nullable in fields))


def _converted(estimator: Any, signature: Signature, width: int) -> ModelProto:
    kinds = {field.name: field.kind for field in signature.fields}
    names = getattr(estimator, "feature_names_in_", None)
    order = list(signature.names if names is None else names)
    number = _NUMBERS[width]
    by_column = _reads_columns(estimator) or "string" in kinds.values()
    if by_column:
        types = [
            (name, (StringTensorType if kinds[name] == "string" else number)([None, 1]))
            for name in order
        ]
    else:
        types = [(MATRIX, number([None, len(order)]))]
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    with warnings.catch_warnings(), mended():
        # The converter writes booleans where protobuf wants ints, which protobuf 7 refuses.
        warnings.simplefilter("ignore", DeprecationWarning)
        converted: ModelProto = convert_sklearn(estimator, initial_types=types, options=options)
    if not by_column:
        _name_columns(converted, order)
    # Of label and probabilities, the second says both.
    del converted.graph.output[:-1]
    return converted


def _boosted(model: Boosted, signature: Signature) -> ModelProto:
    """Convert the trees of a boosting library; they read float32, whatever the library reads."""
    order = list(signature.names if model.columns is None else model.columns)
    types = [(MATRIX, BoosterTensorType([None, len(order)]))]
    # The converter of XGBoost knows no such option, and has none to switch off.
    options = {"zipmap": False} if model.library == "lightgbm" else {}
    converted: ModelProto = _BOOSTERS[model.library](model.booster, initial_types=types, **options)
    _name_columns(converted, order)
    del converted.graph.output[:-1]
    return converted


def _name_columns(model: ModelProto, names: list[str]) -> None:
    """Write into a graph of one matrix what its columns are."""
    helper.set_model_props(model, {COLUMNS: json.dumps(names)})


def _reads_columns(estimator: Any) -> bool:
    """Say whether the first step picks columns, and so must see them one by one."""
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[0][1]
    return hasattr(estimator, "transformers")


def _has_trees(model: ModelProto) -> bool:
    return any(node.op_type.startswith("TreeEnsemble") for node in model.graph.node)


def _holds_trees(estimator: Any) -> bool:
    # A float64 graph of them would be thrown away; and for the threshold of a split by gaps,
    # which is infinite, the converter would look without an end.
    return any(
        hasattr(part, "tree_") or hasattr(part, "_predictors") for part in reachable(estimator)
    )


def _refuse_categories(estimator: Any) -> None:
    # skl2onnx reads a split by categories as a split by number: half of the labels differ.
    if isinstance(estimator, Boosted):
        if any(texts is not None for texts in estimator.texts):
            raise _not_converted(estimator, "splits by category, which its graph would not")
        return
    for part in reachable(estimator):
        if np.any(getattr(part, "is_categorical_", None)):
            raise _not_converted(
                part, "splits by category, which the converter would read as splits by number"
            )


def _not_converted(estimator: Any, reason: str) -> Invalid:
    return Invalid(
        _WHO,
        needs="an estimator that the converter and ONNX Runtime take",
        came=f"{type(estimator).__name__}: {' '.join(reason.split())[:_LONGEST_REASON]}",
        todo="Serve and evaluate it in its native form.",
    )


def _quiet() -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return options


if __name__ == "__main__":
    main(Path(sys.argv[1]))
