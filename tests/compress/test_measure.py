"""The size of forms against numbers that were counted by hand."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import onnx
import pytest
import torch
import xgboost
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from renewal.compress import lightgbm_size, onnx_size, sklearn_size, torch_size, xgboost_size
from renewal.compress.counting import Count, depth_of
from renewal.compress.form import Form
from renewal.compress.measure import size_of
from renewal.compress.size import Size
from renewal.core.spec import Signature
from renewal.models.onnx_model import OnnxModel

STEP = np.array([[0.0], [1.0], [2.0], [3.0]])
RISE = np.array([0.0, 0.0, 8.0, 8.0])


def model_of(
    nodes: list[Any], shape: list[Any], weights: dict[str, NDArray[Any]], *, dims: int = 2
) -> OnnxModel:
    """Return a graph from ``rows`` to ``out``."""
    held = [numpy_helper.from_array(each, name) for name, each in weights.items()]
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * dims)
    graph = helper.make_graph(nodes, "g", [rows], [out], held)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return OnnxModel.read(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def form_of(adapter: str, estimator: Any) -> Form:
    return Form(adapter, estimator, Signature(()), ())


def floats(*values: float) -> NDArray[Any]:
    return np.array(values, dtype=np.float32)


def test_matrices_are_counted_by_hand() -> None:
    """2 x 3 weights of which one is zero, three intercepts, and six multiplications."""
    gemm = helper.make_node("Gemm", ["rows", "w", "b"], ["out"], transB=1)
    weights = {"w": floats(1, -2, 0, 1, 1, 1).reshape(3, 2), "b": floats(0.5, 0, 0)}
    model = model_of([gemm], ["n", 2], weights)
    assert size_of(form_of("onnx", model), 99) == Size(99, 9, 6, 6.5, 6)


def test_a_convolution_costs_its_kernel_at_every_place_of_one_row() -> None:
    conv = helper.make_node("Conv", ["rows", "w"], ["out"], pads=[1, 1, 1, 1], strides=[2, 2])
    weights = {"w": np.ones((4, 3, 3, 3), dtype=np.float32)}
    counted = onnx_size.size(model_of([conv], [None, 3, 8, 8], weights, dims=4))
    assert counted == Count(108, 108, 108.0, 4 * 4 * 4 * 27)
    grouped = helper.make_node("Conv", ["rows", "w"], ["out"], group=3)
    depthwise = {"w": np.ones((3, 1, 3, 3), dtype=np.float32)}
    model = model_of([grouped], [None, 3, 8, 8], depthwise, dims=4)
    assert onnx_size.size(model).macs == 3 * 6 * 6 * 9


def test_what_nobody_can_tell_is_none() -> None:
    """Broken when a length that only a row tells is taken for some number."""
    product = helper.make_node("MatMul", ["rows", "w"], ["out"])
    model = model_of([product], [None, "length", 2], {"w": floats(1, 2).reshape(2, 1)}, dims=3)
    assert onnx_size.size(model) == Count(2, 2, 3.0, None)


def test_a_shape_that_the_graph_computes_is_seen_in_a_run() -> None:
    """Broken when inference alone tells shapes: networks of texts would cost nobody knows what."""
    nodes = [
        helper.make_node("NonZero", ["rows"], ["where"]),
        helper.make_node("Shape", ["where"], ["sizes"], start=1, end=2),
        helper.make_node("Reshape", ["rows", "sizes"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["out"]),
    ]
    model = model_of(nodes, [None, 2], {"w": floats(1, 2)}, dims=0)
    assert onnx_size.size(model).macs == 2


def test_a_quantized_weight_counts_for_what_it_stands_for() -> None:
    """Broken when zero points pass for values, or bytes for the norm."""
    weight = np.array([[10, 12], [8, 10]], dtype=np.uint8)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=1),
        helper.make_node("MatMul", ["rows", "w"], ["out"]),
    ]
    held = {"q": weight, "s": floats(0.5, 0.25), "z": np.array([10, 10], dtype=np.uint8)}
    # (0, 2; -2, 0) times (0.5, 0.25) is (0, 0.5; -1, 0).
    assert onnx_size.size(model_of(nodes, [None, 2], held)) == Count(4, 2, 1.5, 4)


def test_blocks_of_four_bits_are_unpacked() -> None:
    node = helper.make_node(
        "MatMulNBits",
        ["rows", "q", "s"],
        ["hidden"],
        domain="com.microsoft",
        K=16,
        N=2,
        bits=4,
        block_size=16,
    )
    held = {"q": np.full((2, 1, 8), 0x98, dtype=np.uint8), "s": floats(0.5, 2.0)}
    held["w"] = floats(1, 1).reshape(2, 1)
    behind = helper.make_node("MatMul", ["hidden", "w"], ["out"])
    # Low halves are 8, which is zero; high halves are 9, which is one scale.
    counted = onnx_size.size(model_of([node, behind], [None, 16], held))
    assert counted == Count(32 + 2, 16 + 2, 20.0 + 2.0, 32 + 2)


def test_tied_weights_count_once_and_multiply_twice() -> None:
    nodes = [
        helper.make_node("MatMul", ["rows", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["out"]),
    ]
    counted = onnx_size.size(model_of(nodes, [None, 2], {"w": np.ones((2, 2), dtype=np.float32)}))
    assert counted == Count(4, 4, 4.0, 8)


def test_linear_models_and_their_scalers() -> None:
    rows, labels = np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 2.0]]), [0, 0, 1]
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    counted = sklearn_size.size(fitted)
    scaler, linear = fitted[0], fitted[1]
    norm = sum(np.abs(each).sum() for each in (scaler.mean_, scaler.scale_, linear.coef_))
    assert (counted.parameters, counted.macs) == (2 + 2 + 2 + 1, 4)
    assert counted.l1 == pytest.approx(norm + abs(linear.intercept_[0]))
    assert sklearn_size.size(linear.sparsify()).parameters == 3


def test_the_optimizer_of_a_network_is_no_part_of_it() -> None:
    network = MLPRegressor(hidden_layer_sizes=(3,), max_iter=500, tol=1.0).fit(STEP, RISE)
    assert sklearn_size.size(network).parameters == (1 + 1) * 3 + 3 + 1
    assert sklearn_size.size(network).macs == 6


def test_trees_count_thresholds_leaves_and_depth() -> None:
    tree = DecisionTreeRegressor().fit(STEP, RISE)
    assert sklearn_size.size(tree) == Count(3, 2, 8.0, 1)
    forest = RandomForestClassifier(3, max_depth=2, random_state=0).fit(STEP, RISE > 0)
    parts = [sklearn_size.size(each) for each in forest.estimators_]
    counted = sklearn_size.size(forest)
    assert counted.parameters == sum(each.parameters for each in parts)
    assert counted.macs == sum(each.macs or 0 for each in parts)


def test_boosters_of_all_libraries_count_alike() -> None:
    """One split at 1.5 and two leaves: three numbers, one comparison."""
    ours = HistGradientBoostingRegressor(max_iter=1, min_samples_leaf=1, max_depth=1)
    counted = sklearn_size.size(ours.fit(STEP, RISE))
    assert (counted.parameters, counted.macs) == (3 + 1, 1)  # and the mean before all trees
    light = lightgbm.LGBMRegressor(
        n_estimators=1, min_child_samples=1, num_leaves=2, min_child_weight=0, verbose=-1, n_jobs=1
    ).fit(STEP, RISE)
    assert lightgbm_size.size(light).parameters == 3
    assert lightgbm_size.size(light).macs == 1
    xgb = xgboost.XGBRegressor(n_estimators=2, max_depth=1, min_child_weight=0, n_jobs=1)
    counted = xgboost_size.size(xgb.fit(STEP, RISE))
    assert (counted.parameters, counted.macs) == (6, 2)
    line = xgboost.XGBRegressor(n_estimators=1, booster="gblinear", n_jobs=1).fit(STEP, RISE)
    assert xgboost_size.size(line).parameters == 2


def test_steps_of_columns_are_summed_and_neighbours_are_their_rows() -> None:
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), [0]), ("coded", OneHotEncoder(), [1])]
    )
    rows = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 1.0]])
    near = make_pipeline(columns, KNeighborsClassifier(1)).fit(rows, [0, 1, 0])
    assert sklearn_size.size(near).parameters == 2 + 3 * 3
    assert sklearn_size.size(near).macs is None
    words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["a bc", "de fg"], [0, 1])
    assert sklearn_size.size(words).macs == 3


def test_tied_parameters_of_a_network_count_once() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert torch_size.size(net).parameters == 4 + 2 + 2
    assert torch_size.size(net).macs is None
    assert torch_size.size(object()) == Count(macs=None)


def test_a_strange_estimator_is_told_by_what_hangs_on_it() -> None:
    class Strange:
        def __init__(self) -> None:
            self.inner = {"w": [floats(1, -2, 0)], "n": np.arange(9)}
            self.again = self.inner["w"]

    assert size_of(form_of("strange", Strange()), 7) == Size(7, 3, 2, 3.0, None)
    assert size_of(form_of("river", object()), 7) == Size(7, 0, 0, 0.0, None)
    assert size_of(form_of("sklearn", object()), 7).bytes == 7


def test_a_circle_of_nodes_ends() -> None:
    assert depth_of(np.array([0]), np.array([0])) <= 1


def test_measuring_changes_nothing() -> None:
    gemm = helper.make_node("Gemm", ["rows", "w"], ["out"])
    model = model_of([gemm], [None, 1], {"w": np.ones((1, 1), dtype=np.float32)})
    before = model.graph
    onnx_size.size(model)
    assert model.graph == before
    assert onnx.load_model_from_string(model.graph).graph.input[0].name == "rows"
