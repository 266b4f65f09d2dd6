"""A row alone and in any company: the same scores to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.models.onnx import OnnxRuntime
from renewal.models.onnx_even import is_unsteady
from renewal.models.onnx_graph import onnx_graph
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_served import GraphRuntime

WIDTH = 40
NAMES = tuple(f"c{at}" for at in range(WIDTH))
SIGNATURE = Signature(tuple(Field(name, "float") for name in NAMES))
Matrix = NDArray[np.float64]


def rows_of(n_rows: int) -> Matrix:
    return np.random.default_rng(1).normal(size=(n_rows, WIDTH))


def compiled(recipe: Any, n_classes: int) -> OnnxRuntime:
    rows = rows_of(300)
    labels = np.digitize(rows[:, 0] + rows[:, 1], np.linspace(-1, 1, n_classes - 1))
    return OnnxRuntime(onnx_graph(recipe.fit(rows, labels), SIGNATURE), n_classes, columns=NAMES)


def network(seed: int, kind: int, *, is_fixed: bool) -> GraphRuntime:
    """Return a random network, its weights constants or overridable (nothing rearranges them)."""
    rng = np.random.default_rng(seed)
    width = int(rng.integers(3, 80))
    n_classes = int(rng.integers(2, 6))
    dtype = np.float64 if kind == TensorProto.DOUBLE else np.float32
    weights = [rng.normal(size=(WIDTH, width)), rng.normal(size=(width, n_classes))]
    held = [
        numpy_helper.from_array(each.astype(dtype), f"w{at}") for at, each in enumerate(weights)
    ]
    inputs = [helper.make_tensor_value_info("rows", kind, [None, WIDTH])]
    if not is_fixed:
        inputs += [helper.make_tensor_value_info(each.name, kind, each.dims) for each in held]
    nodes = [
        helper.make_node("MatMul", ["rows", "w0"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),
        helper.make_node("Softmax", ["c"], ["y"]),
    ]
    made = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("y", kind, [None, n_classes])], held
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return GraphRuntime(OnnxModel.read(proto, classes=tuple(range(n_classes))), SIGNATURE)


def demand_same_in_company(predict: Callable[[Matrix], NDArray[np.float64]]) -> None:
    rows = rows_of(64)
    alone = np.concatenate([predict(rows[at : at + 1]) for at in range(64)])
    for size in (2, 3, 4, 5, 7, 8, 13, 16, 31, 32, 63, 64):
        found = np.concatenate([predict(rows[at : at + size]) for at in range(0, 64, size)])
        assert np.array_equal(found, alone), f"in batches of {size}"


@pytest.mark.parametrize(
    ("recipe", "n_classes"),
    [
        (LogisticRegression(), 2),
        (LogisticRegression(max_iter=300), 10),
        (MLPClassifier((30,), max_iter=150, tol=1.0), 3),
        (RandomForestClassifier(20, random_state=0), 3),
        (GradientBoostingClassifier(n_estimators=5), 3),
    ],
    ids=["linear", "linear of ten", "network", "forest", "boosted"],
)
def test_a_compiled_row_is_the_same_in_company(recipe: Any, n_classes: int) -> None:
    """Broken when a single row goes through another kernel than several."""
    runtime = compiled(recipe, n_classes)
    demand_same_in_company(runtime.predict_matrix)
    one = rows_of(1)
    table = pa.table({name: one[:, at] for at, name in enumerate(NAMES)})
    assert np.array_equal(runtime.predict(table), runtime.predict_matrix(rows_of(4))[:1])


@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT])
@pytest.mark.parametrize("is_fixed", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_a_row_of_any_network_is_the_same_in_company(
    seed: int,
    kind: int,
    is_fixed: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    demand_same_in_company(network(seed, kind, is_fixed=is_fixed).predict_matrix)


def test_what_is_unsteady_is_found_and_what_is_refused_is_let_alone() -> None:
    assert not is_unsteady(lambda rows: rows * 2.0, 3)
    assert is_unsteady(lambda rows: rows * (1.0 + 1e-15 * len(rows)), 3)
    assert is_unsteady(lambda rows: rows + (len(rows) == 3), 3)

    def refuse(rows: Matrix) -> Matrix:
        raise Invalid("test", needs="other rows", came=str(rows), todo="Send others.")

    assert not is_unsteady(refuse, 3)


def test_a_graph_of_one_row_at_a_time_still_gets_one() -> None:
    """Broken when its only row is sent twice."""
    weights = np.random.default_rng(0).normal(size=(WIDTH, 3))
    made = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [1, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [1, 3])],
        [numpy_helper.from_array(weights, "w")],
    )
    proto = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    model = OnnxModel.read(proto, classes=("a", "b", "c"), is_logits=True)
    runtime = GraphRuntime(model, SIGNATURE)
    assert runtime.predict_matrix(rows_of(1)).shape == (1, 3)
    with pytest.raises(Invalid, match="number of rows must be free"):
        runtime.predict_matrix(rows_of(2))
