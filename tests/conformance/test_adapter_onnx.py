"""Graphs that came from elsewhere x every check of the conformance suite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_front import Front
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_parts import Numbers
from renewal.testing.adapters import ADAPTER_CHECKS, AdapterCase, run_adapter_check

N_ROWS = 120
_RNG = np.random.default_rng(20131)
_DELAY = _RNG.normal(size=N_ROWS)
_STOPS = _RNG.integers(0, 3, N_ROWS).astype(float)
_AIRPORT = _RNG.choice(["EWR", "JFK", "LGA"], N_ROWS)
_SIGNAL = _DELAY + 0.5 * _STOPS + 0.2 * _RNG.normal(size=N_ROWS)
NUMBERS = pa.table({"delay": _DELAY, "stops": _STOPS})
MIXED = NUMBERS.append_column("airport", pa.array(_AIRPORT))
_FRAME = MIXED.to_pandas()


def _objects(values: Any) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    return np.array(np.asarray(values).tolist(), dtype=object)


LATE = _objects((_SIGNAL > 0.5).astype(int))
SAID = _objects(_SIGNAL > 0.5)
WORDS = _objects(np.select([_SIGNAL < 0, _SIGNAL > 1], ["early", "late"], "on time"))
MINUTES = 10.0 * _SIGNAL
_MATRIX = np.column_stack([_DELAY, _STOPS]).astype(np.float32)
_SIDE_BY_SIDE = [("rows", FloatTensorType([None, 2]))]


def _by_column() -> OnnxModel:
    """Return a pipeline with one input a column, of which one is texts, and a ZipMap."""
    columns = ColumnTransformer(
        [
            ("airport", OneHotEncoder(sparse_output=False), ["airport"]),
            ("numbers", StandardScaler(), ["delay", "stops"]),
        ]
    )
    fitted = make_pipeline(columns, LogisticRegression()).fit(_FRAME, np.array(WORDS.tolist()))
    inputs = [
        ("delay", FloatTensorType([None, 1])),
        ("stops", FloatTensorType([None, 1])),
        ("airport", StringTensorType([None, 1])),
    ]
    return OnnxModel.read(to_onnx(fitted, initial_types=inputs, target_opset=17))


def _without_maps() -> OnnxModel:
    fitted = LogisticRegression().fit(_MATRIX, LATE.astype(int))
    options = {id(fitted): {"zipmap": False}}
    graph = to_onnx(fitted, initial_types=_SIDE_BY_SIDE, options=options, target_opset=17)
    return OnnxModel.read(graph.SerializeToString())


def _one_logit() -> OnnxModel:
    """Return what a network with one output for two classes is exported as."""
    fitted = LogisticRegression().fit(_MATRIX, SAID.astype(bool))
    weights = numpy_helper.from_array(fitted.coef_.T.astype(np.float32), "w")
    bias = numpy_helper.from_array(fitted.intercept_.astype(np.float32), "b")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["logit"])],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, [None, 1])],
        [weights, bias],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return OnnxModel.read(proto, classes=(False, True), is_logits=True)


def _with_a_front() -> OnnxModel:
    """Return what a network with standardized numbers and known texts is exported as."""
    numbers = (("delay", 0.1, 2.0), ("stops", 1.0, 0.5))
    front = Front((Numbers("x", numbers, (("airport", ("EWR", "LGA")),)),))
    slopes = np.array([[0.0, 4.0], [0.0, 1.0], [0.0, 0.1], [-0.1, 0.0]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 2])],
        [numpy_helper.from_array(slopes, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return OnnxModel.read(proto, classes=(0, 1), is_logits=True, front=front.to_json())


def _turned() -> OnnxModel:
    """Return a graph whose columns of classes are not in order."""
    model = _without_maps()
    return OnnxModel.read(model.graph, classes=("late", "in time"))


def _values() -> OnnxModel:
    fitted = RandomForestRegressor(5, max_depth=5, random_state=0).fit(_MATRIX, MINUTES)
    return OnnxModel.read(to_onnx(fitted, initial_types=_SIDE_BY_SIDE, target_opset=17))


def _case(name: str, model: OnnxModel, rows: pa.Table, labels: Any) -> AdapterCase:
    return AdapterCase(name, OnnxAdapter(), model, rows, labels, tolerance=1e-5)


CASES = [
    _case("by_column", _by_column(), MIXED, WORDS),
    _case("side_by_side", _without_maps(), NUMBERS, LATE),
    _case("one_logit", _one_logit(), NUMBERS, SAID),
    _case("turned", _turned(), NUMBERS, _objects(np.where(LATE == 1, "in time", "late"))),
    _case("with_a_front", _with_a_front(), MIXED, LATE),
    _case("values", _values(), NUMBERS, MINUTES),
]
EXPECTED_FAILURES: dict[tuple[str, str], str] = {}


@pytest.mark.parametrize("check", ADAPTER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_adapter(case: AdapterCase, check: str) -> None:
    """Broken by a graph of which less is kept than the contract promises."""
    run_adapter_check(check, case, expected_failures=EXPECTED_FAILURES)
