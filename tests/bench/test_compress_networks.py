"""The benchmark of networks in a small form: a network is trained, compressed and compared.

Breaks when the pieces no longer fit each other, when a peer that is absent is passed over in
silence, or when a model counts as dominated that is better in something.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.compress import beside, nets, networks, peers
from renewal.compress.chain import parse_chain
from renewal.testing.forms import rows_of

TINY = networks.Size(120, 80, 64, 120, {"tiny": 1}, 60.0, 3, 2, is_quick=True)
RECIPE = nets.Recipe(
    "bench.compress.nets:Perceptron", {"widths": [16], "n_inputs": 192}, 3, 5e-3, 1
)


@pytest.fixture(autouse=True)
def _on_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _photos() -> nets.Photos:
    """Return photos of 8 x 8 whose brightness tells their class, nearly."""
    rng = np.random.default_rng(0)
    labels = np.arange(264) % 10
    found = []
    for label in labels:
        shown = np.clip(25 * label + rng.normal(0.0, 20.0, (8, 8, 3)), 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(shown).save(file, "PNG")
        found.append(file.getvalue())
    rows = rows_of(pa.table({"image": pa.array(found, pa.binary())}), labels.astype(object))
    at = np.arange(264)
    return nets.Photos(rows.take(at[:120]), rows.take(at[120:200]), rows.take(at[200:]))


def test_a_network_is_trained_compressed_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RENEWAL_BENCH_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(networks, "PEERS", {"other": ("no_such_package", peers.ort_static)})
    photos = _photos()
    form, seconds = nets.parent_of(RECIPE, photos.train)
    again, kept = nets.parent_of(RECIPE, photos.train)
    assert seconds > 0.0
    assert kept == 0.0
    np.testing.assert_array_equal(
        form.predict(photos.test.features), again.predict(photos.test.features)
    )
    chains = [parse_chain("quantize.half")]
    result = networks.compared("tiny", form, photos, TINY, chains=chains, folder=tmp_path / "bytes")
    assert result.parent.right.mean() > 0.2
    assert result.ours
    assert all("quantize.half" in each.name for each in result.ours)
    assert all(result.size_ratio(each) > 1.2 for each in result.ours)
    assert all(each.lower is not None and each.lower <= 0.0 for each in result.ours)
    beside.show(result)
    beside.tell(result)
    told = capsys.readouterr().out
    assert "NOT RUN: other: pip install 'renewal[peers]'" in told
    figures = [each for each in told.splitlines() if each.startswith("FIGURE networks.tiny.")]
    assert len(figures) == 4


def test_the_quantizers_of_onnx_runtime_make_models_that_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENEWAL_BENCH_CACHE", str(tmp_path))
    photos = _photos()
    form, _ = nets.parent_of(RECIPE, photos.train)
    graph = networks.graph_of(form, photos.train)
    pixels, labels = nets.pixels_of(form, photos.test), nets.labels_of(photos.test)
    subject = peers.Subject(graph, networks.Served(form), pixels[:32], pixels, labels)
    parent = beside.right_of(peers.session_of(graph), pixels, labels)
    ours = beside.right_of(peers.torch_run(subject.module), pixels, labels)
    np.testing.assert_array_equal(parent, ours)
    for make in (peers.ort_static, peers.ort_dynamic):
        made = make(subject)
        assert made.n_bytes != len(graph)
        assert np.mean(beside.right_of(made.run, pixels, labels) == parent) > 0.8


def test_a_peer_is_dominated_only_by_what_is_as_small_as_fast_and_as_good() -> None:
    right = np.arange(200) % 4 != 0
    wrong = np.arange(200) % 2 != 0

    def model(name: str, n_bytes: int, *, is_right: NDArray[np.bool_] = right) -> beside.Model:
        return beside.Model(name, n_bytes, lambda pixels: pixels, is_right, "certified")

    parent, peer = model("parent", 400), model("peer", 100)
    slow, equal = beside.Times(2.0, 2.0), beside.Times(1.0, 1.0)

    def by(ours: beside.Model, times: beside.Times) -> beside.Model | None:
        all_times = {"parent": slow, "peer": equal, ours.name: times}
        found = beside.Result("net", parent, [ours], [peer], all_times, (4.0, 2.0))
        return found.dominates(peer)

    assert by(model("same", 100), equal) is not None
    assert by(model("larger", 101), equal) is None
    assert by(model("slower", 100), beside.Times(1.1, 1.0)) is None
    assert by(model("slower at 64", 100), beside.Times(1.0, 1.1)) is None
    assert by(model("worse", 90, is_right=wrong), equal) is None


def test_without_photos_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(nets, "FOLDER", tmp_path)
    networks.run(quick=True)
    assert "NOT RUN: networks" in capsys.readouterr().out
