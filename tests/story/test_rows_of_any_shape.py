"""A model that reads a text, an image and a tensor: fed, trained, asked over HTTP, and fed again.

The whole house without a double. What would break it: any room that loses a shape, turns an
image on its side, or takes bytes for text.
"""

import http.client
import io
import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewal.assemble.home import Home, open_home
from renewal.cli.opening import read_data
from renewal.core.clock import ReplayClock
from renewal.core.spec import Field
from renewal.data.rows import Rows
from renewal.serve.server import Server

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

START = datetime(2026, 1, 5, tzinfo=UTC)
SHAPE = (2, 3)
KINDS = ["a cat", "a dog", "a bird"]
COLORS = [(250, 10, 10), (10, 250, 10), (10, 10, 250)]

# The label is in no column alone: a word, a color and the sum of a tensor are added up.
NETS = '''
import torch
from torch import nn


class AllThree(nn.Module):
    """Reads a word, a tensor and an image, in this order."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(256, 4)
        self.pixels = nn.Linear(6, 4)
        self.head = nn.Linear(11, 2)

    def forward(self, words, pixels, image):
        parts = self.words(words[:, 0]), self.pixels(pixels.flatten(1)), image.mean((2, 3))
        return self.head(torch.cat(parts, dim=1))
'''


def png(color: tuple[int, int, int]) -> bytes:
    """Return an image whose upper half is white."""
    picture = pil.new("RGB", (6, 4), color)
    picture.paste((255, 255, 255), (0, 0, 6, 2))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def made(seed: int, n: int) -> dict[str, Any]:
    """Return n rows with their labels."""
    rng = np.random.default_rng(seed)
    word, color = rng.integers(0, 3, (2, n))
    sums = rng.normal(size=(n, *SHAPE)).astype(np.float32)
    score = word + color + sums.sum(axis=(1, 2))
    return {
        "id": [f"{seed}-{at}" for at in range(n)],
        "at": [START + timedelta(minutes=at) for at in range(n)],
        "text": [KINDS[at] for at in word],
        "image": [png(COLORS[at]) for at in color],
        "sums": sums,
        "liked": (score > 2).astype(np.int64),
    }


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    (tmp_path / "shown_nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "home").mkdir()
    policy = 'trust = ["shown_nets.AllThree"]\n'
    (tmp_path / "home" / "renewal.toml").write_text(policy, encoding="utf-8")
    with open_home(tmp_path / "home", clock=ReplayClock(START + timedelta(days=1))) as opened:
        yield opened


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    """Write rows as another program would: Arrow tensors in a Parquet file."""
    rows = made(1, 300)
    rows["sums"] = pa.FixedShapeTensorArray.from_numpy_ndarray(rows["sums"])
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(rows), path)
    return path


def body(rows: dict[str, Any], n: int) -> dict[str, Any]:
    """Return a request of the first n rows, the tensor nested."""
    images = [b64encode(each).decode() for each in rows["image"][:n]]
    return {
        "inputs": [
            {"name": "text", "shape": [n], "datatype": "BYTES", "data": rows["text"][:n]},
            {"name": "image", "shape": [n], "datatype": "BYTES", "data": images},
            {
                "name": "sums",
                "shape": [n, *SHAPE],
                "datatype": "FP32",
                "data": rows["sums"][:n].tolist(),
            },
        ],
        "parameters": {"key": rows["id"][:n]},
    }


def sent(server: Server, method: str, path: str, value: Any = None) -> tuple[int, Any]:
    """Send a request; return status and body."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    connection.request(method, path, None if value is None else json.dumps(value))
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def same(found: Rows, wanted: dict[str, Any], n: int) -> None:
    """Compare what the feed kept with what was sent, row by row."""
    at = [found.key.tolist().index(key) for key in wanted["id"][:n]]
    kept = found.take(np.array(at)).features
    assert kept["text"].to_pylist() == wanted["text"][:n]
    assert kept["image"].to_pylist() == wanted["image"][:n]
    values = kept["sums"].combine_chunks().flatten().to_numpy().reshape(n, *SHAPE)
    assert np.array_equal(values, wanted["sums"][:n])


def test_a_text_an_image_and_a_tensor_go_all_the_way(home: Home, rows_file: Path) -> None:
    from renewal.models.layers import Tuning  # noqa: PLC0415  # after the skips above
    from renewal.models.torch_model import TorchModel  # noqa: PLC0415  # it imports torch

    model = home.model("pets", task="binary", target="liked", key="id", time="at")
    model.feed.append(read_data(rows_file))
    known = model.feed.signature()
    assert known is not None
    assert known.fields == (
        Field("text", "string"),
        Field("image", "bytes"),
        Field("sums", "tensor", shape=SHAPE),
    )
    same(model.feed.rows(), made(1, 300), 300)
    recipe = TorchModel("shown_nets:AllThree", how=Tuning(epochs=30, batch=32))
    version = model.train(recipe, read_data(rows_file))
    assert version.manifest.signature == known

    asked = made(2, 60)
    server = home.serve(port=0)
    try:
        _, said = sent(server, "GET", "/v2/models/pets")
        assert [(each["datatype"], each["shape"]) for each in said["inputs"]] == [
            ("BYTES", [-1]),
            ("BYTES", [-1]),
            ("FP32", [-1, *SHAPE]),
        ]
        status, answer = sent(server, "POST", "/v2/models/pets/infer", body(asked, 60))
        assert status == http.client.OK, answer
        (labels,) = (each["data"] for each in answer["outputs"] if each["name"] == "label")
        assert np.mean(np.array(labels) == asked["liked"]) > 0.85
        turned = body(asked, 1)
        turned["inputs"][2] |= {"shape": [1, 3, 2], "data": asked["sums"][0].ravel().tolist()}
        status, answer = sent(server, "POST", "/v2/models/pets/infer", turned)
        assert status == http.client.BAD_REQUEST
        assert list(answer) == ["error"]
        assert "'sums'" in answer["error"]
        server.flush()
    finally:
        server.stop()
    # A look takes in what was served, and the monitor watches all three columns.
    model.tick()
    same(model.feed.rows(), asked, 60)
    assert len(model.feed.predictions().key) == 60
