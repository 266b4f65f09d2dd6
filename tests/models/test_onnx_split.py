"""A large graph written apart: the same graph, and nothing that it was not."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from renewal.core.errors import Invalid
from renewal.models.onnx_split import GRAPH, WEIGHTS, split

LARGE = 70_000


def model_of(*tensors: Any, name: str = "x", nodes: list[Any] | None = None) -> Any:
    made = helper.make_graph(
        nodes or [helper.make_node("Identity", [name], ["y"])],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        list(tensors),
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def raw(name: str, n_bytes: int) -> Any:
    return numpy_helper.from_array(np.arange(n_bytes, dtype=np.uint32).astype(np.uint8), name)


def apart(data: bytes, folder: Path, *, most: int = 1 << 20) -> int:
    """Split bytes that come in pieces of at most so many."""
    source = BytesIO(data)
    return split(lambda n: source.read(min(n, most)), len(data), folder)


@st.composite
def models(draw: st.DrawFn) -> Any:
    """Draw a graph with weights of both sides of the limit, as bytes and as numbers."""
    tensors = []
    for at in range(draw(st.integers(0, 4))):
        n_numbers = draw(st.sampled_from([0, 3, 20_000, LARGE]))
        numbers = np.arange(n_numbers, dtype=draw(st.sampled_from([np.uint8, np.float32])))
        name = draw(st.sampled_from(["w", "location", "ä" * 200])) + str(at)
        kind = helper.np_dtype_to_tensor_dtype(numbers.dtype)
        tensors.append(
            numpy_helper.from_array(numbers, name)
            if draw(st.booleans())
            else helper.make_tensor(name, kind, numbers.shape, numbers.tolist())
        )
    inner = helper.make_node("Constant", [], ["c"], value=raw("", LARGE))
    found = model_of(*tensors, nodes=[inner, helper.make_node("Identity", ["x"], ["y"])])
    helper.set_model_props(found, {"location": "here", "plain": "x" * draw(st.integers(0, 300))})
    return found


@settings(max_examples=25, deadline=None)
@given(models(), st.sampled_from([1, 7, 65_537, 1 << 20]))
def test_what_is_put_together_again_is_what_was_there(model: Any, most: int) -> None:
    """Broken when a field is lost, a length is wrong, or a piece ends in a bad place."""
    most = most if len(model.SerializeToString()) < 50_000 else max(most, 5_000)
    with TemporaryDirectory() as name:
        folder = Path(name)
        n_weights = apart(model.SerializeToString(), folder, most=most)
        graph = onnx.load(folder / GRAPH, load_external_data=False)
        outside = [
            each for each in graph.graph.initializer if each.data_location == TensorProto.EXTERNAL
        ]
        large = [each for each in model.graph.initializer if len(each.raw_data) >= 1 << 16]
        assert [each.name for each in outside] == [each.name for each in large]
        assert n_weights == sum(len(each.raw_data) for each in large)
        assert all(int(each.external_data[1].value) % 4096 == 0 for each in outside)
        whole = onnx.load(folder / GRAPH)
        for each in whole.graph.initializer:
            each.ClearField("data_location")
        assert whole == model


def test_bytes_that_are_cut_off_anywhere_are_no_graph(tmp_path: Path) -> None:
    """Broken when half of a model is opened, or ends in another error than ours."""
    data = model_of(raw("w", LARGE)).SerializeToString()
    places = {*range(0, len(data), 997), *range(60), *range(len(data) - 60, len(data))}
    for n_bytes in sorted(places):
        with pytest.raises(Invalid):
            split(BytesIO(data[:n_bytes]).read, len(data), tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 250))
def test_any_bytes_give_files_or_our_error(noise: bytes, at: int) -> None:
    data = model_of(raw("w", 100)).SerializeToString()
    data = data[:at] + noise + data[at + len(noise) :]
    with TemporaryDirectory() as name:
        try:
            apart(data, Path(name))
        except Invalid:
            return
        assert (Path(name) / GRAPH).exists()


def external(**entries: str) -> Any:
    tensor = TensorProto(name="secret", dims=[2], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def in_a_branch(tensor: Any) -> Any:
    branch = model_of(tensor).graph
    return model_of(
        nodes=[helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)]
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: model_of(external(location="../secrets"), raw("w", LARGE)),
        lambda: model_of(external(location="*/_ORT_MEM_ADDR_/*", offset="4096", length="8")),
        lambda: model_of(external(location=WEIGHTS, offset="1", length="8"), raw("w", LARGE)),
        lambda: in_a_branch(external(location="/etc/passwd")),
        lambda: model_of(
            nodes=[
                helper.make_node("Constant", [], ["c"], value=external(location="/etc/passwd")),
                helper.make_node("Identity", ["x"], ["y"]),
            ]
        ),
    ],
    ids=["outside", "memory", "beyond the weights", "branch", "constant"],
)
@pytest.mark.parametrize("most", [1, 1 << 20])
def test_weights_in_other_files_are_refused(
    make: Callable[[], Any], most: int, tmp_path: Path
) -> None:
    """Broken when a graph may name a file, or an address, that the server would read."""
    with pytest.raises(Invalid, match="other files: secret"):
        apart(make().SerializeToString(), tmp_path, most=most)


def test_a_column_called_location_is_no_file(tmp_path: Path) -> None:
    model = model_of(raw("location", LARGE), name="location in town")
    assert apart(model.SerializeToString(), tmp_path) == LARGE
