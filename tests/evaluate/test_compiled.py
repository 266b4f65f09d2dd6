"""The gate before a compiled form: the known silent failures, and what is no failure."""

from __future__ import annotations

import time
import warnings
from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
import xgboost
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from renewal.core.spec import Signature
from renewal.data.frame import signature_of
from renewal.evaluate.compiled import check_compiled, faster_form
from renewal.evaluate.compiled_record import Checked, Probe
from renewal.models import onnx_graph as graphs
from renewal.models.adapters import adapter_for
from renewal.models.native import NativeRuntime
from renewal.models.onnx import OnnxRuntime
from renewal.models.onnx_graph import onnx_graph
from renewal.models.task import Scores

N_FIT, N_ROWS = 1500, 2500


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    x = np.random.default_rng(1).normal(size=(N_ROWS, 5))
    return pa.table({f"c{at}": x[:, at] for at in range(5)})


@pytest.fixture(scope="module")
def labels(rows: pa.Table) -> Any:
    noise = np.random.default_rng(2).normal(size=N_ROWS)
    signal = rows["c0"].to_numpy() + rows["c1"].to_numpy() * rows["c2"].to_numpy() + 0.5 * noise
    return np.array((signal > 0).tolist(), dtype=object)


def checked(estimator: Any, rows: pa.Table, labels: Any, *, graph: Any = onnx_graph) -> Checked:
    """Fit on the first rows, compile, and compare both forms on the others."""
    adapter, signature = adapter_for(estimator, who="test"), signature_of(rows)
    fitted = adapter.fit(estimator, rows.slice(0, N_FIT), labels[:N_FIT], seed=0)
    native = NativeRuntime(adapter, fitted, signature)
    other = OnnxRuntime(graph(fitted, signature), len(adapter.classes(fitted)) or 1)
    return check_compiled(native, other, rows.slice(N_FIT), signature, n_thresholds=300)


def of(found: Checked, name: str) -> Probe:
    (probe,) = (each for each in found.probes if each.name == name)
    return probe


def _as_the_converter_leaves_it(fitted: Any, signature: Signature) -> bytes:
    """Convert without what this house mends."""
    types = [(graphs.MATRIX, FloatTensorType([None, len(signature.names)]))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = convert_sklearn(
            fitted, initial_types=types, options={id(fitted): {"zipmap": False}}
        )
    graphs._name_columns(model, list(signature.names))
    del model.graph.output[:-1]
    data: bytes = model.SerializeToString()
    return data


def test_the_gaps_of_a_forest_under_skl2onnx(rows: pa.Table, labels: Any) -> None:
    """The silent failure: a fifth of the labels of rows with gaps, and none of clean rows.

    Broken by a gate that looks at clean rows only; for gaps that the fit has seen or not.
    """
    mask = np.random.default_rng(3).random(N_ROWS) < 0.15
    gapped = rows.set_column(0, "c0", pa.array(rows["c0"].to_numpy(), mask=mask))
    forest = RandomForestClassifier(20)
    seen = checked(forest, gapped, labels, graph=_as_the_converter_leaves_it)
    assert "labels differ" in of(seen, "held-out").failure
    fresh = checked(forest, rows, labels, graph=_as_the_converter_leaves_it)
    assert of(fresh, "held-out").n_labels_differ == 0
    assert "labels differ" in of(fresh, "gaps").failure
    assert fresh.failure.startswith("gaps: ")
    mended = checked(forest, gapped, labels)
    assert mended.failure == ""
    assert of(mended, "gaps").n_rows > 100


def test_a_scaler_before_a_tree_in_float32() -> None:
    """The other one: whole numbers of mixed scales, rounded before the tree compares them."""
    rng = np.random.default_rng(4)
    most = [2 ** (8 + 4 * at) for at in range(6)]
    columns = {f"c{at}": rng.integers(0, high, N_ROWS) for at, high in enumerate(most)}
    values = np.sum([columns[f"c{at}"] / high for at, high in enumerate(most)], axis=0)
    tree = make_pipeline(StandardScaler(), DecisionTreeRegressor())
    found = checked(tree, pa.table(columns), values)
    assert "scores differ beyond rounding" in found.failure
    assert found.probes[-1].n_moved > 1


@pytest.mark.parametrize(
    ("estimator", "is_equal"),
    [
        (lightgbm.LGBMClassifier(n_estimators=30, num_leaves=63, verbose=-1), False),
        (HistGradientBoostingClassifier(max_iter=30), False),
        # XGBoost itself reads float32.
        (xgboost.XGBClassifier(n_estimators=30), True),
    ],
    ids=["lightgbm", "histogram", "xgboost"],
)
def test_seconds_since_1970_in_float32(
    rows: pa.Table,
    estimator: Any,
    is_equal: bool,  # noqa: FBT001  # a column of the table
) -> None:
    """Broken by a gate that waits for a held-out row to lie within 64 s of a threshold."""
    seconds = np.random.default_rng(5).integers(1_700_000_000, 1_730_000_000, N_ROWS)
    stamped = rows.set_column(3, "c3", pa.array(seconds))
    signal = np.sin(seconds / 1e6) + 0.3 * rows["c0"].to_numpy()
    found = checked(estimator, stamped, np.array((signal > 0).tolist(), dtype=object))
    assert (found.failure == "") == is_equal


@pytest.mark.parametrize(
    "estimator",
    [
        lightgbm.LGBMClassifier(n_estimators=30, verbose=-1),
        HistGradientBoostingClassifier(max_iter=30),
    ],
    ids=["lightgbm", "histogram"],
)
def test_thresholds_of_float64_are_counted_only(
    rows: pa.Table, labels: Any, estimator: Any
) -> None:
    """Broken by a gate that no boosted model passes, or that does not look at thresholds."""
    found = checked(estimator, rows, labels)
    assert found.failure == ""
    assert of(found, "thresholds").n_moved > 0
    assert of(found, "beside thresholds").n_moved <= 1
    assert not found.refusals
    assert of(found, "batches").n_rows > 500


def test_a_linear_model_refuses_what_it_refused(rows: pa.Table, labels: Any) -> None:
    """Broken by a compiled form that answers where the native one raises."""
    found = checked(LogisticRegression(), rows, labels)
    assert found.failure == ""
    names = tuple(rows.column_names)
    assert (found.refusals.gaps, found.refusals.infinite) == (names, names)
    assert found.refusals.large == ()
    assert "refused by the native form" in of(found, "gaps").note
    assert "no jumps" in of(found, "thresholds").note


def test_a_regression_far_out_rounds_more(rows: pa.Table) -> None:
    """Broken by a limit in the unit of the target: at 1e30 no two forms agree to it."""
    found = checked(Ridge(), rows, 3.0 * rows["c0"].to_numpy() + 7.0)
    assert found.failure == ""
    assert of(found, "huge").n_rows > 100


@pytest.mark.parametrize("unknown", ["ignore", "error"])
def test_unseen_words(rows: pa.Table, labels: Any, unknown: str) -> None:
    """Broken by a compiled form that takes a word which the encoder does not know."""
    words = np.random.default_rng(6).choice(["a", "b"], N_ROWS)
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown=unknown), ["w"]), remainder="passthrough"
    )
    model = make_pipeline(encoder, LogisticRegression())
    found = checked(model, rows.append_column("w", pa.array(words)), labels)
    if unknown == "ignore":
        assert found.failure == ""
    else:
        assert found.failure.startswith("unseen: the native form refuses")


def test_held_out_rows_that_the_native_form_refuses_are_left_out(
    rows: pa.Table, labels: Any
) -> None:
    """Broken by one gap among a thousand rows that keeps every linear model native."""
    adapter, signature = adapter_for(LogisticRegression(), who="test"), signature_of(rows)
    fitted = adapter.fit(LogisticRegression(), rows, labels)
    forms = NativeRuntime(adapter, fitted, signature), OnnxRuntime(onnx_graph(fitted, signature), 2)
    column = rows["c0"].to_pylist()
    gapped = rows.set_column(0, "c0", pa.array([None, float("inf"), *column[2:]]))
    found = check_compiled(*forms, gapped, signature, n_thresholds=50)
    assert found.failure == ""
    assert of(found, "held-out").note.startswith("2 rows")
    nothing = rows.set_column(0, "c0", pa.array([None] * N_ROWS, pa.float64()))
    assert "refuses" in check_compiled(*forms, nothing, signature).failure


class Slow:
    """Answers after a while."""

    def __init__(self, wait_s: float, wait_64_s: float) -> None:
        self.waits_s = (wait_s, wait_64_s)

    def predict(self, features: pa.Table) -> Scores:
        time.sleep(self.waits_s[features.num_rows > 1])
        return np.zeros((features.num_rows, 1))

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("waits", "said"),
    [((0.0, 0.0), ""), ((0.006, 0.0), "slower with one row"), ((0.0, 0.03), "slower with 64 rows")],
)
def test_the_faster_form_wins(waits: tuple[float, float], said: str) -> None:
    """Broken by looking at one size of batch alone: a k-NN loses at both, others at one."""
    rows = pa.table({"a": np.arange(100.0)})
    why, ours, theirs = faster_form(Slow(0.002, 0.002), Slow(*waits), rows)
    assert why.startswith(said)
    assert bool(why) == bool(said)
    assert len(ours.single_ms) == len(theirs.single_ms) > 0
