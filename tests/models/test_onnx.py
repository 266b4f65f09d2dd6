"""The compiled form beside the native one: where they agree, and where they do not."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from onnx import ModelProto
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from renewal.core.errors import Corrupt, Invalid, NotFound, Refused, Unavailable
from renewal.core.plugin import load_plugin
from renewal.core.spec import Field, Kind, Signature
from renewal.core.version import Manifest
from renewal.models import onnx as compiled
from renewal.models.contract import Runtime
from renewal.models.labels import Labels
from renewal.models.load import load_runtime
from renewal.models.native import NativeRuntime
from renewal.models.onnx import OnnxRuntime, compiled_runtime
from renewal.models.onnx_graph import onnx_graph
from renewal.models.parity import parity
from renewal.models.parity_refusals import Refusals
from renewal.models.score_map import ScoreMap
from renewal.models.score_map_curves import Sigmoid, Temperature
from renewal.models.sklearn import SklearnAdapter
from renewal.store.local import LocalStore

_KINDS: dict[str, Kind] = {"double": "float", "int64": "int", "bool": "bool", "string": "string"}
Pair = Callable[..., tuple[NativeRuntime, OnnxRuntime]]


@pytest.fixture
def rows() -> pa.Table:
    """600 rows of every kind of column."""
    rng = np.random.default_rng(11)
    return pa.table(
        {
            "a": rng.normal(size=600),
            "b": rng.normal(size=600) * 1e3 + 1e6,
            "hour": rng.integers(0, 24, 600),
            "weekend": rng.random(600) < 0.3,
            "where": rng.choice(["EWR", "JFK", "LGA"], 600),
        }
    )


@pytest.fixture
def plain(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(["where"])


@pytest.fixture
def labels(rows: pa.Table) -> Labels:
    rng = np.random.default_rng(12)
    signal = rows["a"].to_numpy() + rows["hour"].to_numpy() / 12 + 0.5 * rng.normal(size=600)
    return np.array((signal > 1).tolist(), dtype=object)


@pytest.fixture
def values(rows: pa.Table) -> Labels:
    found: Labels = 3.0 * rows["a"].to_numpy() + rows["hour"].to_numpy()
    return found


@pytest.fixture
def pair(adapter: SklearnAdapter) -> Iterator[Pair]:
    """Make both forms of a fitted estimator, converted in this process, for speed."""
    opened: list[Any] = []

    def make(fitted: Any, rows: pa.Table) -> tuple[NativeRuntime, OnnxRuntime]:
        signature = signature_of(rows)
        native = NativeRuntime(adapter, fitted, signature)
        other = OnnxRuntime(onnx_graph(fitted, signature), len(adapter.classes(fitted)) or 1)
        opened.extend((native, other))
        return native, other

    yield make
    for each in opened:
        each.close()


def signature_of(rows: pa.Table) -> Signature:
    return Signature(tuple(Field(each.name, _KINDS[str(each.type)]) for each in rows.schema))


def demand_equal(pair: tuple[Runtime, Runtime], rows: pa.Table, *, within: float = 1e-5) -> None:
    """Fail unless both forms give all rows one label, ties left aside, and close scores."""
    found = parity(*pair, rows)
    assert found.n_rows == rows.num_rows
    assert found.n_labels_differ == found.n_ties_differ
    assert found.largest_difference < within


def _one_hot() -> Any:
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["where", "hour"]), (StandardScaler(), ["a", "b"])
    )


def _ordinal() -> Any:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer((encoder, ["where"]), remainder="passthrough")


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(_one_hot(), LogisticRegression()),
        make_pipeline(_ordinal(), HistGradientBoostingClassifier(max_iter=20)),
        make_pipeline(_ordinal(), RandomForestClassifier(20)),
    ],
    ids=["one-hot", "boosted", "forest"],
)
def test_columns_of_every_kind(rows: pa.Table, labels: Labels, pair: Pair, estimator: Any) -> None:
    """Broken by a column that lands under another's name or in another type."""
    fitted = SklearnAdapter().fit(estimator, rows, labels, seed=0)
    demand_equal(pair(fitted, rows), rows)


@pytest.mark.parametrize(
    ("estimator", "within"),
    [
        # In float64 from end to end.
        (make_pipeline(StandardScaler(), LogisticRegression()), 1e-12),
        (KNeighborsClassifier(), 1e-12),
        # In float32, as scikit-learn's own trees read their rows.
        (RandomForestClassifier(20), 1e-5),
        (GradientBoostingClassifier(n_estimators=20), 1e-5),
        (HistGradientBoostingClassifier(max_iter=20), 1e-5),
    ],
    ids=["logistic", "k-nn", "forest", "boosted", "histogram"],
)
def test_classifiers_of_numbers(
    plain: pa.Table, labels: Labels, pair: Pair, estimator: Any, within: float
) -> None:
    """Broken by columns in another order, scores in another, or needless float32."""
    for names in (True, False):
        fitted = SklearnAdapter().fit(estimator, plain, labels, names=names, seed=0)
        demand_equal(pair(fitted, plain), plain, within=within)


@pytest.mark.parametrize(
    ("estimator", "within"),
    [(Ridge(), 1e-9), (HistGradientBoostingRegressor(max_iter=20), 1e-4)],
    ids=["ridge", "histogram"],
)
def test_regressions(
    plain: pa.Table, values: Labels, pair: Pair, estimator: Any, within: float
) -> None:
    """Broken by values of shape (n,)."""
    fitted = SklearnAdapter().fit(estimator, plain, values, seed=0)
    native, other = pair(fitted, plain)
    assert other.predict(plain).shape == (600, 1)
    demand_equal((native, other), plain, within=within)


def test_three_classes_of_texts_keep_their_order(
    adapter: SklearnAdapter, plain: pa.Table, pair: Pair
) -> None:
    """Broken by labels in the output instead of probabilities, or a class out of its place."""
    labels = np.array([("c", "a", "b")[hour % 3] for hour in plain["hour"].to_pylist()], object)
    fitted = adapter.fit(RandomForestClassifier(10), plain, labels, seed=0)
    demand_equal(pair(fitted, plain), plain)


def _with_gaps(rows: pa.Table, names: tuple[str, ...], seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    for name in names:
        at = rows.column_names.index(name)
        column = pa.array(rows[name].to_pylist(), rows[name].type, mask=rng.random(600) < 0.15)
        rows = rows.set_column(at, name, column)
    return rows


def test_gaps_in_numbers_where_the_converter_is_right(
    adapter: SklearnAdapter, plain: pa.Table, labels: Labels, pair: Pair
) -> None:
    """Broken by a null that arrives as 0, in floats, ints or booleans."""
    gapped = _with_gaps(plain, ("a", "hour", "weekend"), seed=1)
    fitted = adapter.fit(HistGradientBoostingClassifier(max_iter=20), gapped, labels, seed=0)
    demand_equal(pair(fitted, gapped), gapped)


@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(20), ExtraTreesClassifier(20), DecisionTreeClassifier()],
    ids=["forest", "extra", "tree"],
)
def test_gaps_in_trees_take_the_way_of_the_fit(
    adapter: SklearnAdapter, plain: pa.Table, labels: Labels, pair: Pair, estimator: Any
) -> None:
    """Broken by leaving skl2onnx up to 1.20 alone, which drops it (its issue 1253)."""
    gapped = _with_gaps(plain, ("a", "hour"), seed=2)
    for rows in (gapped, plain):
        fitted = adapter.fit(estimator, rows, labels, seed=0)
        demand_equal(pair(fitted, rows), gapped)


def test_chances_of_float32_stay_chances(
    adapter: SklearnAdapter, plain: pa.Table, labels: Labels, pair: Pair
) -> None:
    """Broken by a sum of 20 float32 votes that is 1.0000001: its logarithm has a NaN beside it."""
    native, other = pair(adapter.fit(RandomForestClassifier(20), plain, labels, seed=0), plain)
    found = other.predict(plain)
    assert (found.min(), found.max()) == (native.predict(plain).min(), 1.0)


def test_what_the_native_form_refuses_is_refused(
    adapter: SklearnAdapter, rows: pa.Table, labels: Labels
) -> None:
    """Broken by a graph that answers where scikit-learn raises, in either kind of graph."""
    for table in (rows, rows.drop_columns(["where"])):
        signature = signature_of(table)
        scaled = make_pipeline(_one_hot(), LogisticRegression())
        model = scaled if "where" in table.column_names else LogisticRegression(max_iter=5000)
        graph = onnx_graph(adapter.fit(model, table, labels, seed=0), signature)
        runtime = OnnxRuntime(graph, 2, Refusals(gaps=("a",), infinite=("a",), large=("b",)))
        assert runtime.predict(table).shape == (600, 2)
        for name, value in (("a", None), ("a", np.nan), ("a", np.inf), ("b", 1e300)):
            at = table.column_names.index(name)
            odd = table.set_column(at, name, pa.array([value] * 600, pa.float64()))
            with pytest.raises(Invalid, match=f"in the column '{name}'"):
                runtime.predict(odd)
        fine = table.set_column(1, "b", pa.array([-np.inf] * 600))
        assert runtime.predict(fine).shape == (600, 2)


@pytest.mark.parametrize("seen", [True, False], ids=["gaps-fitted", "gaps-new"])
def test_gaps_and_unseen_words_in_texts(
    adapter: SklearnAdapter,
    rows: pa.Table,
    labels: Labels,
    pair: Pair,
    seen: bool,  # noqa: FBT001  # a column of the table
) -> None:
    """Broken by a gap that becomes an empty text: another category than the fit's gap."""
    gapped = _with_gaps(rows, ("where",), seed=3)
    model = make_pipeline(_one_hot(), LogisticRegression())
    fitted = adapter.fit(model, gapped if seen else rows, labels, seed=0)
    strange = gapped.set_column(4, "where", pa.array(["SFO", None, "JFK"] * 200))
    native, other = pair(fitted, rows)
    for each in (gapped, strange):
        demand_equal((native, other), each)


def test_rows_come_as_they_like(
    adapter: SklearnAdapter, rows: pa.Table, labels: Labels, pair: Pair
) -> None:
    """Broken by trust in the order of columns, or by batches of none and of one."""
    fitted = adapter.fit(make_pipeline(_one_hot(), LogisticRegression()), rows, labels)
    _, other = pair(fitted, rows)
    whole = other.predict(rows)
    turned = rows.select(rows.column_names[::-1]).append_column("more", rows["a"])
    assert np.array_equal(other.predict(turned), whole)
    assert other.predict(rows.slice(0, 0)).shape == (0, 2)
    assert np.array_equal(other.predict(rows.slice(7, 1)), whole[7:8])
    packed = rows.set_column(4, "where", rows["where"].dictionary_encode())
    assert np.array_equal(other.predict(packed), whole)
    assert whole.dtype == np.float64
    assert other.predict(rows).sum(axis=1) == pytest.approx(1)


def test_threads_share_a_runtime(
    adapter: SklearnAdapter, plain: pa.Table, labels: Labels, pair: Pair
) -> None:
    """Broken by state between calls: a row would get a neighbor's score."""
    _, other = pair(adapter.fit(RandomForestClassifier(20), plain, labels, seed=0), plain)
    whole = other.predict(plain)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda at: other.predict(plain.slice(at, 3)), range(300)))
    assert all(np.array_equal(each, whole[at : at + 3]) for at, each in enumerate(found))


def test_wrong_rows_are_said_in_words(
    adapter: SklearnAdapter, plain: pa.Table, labels: Labels, pair: Pair
) -> None:
    """Broken by an error of the runtime or of Arrow that reaches the caller as it is."""
    _, other = pair(adapter.fit(LogisticRegression(max_iter=5000), plain, labels), plain)
    with pytest.raises(Invalid, match="none called 'hour'"):
        other.predict(plain.drop_columns(["hour"]))
    with pytest.raises(Invalid, match="numbers in the column 'hour'"):
        other.predict(plain.set_column(2, "hour", plain["hour"].cast(pa.string())))
    other.close()
    other.close()
    with pytest.raises(Unavailable):
        other.predict(plain)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "objects")


@pytest.fixture
def manifest(
    adapter: SklearnAdapter, store: LocalStore, rows: pa.Table, labels: Labels
) -> Manifest:
    fitted = adapter.fit(make_pipeline(_one_hot(), LogisticRegression()), rows, labels)
    data = adapter.dump(fitted)
    return Manifest(
        model="flights",
        task="binary",
        adapter="sklearn",
        artifact=store.put(data),
        artifact_bytes=len(data),
        signature=signature_of(rows),
        classes=adapter.classes(fitted),
        strategy="train",
        environment=adapter.environment(),
    )


def test_the_two_forms_stand_side_by_side(
    store: LocalStore, manifest: Manifest, rows: pa.Table
) -> None:
    """The whole way, through the store and a child process, by the names of the forms."""
    native, other = (load_plugin("runtimes", form)(manifest, store) for form in ("native", "onnx"))
    demand_equal((native, other), rows)
    native.close()
    other.close()


def test_a_graph_of_the_store_is_opened_by_its_digest(
    store: LocalStore, manifest: Manifest, rows: pa.Table
) -> None:
    """Broken when a graph is served whose bytes nobody verified, or that names files."""
    graph = onnx_graph(SklearnAdapter().load(store.get(manifest.artifact)), manifest.signature)
    digest = store.put(graph)
    by_digest, by_bytes = (
        compiled_runtime(manifest, store, graph=each) for each in (digest, graph)
    )
    assert np.array_equal(by_digest.predict(rows), by_bytes.predict(rows))
    path = store.path / digest[:2] / digest[2:]
    path.chmod(0o644)
    path.write_bytes(graph[:-1] + b"x")
    with pytest.raises(Corrupt):
        compiled_runtime(manifest, store, graph=digest)
    with pytest.raises(NotFound):
        compiled_runtime(manifest, store, graph="af" * 32)
    proto = ModelProto.FromString(graph)
    outside = proto.graph.initializer.add(name="secret", dims=[1], data_type=1)
    outside.data_location = outside.EXTERNAL
    outside.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(Invalid, match="other files: secret"):
        compiled_runtime(manifest, store, graph=store.put(proto.SerializeToString()))


def test_a_version_is_converted_once_for_each_trust(
    store: LocalStore, manifest: Manifest, rows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by a cache that forgets who asked: trust given once would hold for everybody."""
    asked: list[tuple[str, ...]] = []
    graph = onnx_graph(SklearnAdapter().load(store.get(manifest.artifact)), manifest.signature)

    def convert(_manifest: Manifest, _artifact: bytes, *, trust: tuple[str, ...], **_: Any) -> Any:
        asked.append(trust)
        return graph

    monkeypatch.setattr(compiled, "convert", convert)
    monkeypatch.setattr(compiled, "_kept", OrderedDict())
    for trust in ((), (), ("shop.Ratio",), ()):
        runtime = compiled_runtime(manifest, store, trust)
        assert runtime.predict(rows).shape == (600, 2)
        runtime.close()
    assert asked == [(), ("shop.Ratio",)]
    other = manifest
    for place in range(20):
        other = replace(other, adapter=other.adapter, signature=_renamed(place))
        compiled_runtime(other, store).close()
    assert len(compiled._kept) == 8


def test_a_mapped_version_is_its_parents_graph_under_its_map(
    store: LocalStore, manifest: Manifest, rows: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by a compiled form that forgets the map: parity would compare other scores.

    Or by a graph that is kept with a map in it: two maps of one artifact would be one.
    """
    n_converted = 0
    graph = onnx_graph(SklearnAdapter().load(store.get(manifest.artifact)), manifest.signature)

    def convert(*_: Any, **__: Any) -> Any:
        nonlocal n_converted
        n_converted += 1
        return graph

    monkeypatch.setattr(compiled, "convert", convert)
    monkeypatch.setattr(compiled, "_kept", OrderedDict())
    plain = compiled_runtime(manifest, store)
    for step in (Sigmoid((0.5,), (-2.0,)), Temperature(3.0)):
        part = store.put(ScoreMap((step,)).to_bytes())
        mapped = replace(manifest, parts={"score_map": part})
        native, other = load_runtime(mapped, store), compiled_runtime(mapped, store)
        # Half of the log-odds is the square root of a tiny chance, and so of its rounding.
        demand_equal((native, other), rows, within=1e-4)
        assert np.abs(other.predict(rows) - plain.predict(rows)).max() > 0.1
        other.close()
        with pytest.raises(Unavailable):
            other.predict(rows)
    assert n_converted == 1
    damaged = replace(manifest, parts={"score_map": "0" * 64})
    with pytest.raises(NotFound):
        compiled_runtime(damaged, store)


def _renamed(place: int) -> Signature:
    return Signature((Field(f"column{place}", "float"),))


def test_what_loading_refuses_compiling_refuses(store: LocalStore, manifest: Manifest) -> None:
    """Broken by a second way to the bytes that skips the checks of the first."""
    with pytest.raises(NotFound):
        compiled_runtime(replace(manifest, artifact="0" * 64), store)
    newer = {**manifest.environment, "scikit-learn": "99.4.0"}
    with pytest.raises(Invalid, match=r"99\.4\.0"):
        compiled_runtime(replace(manifest, environment=newer), store)
    unread = replace(manifest, artifact=store.put(b"no model at all"))
    with pytest.raises((Invalid, Refused)):
        compiled_runtime(unread, store)
