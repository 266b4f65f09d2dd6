"""Networks on a GPU: the same scores, the same bytes, and trainings that go on there.

Run them where there is one: ``python -m pytest tests/models/test_torch_cuda.py
tests/serve/test_hosting_cuda.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from renewal.core.errors import Invalid, Unavailable
from renewal.core.progress import Progress, hearing
from renewal.core.spec import Field, Signature
from renewal.data.frame import signature_of
from renewal.models import torch_losses
from renewal.models.layers import Lesson, Tuning
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.torch import TorchAdapter
from renewal.models.torch_device import device_here
from renewal.models.torch_exported import TYPE, program_bytes
from renewal.models.torch_inputs import Reading
from renewal.models.torch_model import TorchModel
from renewal.models.torch_onnx import export
from renewal.models.torch_pretrained import pretrained
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import TransformersModel
from renewal.testing.torch_nets import Dense, Perceptron, ResNet

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that torch can use"
)

NETS = "renewal.testing.torch_nets."
TRUST = (f"{NETS}Dense", f"{NETS}ResNet", f"{NETS}Perceptron", TYPE)
TORCH, TEXTS = TorchAdapter(), TransformersAdapter()
N_ROWS = 256
_RNG = np.random.default_rng(3)
_SIGNAL = _RNG.normal(size=N_ROWS)
NUMBERS = pa.table(
    {
        "signal": _SIGNAL,
        "noise": _RNG.normal(size=N_ROWS),
        "airport": _RNG.choice(["EWR", "JFK", "LGA"], N_ROWS),
    }
)
LATE = np.array(np.where(_SIGNAL > 0, "yes", "no").tolist(), dtype=object)
_PIXELS = _RNG.normal(size=(N_ROWS, 3, 16, 16)).astype(np.float32)
_PIXELS[:, 0] += _SIGNAL[:, None, None].astype(np.float32)
PICTURES = pa.table({"pixels": pa.FixedShapeTensorArray.from_numpy_ndarray(_PIXELS)})
WORDS = pa.table(
    {"text": [f"{'late' if each == 'yes' else 'in time'} again {i % 7}" for i, each in
              enumerate(LATE)]}
)  # fmt: skip
BERT = {
    "model_type": "bert",
    "vocab_size": 320,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
}
HOW = Tuning(epochs=3, batch=32, lr=1e-2, patience=None)
_DENSE = {"n_inputs": 2, "n_texts": 1, "dropout": 0.2}
RECIPES: dict[str, tuple[Any, Any, pa.Table]] = {
    "dense": (TORCH, TorchModel(Dense, _DENSE, HOW), NUMBERS),
    "pictures": (TORCH, TorchModel(ResNet, {"blocks": 2, "width": 32}, HOW), PICTURES),
    "texts": (TEXTS, TransformersModel(BERT, max_length=16, how=HOW), WORDS),
}


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Compute on the CPU from here on."""
    monkeypatch.setenv("RENEWAL_DEVICE", "cpu")
    return monkeypatch


@pytest.fixture(scope="module", params=list(RECIPES))
def learned(request: pytest.FixtureRequest) -> tuple[Any, Any, pa.Table]:
    """Return an adapter, what it fitted on the GPU, and the rows."""
    adapter, recipe, rows = RECIPES[request.param]
    return adapter, adapter.fit(recipe, rows, LATE, seed=1), rows


def _ready(adapter: Any, model: Any, rows: pa.Table) -> Any:
    return adapter.ready(model, signature_of(rows))


def _device_of(model: Any) -> str:
    found: str = next(_module_of(model).parameters()).device.type
    return found


def _module_of(model: Any) -> torch.nn.Module:
    """Return the module of a fitted model of either adapter."""
    assert model.fitted is not None
    return model.fitted.module


def test_it_computes_on_the_gpu_as_on_the_cpu(
    learned: tuple[Any, Any, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken by convolutions in TF32, by weights that stay behind, by other bytes."""
    adapter, model, rows = learned
    assert _device_of(model) == "cuda"
    data = adapter.dump(model)
    there = _ready(adapter, adapter.load(data, TRUST), rows)
    assert _device_of(there) == "cuda"
    found = adapter.predict(there, rows)
    assert np.array_equal(found, adapter.predict(model, rows))
    monkeypatch.setenv("RENEWAL_DEVICE", "cpu")
    here = _ready(adapter, adapter.load(data, TRUST), rows)
    assert _device_of(here) == "cpu"
    np.testing.assert_allclose(found, adapter.predict(here, rows), atol=1e-5)
    assert adapter.dump(here) == adapter.dump(there) == data


def test_a_fit_can_be_repeated(learned: tuple[Any, Any, pa.Table]) -> None:
    """Broken by kernels that add up in the order in which their threads come."""
    adapter, model, rows = learned
    recipe = next(each for _, each, of in RECIPES.values() if of is rows)
    assert adapter.dump(adapter.fit(recipe, rows, LATE, seed=1)) == adapter.dump(model)


class _KilledError(Exception):
    """Ends a training in its middle."""


def _killed(adapter: Any, *args: Any, words: int, **more: Any) -> None:
    heard: list[Progress] = []

    def hear(said: Progress) -> None:
        heard.append(said)
        if len(heard) > words:
            raise _KilledError

    with pytest.raises(_KilledError), hearing(hear):
        adapter.fine_tune(*args, **more)


def _went_on(adapter: Any, *args: Any, **more: Any) -> Any:
    said: list[str] = []
    with hearing(lambda word: said.append(word.text)):
        found = adapter.fine_tune(*args, **more)
    assert said[0].startswith("went on after step")
    return found


@pytest.mark.parametrize("rank", [None, 2])
def test_a_killed_training_goes_on_bit_for_bit(
    tmp_path: Path, learned: tuple[Any, Any, pa.Table], rank: int | None
) -> None:
    adapter, model, rows = learned
    how = replace(HOW, lora_rank=rank, checkpoint_every=1)
    lesson = Lesson(rows, LATE)
    whole = adapter.fine_tune(model, lesson, None, how, seed=3)
    more = {"seed": 3, "scratch": tmp_path / "scratch"}
    _killed(adapter, model, lesson, None, how, words=4, **more)
    resumed = _went_on(adapter, model, lesson, None, how, **more)
    assert adapter.dump(resumed) == adapter.dump(whole)


@pytest.mark.parametrize("first", ["cpu", "cuda"])
def test_a_training_moves_to_another_device(
    tmp_path: Path,
    learned: tuple[Any, Any, pa.Table],
    first: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken by a checkpoint that only the device of its making can read."""
    adapter, model, rows = learned
    data, lesson = adapter.dump(model), Lesson(rows, LATE)
    how = replace(HOW, checkpoint_every=1, lr=1e-3)
    more = {"seed": 3, "scratch": tmp_path / "scratch"}
    monkeypatch.setenv("RENEWAL_DEVICE", first)
    start = _ready(adapter, adapter.load(data, TRUST), rows)
    _killed(adapter, start, lesson, None, how, words=4, **more)
    monkeypatch.setenv("RENEWAL_DEVICE", {"cpu": "cuda", "cuda": "cpu"}[first])
    start = _ready(adapter, adapter.load(data, TRUST), rows)
    resumed = _went_on(adapter, start, lesson, None, how, **more)
    whole = adapter.fine_tune(start, lesson, None, how, seed=3)
    is_alike = np.isclose(
        adapter.predict(resumed, rows), adapter.predict(whole, rows), atol=0.1
    ).mean()  # what dropout draws is another device's
    assert is_alike > 0.9


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns(precision: Any) -> None:
    for adapter, recipe, rows in RECIPES.values():
        how = replace(recipe.how, precision=precision, epochs=10)
        model = adapter.fit(replace(recipe, how=how), rows, LATE, seed=1)
        scores = adapter.predict(model, rows)
        hits = np.array(adapter.classes(model))[scores.argmax(axis=1)] == LATE
        assert hits.mean() > 0.8
        kinds = {each.dtype for each in _module_of(model).parameters()}
        assert kinds == {torch.float32}


def test_partial_fits_go_on_there(learned: tuple[Any, Any, pa.Table]) -> None:
    adapter, model, rows = learned
    if not hasattr(adapter, "partial_fit") or not adapter.capabilities(model).can_partial_fit:
        pytest.skip("this adapter has no partial fits")
    went = adapter.partial_fit(model, rows.slice(0, 64), LATE[:64], seed=2)
    assert _device_of(went) == "cuda"
    new = np.array([*LATE[:32], *["maybe"] * 32], dtype=object)
    wider = adapter.partial_fit(model, rows.slice(0, 64), new, seed=2)
    assert adapter.predict(wider, rows).shape == (N_ROWS, 3)


def test_randomness_outside_is_not_touched() -> None:
    adapter, recipe, rows = RECIPES["dense"]
    torch.cuda.manual_seed(1)
    expected = torch.rand(1, device="cuda")
    torch.cuda.manual_seed(1)
    adapter.fit(recipe, rows, LATE, seed=0)
    assert torch.equal(torch.rand(1, device="cuda"), expected)


def test_rows_that_would_fill_the_gpu_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken by an order of rows that lies on another device than they."""
    adapter, recipe, rows = RECIPES["dense"]
    lesson = Lesson(rows, LATE)
    model = adapter.fit(recipe, rows, LATE, seed=1)
    expected = adapter.fine_tune(model, lesson, lesson, HOW, seed=2)
    monkeypatch.setattr(torch_losses, "_SHARE_FOR_ROWS", 0.0)
    found = adapter.fine_tune(model, lesson, lesson, HOW, seed=2)
    assert adapter.dump(found) == adapter.dump(expected)


def test_a_gpu_that_is_full_is_no_fault_of_the_network(on_cpu: pytest.MonkeyPatch) -> None:
    recipe = TorchModel(Perceptron, {"n_inputs": 2, "width": 6000, "hidden": 3}, HOW)
    rows = NUMBERS.select(["signal", "noise"]).slice(0, 8)
    data = TORCH.dump(pretrained(recipe, rows=rows, classes=("no", "yes")))
    on_cpu.setenv("RENEWAL_DEVICE", "cuda")
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated() + 64 * 2**20
    torch.cuda.set_per_process_memory_fraction(held / torch.cuda.mem_get_info()[1])
    try:
        with pytest.raises(Unavailable, match="out of memory") as caught:
            TORCH.load(data, TRUST)
        assert caught.value.fields["reason"] == "memory"
        with pytest.raises(Unavailable, match="out of memory"):
            TORCH.fit(recipe, rows, LATE[:8], seed=0)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert TORCH.predict(TORCH.load(data, TRUST), rows).shape == (8, 2)


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENEWAL_DEVICE", "cuda:0")
    assert device_here() == torch.device("cuda:0")
    monkeypatch.setenv("RENEWAL_DEVICE", "cuda:63")
    with pytest.raises(Invalid, match="'cuda:63'"):
        device_here()


def test_a_graph_of_it_scores_the_same() -> None:
    """Broken by an export of weights that lie on the GPU."""
    for name in ("dense", "pictures"):
        adapter, recipe, rows = RECIPES[name]
        model = adapter.fit(recipe, rows, LATE, seed=1)
        graph = export(model, signature_of(rows), rows=rows.slice(0, 8))
        found = OnnxAdapter().predict(graph, rows)
        np.testing.assert_allclose(found, adapter.predict(model, rows), atol=1e-4)
        assert _device_of(model) == "cuda"


class Shifted(torch.nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Makes tensors of its own on the device of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.places = torch.nn.Embedding(4, 2)
        self.head = torch.nn.Linear(2, 2)
        self.const = torch.tensor([1.0, 2.0])

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Return logits."""
        place = torch.arange(2, device=numbers.device)[:1]
        found = (numbers + self.places(place)) * self.const.to(numbers.device)
        scores: torch.Tensor = self.head(found + torch.tensor(3.0, device=numbers.device))
        return scores


def _program(device: str) -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    net = Shifted().eval().to(device)
    net.const = net.const.to(device)
    shapes = ({0: torch.export.Dim("n")},)
    return torch.export.export(net, (torch.zeros(2, 2, device=device),), dynamic_shapes=shapes)


_READ = f"""
import sys, numpy as np, pyarrow as pa, torch
from renewal.models.torch import TorchAdapter
assert not torch.cuda.is_available()
model = TorchAdapter().load(open(sys.argv[1], "rb").read(), ({TYPE!r},))
rows = pa.table({{"a": [1.0, 2.0, 3.0], "b": [0.5, 0.0, -1.0]}})
print(TorchAdapter().predict(model, rows).tolist())
"""


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_program_runs_wherever_it_was_exported(tmp_path: Path, device: str) -> None:
    """Broken by the device of the export, which stands in the graph and in its sample inputs."""
    rows = pa.table({"a": [1.0, 2.0, 3.0], "b": [0.5, 0.0, -1.0]})
    program = _program(device)
    recipe = TorchModel(program, reading=Reading(standardize=False))
    model = pretrained(recipe, rows=rows, classes=("no", "yes"))
    assert _device_of(model) == "cuda"
    expected = TORCH.predict(model, rows)
    net = program.module()(torch.tensor([[1.0, 0.5]], device=device))
    np.testing.assert_allclose(net.double().softmax(dim=1).tolist(), expected[:1], atol=1e-5)
    assert program_bytes(program) == program_bytes(program)
    path = tmp_path / "program"
    path.write_bytes(TORCH.dump(model))
    ran = subprocess.run(
        [sys.executable, "-c", _READ, str(path)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    np.testing.assert_allclose(json.loads(ran.stdout), expected, atol=1e-5)
    lesson = Lesson(rows, np.array(["no", "yes", "no"], dtype=object))
    tuned = TORCH.fine_tune(model, lesson, None, HOW, seed=0)
    graph = export(tuned, Signature((Field("a", "float"), Field("b", "float"))), rows=rows)
    scores = TORCH.predict(tuned, rows)
    np.testing.assert_allclose(OnnxAdapter().predict(graph, rows), scores, atol=1e-4)
