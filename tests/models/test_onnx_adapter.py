"""Graphs that came from elsewhere: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

import renewal
from renewal.core.errors import Invalid
from renewal.models.load import load_runtime
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_model import CLASSES_KEY, LOGITS_KEY, OnnxModel

ADAPTER = OnnxAdapter()
_WIDTH = {"FLOAT": TensorProto.FLOAT, "INT64": TensorProto.INT64, "STRING": TensorProto.STRING}


def graph_of(
    nodes: list[Any],
    inputs: dict[str, tuple[str, list[Any]]],
    outputs: dict[str, list[Any]],
    weights: tuple[Any, ...] = (),
) -> Any:
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(n, _WIDTH[kind], s) for n, (kind, s) in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        list(weights),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def linear(slopes: list[list[float]]) -> Any:
    """Return a graph that multiplies two columns by slopes of shape (2, n_scores)."""
    weights = numpy_helper.from_array(np.array(slopes, dtype=np.float32), "w")
    return graph_of(
        [helper.make_node("MatMul", ["rows", "w"], ["out"])],
        {"rows": ("FLOAT", [None, 2])},
        {"out": [None, len(slopes[0])]},
        (weights,),
    )


ROWS = pa.table({"x": [0.0, 2.0], "y": [1.0, -1.0]})
LOGITS = linear([[2.0, 0.0, -2.0], [0.0, 0.0, 0.0]])


def test_logits_are_never_taken_for_probabilities() -> None:
    """Broken when scores are only normalized: logits of a network would look like shares."""
    with pytest.raises(Invalid, match="is_logits=True"):
        ADAPTER.predict(OnnxModel.read(LOGITS, classes=("a", "b", "c")), ROWS)
    model = OnnxModel.read(LOGITS, classes=("a", "b", "c"), is_logits=True)
    scores = ADAPTER.predict(model, ROWS)
    assert scores[0].tolist() == pytest.approx([1 / 3] * 3)
    assert scores[1].argmax() == 0


def test_one_column_answers_for_the_second_of_two_classes() -> None:
    one = OnnxModel.read(linear([[1.0], [0.0]]), classes=(False, True), is_logits=True)
    assert ADAPTER.predict(one, ROWS)[:, 1].tolist() == pytest.approx([0.5, 0.8808], abs=1e-4)
    share = OnnxModel.read(linear([[0.25], [0.0]]), classes=(False, True))
    assert ADAPTER.predict(share, ROWS).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_classes_come_out_sorted_whatever_the_order_of_the_graph() -> None:
    model = OnnxModel.read(LOGITS, classes=("c", "b", "a"), is_logits=True)
    assert ADAPTER.classes(model) == ("a", "b", "c")
    assert ADAPTER.predict(model, ROWS)[1].argmax() == 2


def test_what_the_metadata_say_counts_and_what_is_handed_in_counts_more() -> None:
    proto = onnx.ModelProto.FromString(LOGITS.SerializeToString())
    helper.set_model_props(proto, {CLASSES_KEY: '["a", "b", "c"]', LOGITS_KEY: "true"})
    model = OnnxModel.read(proto)
    assert (model.classes, model.is_logits) == (("a", "b", "c"), True)
    assert OnnxModel.read(proto, classes=(1, 2, 3)).classes == (1, 2, 3)
    helper.set_model_props(proto, {CLASSES_KEY: "a, b"})
    with pytest.raises(Invalid, match="JSON list"):
        OnnxModel.read(proto)


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    """Broken when a graph may name a file that the server would read."""
    whole = tmp_path / "whole.onnx"
    onnx.save(LOGITS, whole)
    assert ADAPTER.predict(OnnxModel.read(whole), ROWS.slice(0, 0)).shape == (0, 1)
    outside = tmp_path / "outside.onnx"
    proto = onnx.ModelProto.FromString(LOGITS.SerializeToString())
    onnx.save(proto, outside, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(Invalid, match="other files: w"):
        OnnxModel.read(outside)
    inner = linear([[1.0], [1.0]])
    inner.graph.initializer[0].data_location = TensorProto.EXTERNAL
    then = helper.make_node("If", ["c"], ["out"], then_branch=inner.graph, else_branch=inner.graph)
    nested = graph_of([then], {"c": ("FLOAT", [1])}, {"out": [None, 1]})
    with pytest.raises(Invalid, match="other files"):
        OnnxModel.read(nested)


def test_a_graph_has_no_recipe_and_each_verb_says_so() -> None:
    model = OnnxModel.read(LOGITS)
    declared = ADAPTER.capabilities(model)
    assert not declared.can_refit
    verbs: list[Callable[[], Any]] = [
        lambda: ADAPTER.fit(model, ROWS, np.zeros(2)),
        lambda: ADAPTER.partial_fit(model, ROWS, np.zeros(2)),
        lambda: ADAPTER.continue_fit(model, ROWS, np.zeros(2), way="boost"),
    ]
    for verb in verbs:
        with pytest.raises(Invalid, match=declared.why_not["refit"]):
            verb()


def test_tensors_go_in_as_they_are() -> None:
    """Broken by a column of images that is flattened on its way to a network."""
    images = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
    made: Any = pa.FixedShapeTensorArray
    column = made.from_numpy_ndarray(images)
    proto = graph_of(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["means"]),
            helper.make_node("Flatten", ["means"], ["out"]),
        ],
        {"images": ("FLOAT", [None, 3, 4, 4])},
        {"out": [None, 3]},
    )
    model = OnnxModel.read(proto, classes=(0, 1, 2), is_logits=True)
    scores = ADAPTER.predict(model, pa.table({"picture": column}))
    means = images.mean(axis=(2, 3))
    expected = np.exp(means - means.max(axis=1, keepdims=True))
    assert np.allclose(scores, expected / expected.sum(axis=1, keepdims=True), atol=1e-6)


def test_inputs_without_a_column_and_columns_of_another_type_are_named() -> None:
    two = graph_of(
        [helper.make_node("Add", ["x", "z"], ["out"])],
        {"x": ("FLOAT", [None, 1]), "z": ("FLOAT", [None, 1])},
        {"out": [None, 1]},
    )
    with pytest.raises(Invalid, match="'z'"):
        ADAPTER.predict(OnnxModel.read(two), ROWS)
    model = OnnxModel.read(linear([[1.0], [1.0]]))
    wide = ROWS.append_column("w", pa.array([1.0, 2.0]))
    with pytest.raises(Invalid, match="3 columns"):
        ADAPTER.predict(model, wide)
    texts = ROWS.set_column(1, "y", pa.array(["a", "b"]))
    with pytest.raises(Invalid, match="string"):
        ADAPTER.predict(model, texts)


def test_whole_numbers_with_a_gap_are_refused_and_not_made_up() -> None:
    whole = graph_of(
        [helper.make_node("Cast", ["n"], ["out"], to=TensorProto.FLOAT)],
        {"n": ("INT64", [None, 1])},
        {"out": [None, 1]},
    )
    model = OnnxModel.read(whole)
    assert ADAPTER.predict(model, pa.table({"n": [3, 4]})).tolist() == [[3.0], [4.0]]
    with pytest.raises(Invalid, match="1 gaps"):
        ADAPTER.predict(model, pa.table({"n": [3, None]}))


def test_several_outputs_want_a_name() -> None:
    both = graph_of(
        [
            helper.make_node("Identity", ["rows"], ["one"]),
            helper.make_node("Neg", ["rows"], ["other"]),
        ],
        {"rows": ("FLOAT", [None, 1])},
        {"one": [None, 1], "other": [None, 1]},
    )
    rows = pa.table({"x": [1.0]})
    with pytest.raises(Invalid, match="output="):
        ADAPTER.predict(OnnxModel.read(both), rows)
    assert ADAPTER.predict(OnnxModel.read(both, output="other"), rows).tolist() == [[-1.0]]
    with pytest.raises(Invalid, match="one: tensor"):
        ADAPTER.predict(OnnxModel.read(both, output="third"), rows)


@pytest.mark.parametrize("data", [b"", b"no graph", b"\x80\x05K*."])
def test_what_is_no_graph_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match="ONNX graph"):
        OnnxModel.read(data)


def test_an_operator_that_nobody_knows_is_named_when_it_is_made_ready() -> None:
    proto = graph_of(
        [helper.make_node("Frobnicate", ["rows"], ["out"])],
        {"rows": ("FLOAT", [None, 1])},
        {"out": [None, 1]},
    )
    with pytest.raises(Invalid, match="Frobnicate"):
        _ = OnnxModel.read(proto).session


def test_a_session_is_left_behind_by_a_pickle() -> None:
    """Broken by a model that cannot go to a worker process once it has predicted."""
    model = OnnxModel.read(LOGITS, classes=(1, 2, 3), is_logits=True)
    before = ADAPTER.predict(model, ROWS)
    again = pickle.loads(pickle.dumps(model))  # noqa: S301  # written in the same line
    assert np.array_equal(ADAPTER.predict(again, ROWS), before)
    assert ADAPTER.dump(again) == ADAPTER.dump(model)


def dumped(weights: Any) -> tuple[OnnxModel, bytes]:
    model = OnnxModel.read(linear(weights.tolist()), is_logits=True)
    return model, ADAPTER.dump(model)


def test_zeros_take_no_room_and_dense_weights_are_not_packed_for_nothing() -> None:
    """Broken when unstructured pruning leaves the artifact as large as it was."""
    dense = np.random.default_rng(0).normal(size=(2, 4000)).astype(np.float32)
    model, data = dumped(dense)
    assert data.endswith(model.graph)
    thin = np.where(np.abs(dense) > 1.6, dense, 0.0)
    model, data = dumped(thin)
    assert len(data) < 0.25 * len(model.graph)
    again = ADAPTER.load(data)
    assert again.graph == model.graph
    assert again.is_logits


def test_a_dump_of_before_packing_loads() -> None:
    model = OnnxModel.read(LOGITS, classes=("a", "b", "c"), is_logits=True)
    line = (
        b'{"classes": ["a", "b", "c"], "output": null, "is_logits": true, "threads": 1, '
        b'"n_bytes": %d}\n' % len(model.graph)
    )
    again = ADAPTER.load(b"renewal.onnx.1\n" + line + model.graph)
    assert (again.graph, again.classes) == (model.graph, model.classes)


@pytest.mark.parametrize("said", [1, 10, 10**12, -1, "many", None])
def test_a_packed_graph_never_unpacks_to_more_than_its_header_says(said: Any) -> None:
    """Broken by a bomb: a short file that fills the memory of the server."""
    _, data = dumped(np.zeros((2, 4000)))
    magic, line, packed = data.split(b"\n", 2)
    header = json.loads(line)
    assert header["packed"] == "zstd"
    bad = b"\n".join([magic, json.dumps({**header, "n_bytes": said}).encode(), packed])
    with pytest.raises(Invalid, match=r"OnnxAdapter\.load"):
        ADAPTER.load(bad)
    unknown = b"\n".join([magic, json.dumps({**header, "packed": "lzma"}).encode(), packed])
    with pytest.raises(Invalid, match="lzma"):
        ADAPTER.load(unknown)
    with pytest.raises(Invalid, match=r"OnnxAdapter\.load"):
        ADAPTER.load(data[:-3])


@pytest.mark.parametrize(
    "changed",
    [
        {"threads": "two"},
        {"threads": 10**9},
        {"threads": 0},
        {"classes": [{}, {}]},
        {"classes": 3},
        {"front": [1]},
        {"front": [-5, 100]},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_header_that_somebody_has_changed_is_told_by_a_typed_error(
    changed: dict[str, Any],
) -> None:
    _, data = dumped(np.zeros((2, 4000)))
    magic, line, packed = data.split(b"\n", 2)
    header = json.dumps({**json.loads(line), **changed}).encode()
    with pytest.raises(Invalid):
        ADAPTER.load(b"\n".join([magic, header, packed]))


@pytest.mark.parametrize("line", [b"[1]", b"3", b"[" * 100_000, b"\xff"], ids=len)
def test_a_header_that_is_none_is_told_by_a_typed_error(line: bytes) -> None:
    with pytest.raises(Invalid, match=r"OnnxAdapter\.load"):
        ADAPTER.load(b"renewal.onnx.1\n" + line + b"\n...")


def test_a_graph_is_registered_recalibrated_and_served(tmp_path: Path) -> None:
    """Broken when a step from a file to a served version asks for a recipe."""

    def rows(n: int, seed: int) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, n))
        late = rng.random(n) < 1 / (1 + np.exp(-x))
        return {"x": x, "y": y, "target": late}

    sure = OnnxModel.read(linear([[9.0], [0.0]]), classes=(False, True), is_logits=True)
    with renewal.open(tmp_path) as home:
        model = home.model("m", task="binary", target="target")
        model.feed.append(rows(50, 1))
        first = model.register(sure)
        assert first.manifest.adapter == "onnx"
        model.feed.append(rows(1500, 2))
        update = model.update(["recalibrate", "retrain"])
        outcomes = {each["recipe"]: each["outcome"] for each in update.entries}
        assert outcomes["recalibrate"] == "made"
        assert outcomes["retrain"] != "made"
        assert update.verdict is not None
        assert update.verdict.outcome == "accept"  # it was far too sure of itself
        runtime = load_runtime(first.manifest, home.store)
        asked = pa.table({"y": [0.0], "x": [0.1]})
        assert runtime.predict(asked)[0, 1] == pytest.approx(1 / (1 + np.exp(-0.9)), abs=1e-6)
        runtime.close()
