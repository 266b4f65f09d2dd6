"""Rows that are a matrix already: the same scores and refusals as of a table, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from renewal.core.errors import Invalid, Unavailable
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest
from renewal.models.adapters import adapter_for, stored
from renewal.models.load import load_runtime
from renewal.models.onnx import OnnxRuntime
from renewal.models.onnx_columns import are_plain
from renewal.models.onnx_graph import onnx_graph
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_served import GraphRuntime
from renewal.models.parity_refusals import Refusals
from renewal.models.score_map import Mapped, ScoreMap
from renewal.models.score_map_adapter import MappedRuntime
from renewal.models.score_map_curves import Temperature
from renewal.store.local import LocalStore

NAMES = ("a", "b", "c")
SIGNATURE = Signature(tuple(Field(name, "float") for name in NAMES))
Matrix = NDArray[np.float64]


def rows_of(n_rows: int, seed: int = 3) -> Matrix:
    return np.random.default_rng(seed).normal(size=(n_rows, len(NAMES)))


def table_of(values: Matrix) -> pa.Table:
    columns = [pa.array(values[:, at], from_pandas=True) for at in range(values.shape[1])]
    return pa.table(columns, names=list(NAMES))


def fitted(recipe: Any) -> Any:
    rows = rows_of(200)
    labels = rows[:, 0] + rows[:, 1] > 0
    is_regression = isinstance(recipe, Ridge | RandomForestRegressor)
    return recipe.fit(rows, rows[:, 0] * 2.0 if is_regression else labels)


@pytest.fixture
def opened() -> Any:
    """Make a compiled runtime; closed in the end."""
    made: list[OnnxRuntime] = []

    def make(recipe: Any, refusals: Refusals | None = None, **options: Any) -> OnnxRuntime:
        n_scores = 1 if isinstance(recipe, Ridge | RandomForestRegressor) else 2
        graph = onnx_graph(fitted(recipe), SIGNATURE)
        made.append(OnnxRuntime(graph, n_scores, refusals or Refusals(), **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(
    "recipe",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        Ridge(),
        GradientBoostingClassifier(n_estimators=10),
        RandomForestRegressor(n_estimators=10, random_state=0),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_matrix_gets_the_scores_of_a_table(
    opened: Callable[..., OnnxRuntime], recipe: Any
) -> None:
    """Broken when the two ways round, clamp or order otherwise."""
    runtime = opened(recipe, columns=NAMES)
    assert runtime.takes_matrix
    for n_rows in (1, 7, 4000):
        values = rows_of(n_rows, n_rows) * 50
        assert np.array_equal(runtime.predict_matrix(values), runtime.predict(table_of(values)))
    across = np.asfortranarray(rows_of(5))
    assert np.array_equal(runtime.predict_matrix(across), runtime.predict(table_of(across)))
    assert runtime.predict_matrix(rows_of(0)).shape == runtime.predict(table_of(rows_of(0))).shape


def test_columns_in_another_order_find_their_place(opened: Callable[..., OnnxRuntime]) -> None:
    """Broken when a matrix is read in the order of the fit, and not in the signature's."""
    runtime = opened(LogisticRegression(), columns=("c", "spare", "a", "b"))
    values = rows_of(9)
    there = np.column_stack([values[:, 2], np.zeros(9), values[:, 0], values[:, 1]])
    assert np.array_equal(runtime.predict_matrix(there), runtime.predict(table_of(values)))
    assert not opened(LogisticRegression(), columns=("a", "b")).takes_matrix


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39, -1e300])
@pytest.mark.parametrize(
    "refusals",
    [
        Refusals(),
        Refusals(gaps=("b",)),
        Refusals(infinite=("b",)),
        Refusals(large=("b",)),
        Refusals(gaps=("a",), infinite=("a",), large=("a",)),
    ],
    ids=["none", "gaps", "infinite", "large", "of another column"],
)
@pytest.mark.parametrize("recipe", [LogisticRegression(), GradientBoostingClassifier()])
def test_a_matrix_is_refused_where_a_table_is(
    opened: Callable[..., OnnxRuntime], recipe: Any, refusals: Refusals, bad: float
) -> None:
    """Broken when the cheap look lets through what the exact one refuses, or the other way."""
    runtime = opened(recipe, refusals, columns=NAMES)
    values = rows_of(3)
    values[1, 1] = bad

    def told(predict: Any, rows: Any) -> Any:
        try:
            return predict(rows)
        except Invalid as error:
            return str(error)

    one, other = told(runtime.predict, table_of(values)), told(runtime.predict_matrix, values)
    assert type(one) is type(other)
    assert one == other if isinstance(one, str) else np.array_equal(one, other, equal_nan=True)


def test_plain_is_said_of_no_row_that_is_not() -> None:
    largest = float(np.finfo(np.float32).max)
    assert are_plain(np.array([[largest, 0.0]]))
    for bad in (np.nan, np.inf, -np.inf, 1e200, np.nextafter(largest, np.inf)):
        assert not are_plain(np.array([[0.0, bad]]))
    assert not are_plain(np.zeros((3000, 3)))


def test_what_cannot_be_asked_of_a_matrix_is_said(opened: Callable[..., OnnxRuntime]) -> None:
    runtime = opened(LogisticRegression(), columns=NAMES)
    with pytest.raises(Invalid, match="compiled graph takes"):
        runtime.predict_matrix(np.zeros((2, 5)))
    runtime.close()
    with pytest.raises(Unavailable, match="closed"):
        runtime.predict_matrix(rows_of(1))


def test_a_map_of_scores_applies_to_a_matrix(opened: Callable[..., OnnxRuntime]) -> None:
    """Broken when the fast way serves the scores of before the recalibration."""
    inside = opened(LogisticRegression(), columns=NAMES)
    mapped = MappedRuntime(inside, ScoreMap((Temperature(3.0),)))
    values = rows_of(6)
    assert mapped.takes_matrix
    assert np.array_equal(mapped.predict_matrix(values), mapped.predict(table_of(values)))
    assert not np.array_equal(mapped.predict_matrix(values), inside.predict_matrix(values))


def graph_of(kind: int, input_name: str = "rows", width: int | None = 3) -> Any:
    weights = np.random.default_rng(0).normal(size=(3, 3))
    numpy = np.float64 if kind == TensorProto.DOUBLE else np.float32
    made = helper.make_graph(
        [
            helper.make_node("MatMul", [input_name, "w"], ["z"]),
            helper.make_node("Softmax", ["z"], ["p"]),
        ],
        "graph",
        [helper.make_tensor_value_info(input_name, kind, [None, width])],
        [helper.make_tensor_value_info("p", kind, [None, 3])],
        [numpy_helper.from_array(weights.astype(numpy), "w")],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.mark.parametrize("classes", [("x", "y", "z"), ("z", "x", "y")])
@pytest.mark.parametrize("kind", [TensorProto.DOUBLE, TensorProto.FLOAT])
def test_a_graph_from_elsewhere_takes_a_matrix(kind: int, classes: tuple[str, ...]) -> None:
    runtime = GraphRuntime(OnnxModel.read(graph_of(kind), classes=classes), SIGNATURE)
    assert runtime.takes_matrix
    for n_rows in (1, 40):
        values = rows_of(n_rows)
        assert np.array_equal(runtime.predict_matrix(values), runtime.predict(table_of(values)))
    bad = rows_of(2)
    bad[0, 0] = np.nan
    for predict, rows in ((runtime.predict, table_of(bad)), (runtime.predict_matrix, bad)):
        with pytest.raises(Invalid, match="finite scores"):
            predict(rows)
    with pytest.raises(Invalid, match="graph takes"):
        runtime.predict_matrix(np.zeros((1, 2)))
    assert runtime.predict_matrix(rows_of(0)).shape == (0, 3)
    runtime.close()
    with pytest.raises(Unavailable, match="closed"):
        runtime.predict_matrix(rows_of(1))


def test_only_a_graph_of_one_matrix_says_that_it_takes_one() -> None:
    """Broken when an input named as a column is fed all of them."""
    texts = Signature((*SIGNATURE.fields[:2], Field("c", "string")))
    for proto, signature in (
        (graph_of(TensorProto.FLOAT), texts),
        (graph_of(TensorProto.FLOAT, "a", None), SIGNATURE),
        (graph_of(TensorProto.FLOAT), Signature(SIGNATURE.fields[:2])),
    ):
        runtime = GraphRuntime(OnnxModel.read(proto, classes=("x", "y", "z")), signature)
        assert not runtime.takes_matrix
        with pytest.raises(Invalid, match="one matrix"):
            runtime.predict_matrix(rows_of(1))


def test_a_version_is_loaded_into_it_under_its_map(tmp_path: Path) -> None:
    """Broken when a recalibrated graph is served without its map, by either way."""
    model = OnnxModel.read(graph_of(TensorProto.FLOAT), classes=("x", "y", "z"))
    store = LocalStore(tmp_path)
    found = []
    for estimator in (model, Mapped(model, ScoreMap((Temperature(3.0),)))):
        adapter = adapter_for(estimator, who="test")
        put = stored(adapter, estimator, store)
        manifest = Manifest(
            model="m",
            task="multiclass",
            adapter=adapter.name,
            artifact=put.artifact,
            artifact_bytes=put.artifact_bytes,
            parts=put.parts,
            signature=SIGNATURE,
            classes=adapter.classes(estimator),
            strategy="register",
            environment=adapter.environment(),
        )
        runtime: Any = load_runtime(manifest, store)
        values = rows_of(4)
        found.append(runtime.predict_matrix(values))
        assert np.array_equal(found[-1], runtime.predict(table_of(values)))
        assert np.array_equal(found[-1], adapter.predict(estimator, table_of(values)))
        runtime.close()
    assert not np.array_equal(*found)
