"""What makes the inputs of a graph of columns: kept in its bytes, and without torch."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

from renewal.core.errors import Invalid
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_feed import feed_of
from renewal.models.onnx_front import Front, front_of
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_parts import Codes, ImageColumn, Numbers, TensorColumn, Tokens
from renewal.models.pillow_images import written
from renewal.models.transformers_text import trained_tokenizer

ADAPTER = OnnxAdapter()
FRONT = Front(
    (
        Numbers("numbers", (("hour", 8.0, 2.0),), (("day", ("fri", "mon")),)),
        Codes("codes", (("by", ("AA", "UA")),)),
    )
)
ROWS = pa.table(
    {
        "by": ["UA", None, "XX"],
        "hour": [6.0, None, 10.0],
        "day": ["mon", "sun", None],
        "more": [1] * 3,
    }
)


def _graph() -> bytes:
    """Return a graph that adds the numbers of a row to ten times its code."""
    nodes = [
        helper.make_node("Cast", ["codes"], ["code"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["code", "ten"], ["tens"]),
        helper.make_node("ReduceSum", ["numbers", "axis"], ["sum"], keepdims=1),
        helper.make_node("Add", ["tens", "sum"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["rows", 3]),
            helper.make_tensor_value_info("codes", TensorProto.INT64, ["rows", 1]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["rows", 1])],
        [
            numpy_helper.from_array(np.array(10.0, np.float32), "ten"),
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    made: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return made


MODEL = OnnxModel(_graph(), front=FRONT.to_json())
EXPECTED = [20.0, 0.0, 1.0]


def test_gaps_unseen_texts_and_known_ones_become_what_the_fit_made_of_them() -> None:
    """Broken when a gap is no mean, an unseen text no zero, or columns go by their place."""
    feed = feed_of(MODEL, ROWS)
    assert feed["numbers"].tolist() == [[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert feed["codes"].tolist() == [[2], [0], [0]]
    assert {each.dtype.name for each in feed.values()} == {"float32", "int64"}
    assert ADAPTER.predict(MODEL, ROWS)[:, 0].tolist() == EXPECTED
    assert ADAPTER.predict(MODEL, ROWS.select(["more", "day", "hour", "by"])).shape == (3, 1)


@pytest.mark.parametrize("n_rows", [0, 1, 7, 512, 1025])
def test_rows_keep_their_order_whatever_the_batches(n_rows: int) -> None:
    many = ROWS.take(np.arange(n_rows) % 3)
    found = ADAPTER.predict(MODEL, many)
    assert found.shape == (n_rows, 1)
    assert found[:, 0].tolist() == [EXPECTED[at % 3] for at in range(n_rows)]


def test_bytes_copies_and_pickles_carry_the_front() -> None:
    ADAPTER.predict(MODEL, ROWS)
    stored = ADAPTER.dump(MODEL)
    assert stored == ADAPTER.dump(ADAPTER.load(stored))
    for again in (ADAPTER.load(stored), copy.deepcopy(MODEL), pickle.loads(pickle.dumps(MODEL))):  # noqa: S301  # our own
        assert again.front == MODEL.front
        assert again.columns == FRONT
        assert ADAPTER.predict(again, ROWS)[:, 0].tolist() == EXPECTED


def test_what_was_written_before_there_were_fronts_loads_as_it_did() -> None:
    graph = _graph()
    header: dict[str, object] = {
        "classes": [],
        "output": None,
        "is_logits": False,
        "threads": 1,
        "n_bytes": len(graph),
    }
    old = b"renewal.onnx.1\n" + json.dumps(header).encode() + b"\n" + graph
    found = ADAPTER.load(old)
    assert found.front is None
    assert found.columns is None
    assert found.graph == graph


def test_a_damaged_front_is_told_from_a_whole_one() -> None:
    """Broken when a front is first looked at by the first request."""
    stored = ADAPTER.dump(MODEL)
    head, _, body = stored.partition(b"\n")[2].partition(b"\n")
    for damaged in (body[:20] + bytes([body[20] ^ 255]) + body[21:], body[1:], body[:-1]):
        with pytest.raises(Invalid):
            ADAPTER.load(b"renewal.onnx.1\n" + head + b"\n" + damaged)
    said = json.loads(head) | {"front": [1, 2, 3]}
    with pytest.raises(Invalid):
        ADAPTER.load(b"renewal.onnx.1\n" + json.dumps(said).encode() + b"\n" + body)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format":2,"parts":[]}',
        '{"format":1,"parts":[]}',
        '{"format":1,"parts":[{"kind":"code"}]}',
        '{"format":1,"parts":[{"kind":"numbers","input":"x"}]}',
        '{"format":1,"parts":[{"kind":"numbers","input":"x","columns":[[1,0.0,1.0]]}]}',
        '{"format":1,"parts":[{"kind":"numbers","input":"x","columns":3}]}',
        '{"format":1,"parts":[3]}',
    ],
)
def test_other_texts_are_no_front(text: str) -> None:
    with pytest.raises(Invalid, match="a front of the format 1"):
        OnnxModel(MODEL.graph, front=text)


def test_missing_and_wrong_columns_are_named() -> None:
    with pytest.raises(Invalid, match="none called 'hour'") as missing:
        ADAPTER.predict(MODEL, ROWS.drop_columns(["hour"]))
    assert missing.value.fields["columns"] == ["hour"]
    wrong = ROWS.set_column(1, "hour", pa.array(["six", "seven", "ten"]))
    with pytest.raises(Invalid, match="columns of the types of the fit"):
        ADAPTER.predict(MODEL, wrong)
    with pytest.raises(Invalid, match="1 infinite ones in the column 'hour'"):
        ADAPTER.predict(MODEL, ROWS.set_column(1, "hour", pa.array([1.0, float("inf"), 0.0])))


def test_tensors_and_images_keep_their_shape() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 3)).astype(np.uint8)
    values = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    rows = pa.table(
        {
            "photo": pa.array(written(pixels), pa.binary()),
            "signal": pa.FixedShapeTensorArray.from_numpy_ndarray(values),
        }
    )
    parts = (TensorColumn("t", "signal", (2, 3)), ImageColumn("i", "photo", (1, 4, 3)))
    front = front_of(Front(parts).to_json())
    front.ready()
    feed = front.feed(rows)
    assert np.array_equal(feed["t"], values)
    assert np.array_equal(feed["i"], pixels)
    (_, first), (_, second) = front.batches(rows.take(np.arange(600) % 5))
    assert (len(first["i"]), len(second["t"])) == (512, 88)
    with pytest.raises(Invalid, match="rows of shape"):
        Front((TensorColumn("t", "signal", (3, 3)),)).feed(rows)
    with pytest.raises(Invalid, match="rows of shape"):
        Front((ImageColumn("i", "photo", (1, 3, 4)),)).feed(rows)
    scaled = Front((ImageColumn("i", "photo", (1, 2, 2), (2, 2)),)).feed(rows)
    assert scaled["i"].shape == (5, 1, 2, 2)


def test_texts_are_cut_padded_and_given_back_in_their_order() -> None:
    """Broken when rows that were sorted by length for padding stay so."""
    tokenizer = trained_tokenizer(["card lost", "my money"], 270)
    tokens = Tokens("ids", "mask", ("title", "text"), tokenizer, max_length=6, pad=0)
    front = front_of(Front((tokens, Numbers("n", (("x", 0.0, 1.0),)))).to_json())
    texts = ["card " * 50, None, "", "a"] * 40
    rows = pa.table({"text": texts, "title": [None] * 160, "x": np.arange(160.0)})
    seen = np.zeros(160)
    widths = set()
    for at, feed in front.batches(rows):
        assert len(at) <= 64
        assert feed["n"][:, 0].tolist() == at.tolist()
        assert feed["mask"].sum(axis=1).max() == feed["ids"].shape[1] <= 6
        widths.add(feed["ids"].shape[1])
        seen[at] += feed["mask"].sum(axis=1)
    assert len(widths) > 1
    assert len(set(seen[0::4])) == len(set(seen[3::4])) == 1
    assert seen[0] == 6 > seen[3] > seen[1] == seen[2]
    assert [len(at) for at, _ in front.batches(rows.slice(0, 0))] == []


_BARE = """
import sys
{block}
import pyarrow as pa
from renewal.models.onnx_adapter import OnnxAdapter
adapter = OnnxAdapter()
model = adapter.load(open(sys.argv[1], "rb").read())
{run}
heavy = {{"torch", "transformers", "tokenizers", "PIL"}}
print(*sorted({{name.split(".")[0] for name in sys.modules}} & heavy))
"""


def _bare(path: Path, *, run: str, block: str = "") -> list[str]:
    program = _BARE.format(run=run, block=block)
    ran = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return ran.stdout.split("\n")


def test_a_server_needs_no_library_that_no_column_asks_for(tmp_path: Path) -> None:
    """Broken by an import of torch, tokenizers or Pillow on the way to a graph of numbers."""
    path = tmp_path / "model"
    path.write_bytes(ADAPTER.dump(MODEL))
    rows = {name: ROWS[name].to_pylist() for name in ("by", "hour", "day")}
    ready = "from renewal.core.spec import Signature; adapter.ready(model, Signature(()))"
    run = f"{ready}\nprint(adapter.predict(model, pa.table({rows!r}))[:, 0].tolist())"
    assert _bare(path, run=run) == [str(EXPECTED), "", ""]


def test_a_server_without_the_tokenizer_says_so_before_the_first_request(tmp_path: Path) -> None:
    tokenizer = trained_tokenizer(["card lost"], 270)
    front = Front((Tokens("numbers", "codes", ("text",), tokenizer, 6, 0),))
    path = tmp_path / "model"
    path.write_bytes(ADAPTER.dump(OnnxModel(_graph(), front=front.to_json())))
    run = """
from renewal.core.errors import Missing
from renewal.core.spec import Signature
try:
    adapter.ready(model, Signature(()))
except Missing as error:
    print("pip install tokenizers" in str(error))
"""
    found = _bare(path, run=run, block='sys.modules["tokenizers"] = None')
    assert found[0] == "True"
