"""Networks as graphs: equal or refused, and served without torch."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.core.spec import Field, Signature
from renewal.models.layers import Lesson, Tuning
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_model import OnnxModel
from renewal.models.pillow_images import written
from renewal.models.torch import TorchAdapter
from renewal.models.torch_graph import Example, demand_equal, graph_of
from renewal.models.torch_inputs import Reading, learn_inputs
from renewal.models.torch_model import Fitted, TorchModel
from renewal.models.torch_onnx import export
from renewal.models.torch_pretrained import pretrained
from renewal.testing.torch_nets import Dense, Pixels

ADAPTER, SERVED = TorchAdapter(), OnnxAdapter()
HOW = Tuning(epochs=2, patience=None)
N_ROWS = 24
_RNG = np.random.default_rng(11)
NUMBERS = pa.table({"a": _RNG.normal(5.0, 3.0, N_ROWS), "b": _RNG.integers(0, 9, N_ROWS)})
_PIXELS = _RNG.integers(0, 256, (N_ROWS, 3, 6, 6)).astype(np.uint8)
_SIGNALS = _RNG.normal(size=(N_ROWS, 2, 3)).astype(np.float32)
ALL = (
    NUMBERS.append_column("by", pa.array(_RNG.choice(["UA", "AA", "DL"], N_ROWS)))
    .append_column("signal", pa.FixedShapeTensorArray.from_numpy_ndarray(_SIGNALS))
    .append_column("photo", pa.array(written(_PIXELS), pa.binary()))
)
LABELS = np.array(_RNG.choice(["early", "late"], N_ROWS).tolist(), dtype=object)


def _signature(rows: pa.Table) -> Signature:
    return Signature(tuple(Field(name, "float") for name in rows.column_names))


def _as_fitted(
    module: nn.Module, rows: pa.Table = NUMBERS, reading: Reading | None = None
) -> TorchModel:
    """Return a network of a class that no other process could import, as it lies in memory."""
    reading = reading or Reading()
    inputs = learn_inputs(rows, reading, who="a test")
    fitted = Fitted(module.eval(), inputs, ("early", "late"), None)
    return TorchModel("nowhere:Net", reading=reading, fitted=fitted)


def _far(model: OnnxModel, estimator: TorchModel, rows: pa.Table) -> float:
    return float(np.abs(SERVED.predict(model, rows) - ADAPTER.predict(estimator, rows)).max())


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Everything(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Takes a tensor of each kind, with dropout and a normalization on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(2 + 3 + 6 + 4, 2)

    def forward(self, numbers: Tensor, codes: Tensor, signal: Tensor, photo: Tensor) -> Tensor:
        seen = self.norm(self.conv(photo)).relu().mean(dim=(2, 3))
        parts = [numbers, self.embed(codes).flatten(1), signal.flatten(1), seen]
        found: Tensor = self.head(self.dropout(torch.cat(parts, dim=1)))
        return found


@pytest.fixture(scope="module")
def everything() -> tuple[TorchModel, OnnxModel, dict[str, Any]]:
    torch.manual_seed(0)
    net = Everything().train()
    with torch.no_grad():
        for _ in range(3):
            net.norm(torch.randn(8, 4, 3, 3) * 3 + 1)
    estimator = _as_fitted(net, ALL)
    before = {
        "state": copy.deepcopy(net.state_dict()),
        "modes": [each.training for each in net.modules()],
        "random": torch.get_rng_state(),
    }
    return estimator, export(estimator, _signature(ALL)), before


def test_numbers_texts_tensors_and_images_score_the_same(
    everything: tuple[TorchModel, OnnxModel, dict[str, Any]],
) -> None:
    """Broken by inputs in another order, other pixels, or dropout that is still on."""
    estimator, model, _ = everything
    model = SERVED.load(SERVED.dump(model))
    assert model.classes == ("early", "late")
    for n_rows in (1, 2, 7, N_ROWS):
        assert _far(model, estimator, ALL.slice(0, n_rows)) < 1e-6
    assert SERVED.predict(model, ALL.slice(0, 0)).shape == (0, 2)
    odd = ALL.slice(0, 3).set_column(0, "a", pa.array([None, 1e6, -1e6]))
    odd = odd.set_column(2, "by", pa.array(["never seen", None, "UA"]))
    assert _far(model, estimator, odd) < 1e-6
    shuffled = ALL.select(["photo", "by", "b", "signal", "a"])
    assert _far(model, estimator, shuffled) < 1e-6


def test_the_network_stays_as_it_was(
    everything: tuple[TorchModel, OnnxModel, dict[str, Any]],
) -> None:
    """Broken when modes, weights or the random state are those of the exporter afterwards."""
    estimator, _, before = everything
    assert estimator.fitted is not None
    net = estimator.fitted.module
    assert [each.training for each in net.modules()] == before["modes"]
    assert all(torch.equal(each, before["state"][name]) for name, each in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before["random"])
    assert not net._forward_pre_hooks


def test_a_server_without_torch_runs_it(
    everything: tuple[TorchModel, OnnxModel, dict[str, Any]], tmp_path: Path
) -> None:
    """Broken by an import of torch on the way to the scores."""
    estimator, model, _ = everything
    (tmp_path / "model").write_bytes(SERVED.dump(model))
    with pa.OSFile(str(tmp_path / "rows"), "wb") as file, pa.ipc.new_file(file, ALL.schema) as out:
        out.write_table(ALL)
    program = """
import sys
sys.modules["torch"] = None
import pyarrow as pa
from renewal.models.onnx_adapter import OnnxAdapter
model = OnnxAdapter().load(open(sys.argv[1] + "/model", "rb").read())
rows = pa.ipc.open_file(sys.argv[1] + "/rows").read_all()
print(*OnnxAdapter().predict(model, rows)[:, 1])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = np.array(ran.stdout.split(), dtype=float)
    assert np.abs(found - ADAPTER.predict(estimator, ALL)[:, 1]).max() < 1e-6


def test_graphs_hold_nothing_of_the_machine_that_made_them(
    everything: tuple[TorchModel, OnnxModel, dict[str, Any]],
) -> None:
    """Broken when nodes keep the lines of code they came from: more bytes than weights."""
    estimator, model, _ = everything
    assert estimator.fitted is not None
    n_weights = sum(each.numel() for each in estimator.fitted.module.parameters())
    assert len(model.graph) < 4 * n_weights + 4_000
    assert not re.search(rb"/\w+/|torch\.nn|test_torch_onnx", model.graph)
    proto = onnx.load_model_from_string(model.graph)
    assert all(each.type.tensor_type.shape.dim[0].dim_param for each in proto.graph.input)
    assert proto.opset_import[0].version >= 18


def test_values_come_in_the_units_of_the_labels() -> None:
    """Broken when mean and spread are forgotten, or a large mean is added in single precision."""
    minutes = 1e7 + NUMBERS["a"].to_numpy()
    recipe = TorchModel(Dense, {"n_inputs": 2}, HOW)
    estimator = ADAPTER.fit(recipe, NUMBERS, minutes, seed=0)
    model = export(estimator, _signature(NUMBERS))
    assert model.classes == ()
    assert _far(model, estimator, NUMBERS) < 1e-4
    assert SERVED.predict(model, NUMBERS).mean() == pytest.approx(1e7, abs=50)


def test_known_texts_as_columns_of_0_and_1() -> None:
    rows = ALL.select(["by", "a"])
    recipe = TorchModel(Dense, {"n_inputs": 4}, HOW, Reading(texts="one_hot"))
    estimator = ADAPTER.fit(recipe, rows, LABELS, seed=0)
    model = export(estimator, _signature(rows), rows=rows)
    odd = pa.table({"by": ["XX", None, "UA"], "a": [1.0, None, 3.0]})
    assert _far(model, estimator, odd) < 1e-6


def test_additions_are_melted() -> None:
    """Broken when the base is exported alone: its scores differ."""
    recipe = TorchModel(Dense, {"n_inputs": 2}, HOW)
    base = ADAPTER.fit(recipe, NUMBERS, LABELS, seed=0)
    how = Tuning(epochs=20, lr=0.05, lora_rank=2, patience=None)
    added = ADAPTER.fine_tune(base, Lesson(NUMBERS, LABELS), None, how, seed=0)
    stored = ADAPTER.dump(added)
    model = export(added, _signature(NUMBERS))
    assert _far(model, base, NUMBERS) > 1e-3
    assert _far(model, added, NUMBERS) < 1e-6
    assert ADAPTER.dump(added) == stored


def test_what_is_smaller_in_memory_is_smaller_as_a_graph() -> None:
    """Broken when the network is built anew from its class: other weights, of other shapes."""
    net = Pixels()
    net.conv = nn.Conv2d(3, 2, 3, padding=1)
    net.head = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 2))
    rows = ALL.select(["photo"])
    estimator = _as_fitted(net, rows)
    model = load_plugin("exports", "torch")(estimator, _signature(rows))
    assert _far(model, estimator, rows) < 1e-6
    shapes = {
        tuple(each.dims) for each in onnx.load_model_from_string(model.graph).graph.initializer
    }
    assert (2, 3, 3, 3) in shapes
    assert not any(8 in shape for shape in shapes)


def test_exported_programs_are_exported_again() -> None:
    size = torch.export.Dim("n")
    net = Dense(2).eval()
    program = torch.export.export(net, (torch.zeros(3, 2),), dynamic_shapes=({0: size},))
    estimator = pretrained(TorchModel(program), rows=NUMBERS, classes=("early", "late"))
    assert _far(export(estimator, _signature(NUMBERS)), estimator, NUMBERS) < 1e-6


class _Tied(nn.Module):  # type: ignore[misc]  # as above
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 40)
        self.back = nn.Linear(40, 100, bias=False)
        self.back.weight = self.embed.weight
        self.head = nn.Linear(100, 2)

    def forward(self, numbers: Tensor) -> Tensor:
        found: Tensor = self.head(self.back(self.embed(numbers.long().abs() % 100)).mean(dim=1))
        return found


def test_tied_weights_are_written_once() -> None:
    """Broken when each use brings its own copy: 32 kB instead of 16."""
    estimator = _as_fitted(_Tied())
    model = export(estimator, _signature(NUMBERS))
    assert 16_000 < len(model.graph) < 20_000
    assert _far(model, estimator, NUMBERS) < 1e-6


class _Branch(nn.Module):  # type: ignore[misc]  # as above
    """Looks at values: an exporter follows one of its branches and forgets the other."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)

    def forward(self, numbers: Tensor) -> Tensor:
        found: Tensor = self.head(numbers)
        return found if float(numbers[0, 0]) < float(numbers[-1, 0]) else 3.0 * found


class _Bessel(nn.Module):  # type: ignore[misc]  # as above
    def forward(self, numbers: Tensor) -> Tensor:
        return torch.special.bessel_j0(numbers)


@pytest.mark.parametrize(
    ("net", "said"),
    [(_Branch(), "export is not equal"), (_Bessel(), "the operator prims.bessel_j0")],
)
def test_what_would_not_be_equal_is_refused(
    net: nn.Module, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Broken when a graph is trusted because an exporter wrote it; and by what it prints."""
    with pytest.raises(Invalid, match=said):
        export(_as_fitted(net), _signature(NUMBERS))
    assert capfd.readouterr() == ("", "")


def test_columns_that_only_code_can_read_are_refused() -> None:
    estimator = _as_fitted(nn.Linear(2, 2), reading=Reading(prepare="shop.nets:prepare"))
    with pytest.raises(Invalid, match=r"the function shop\.nets:prepare"):
        export(estimator, _signature(NUMBERS))


def test_recipes_missing_columns_and_rows_that_do_not_fit_are_told() -> None:
    with pytest.raises(Invalid, match="a fitted network"):
        export(TorchModel(Dense, {"n_inputs": 2}), _signature(NUMBERS))
    with pytest.raises(Invalid, match="one without b") as missing:
        export(_as_fitted(nn.Linear(2, 2)), _signature(NUMBERS.select(["a"])))
    assert missing.value.fields["columns"] == ["b"]
    with pytest.raises(Invalid, match=r"export\(..., rows=rows\)"):
        export(_as_fitted(nn.Linear(3, 2)), _signature(NUMBERS))


def test_the_older_exporter_goes_on_where_the_first_gives_up() -> None:
    """Broken when one refusal is the end: the first demand here refuses whatever comes."""
    net, numbers = nn.Linear(2, 2).eval(), torch.randn(3, 2)
    seen: list[bytes] = []

    def demand(graph: bytes) -> None:
        seen.append(graph)
        if len(seen) == 1:
            demand_equal(np.zeros((1, 1)), np.ones((1, 1)), who="a test")
        model = OnnxModel(graph, ("early", "late"), is_logits=True)
        (found,) = model.session.run(None, {"rows": numbers[:1].numpy()})
        assert np.allclose(found, net(numbers[:1]).detach().numpy(), atol=1e-6)

    class Wrapped(nn.Module):  # type: ignore[misc]  # as above
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, *tensors: Tensor) -> Tensor:
            found: Tensor = self.net(*tensors)
            return found

    example = Example("rows", numbers, {0: "n"})
    assert graph_of(Wrapped(), [example], demand=demand, who="a test") == seen[1] != seen[0]
