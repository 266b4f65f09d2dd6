"""Exported programs: tuned without their class, and never unpickled."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from renewal.core.errors import Invalid, Refused
from renewal.models.layers import Lesson, Tuning
from renewal.models.torch import TorchAdapter
from renewal.models.torch_exported import TYPE, program_bytes, program_of
from renewal.models.torch_inputs import Reading
from renewal.models.torch_model import TorchModel
from renewal.models.torch_pretrained import pretrained
from renewal.testing.torch_nets import TRUST, Dense

ADAPTER = TorchAdapter()
_RNG = np.random.default_rng(4)
ROWS = pa.table({"a": _RNG.normal(size=120), "b": _RNG.normal(size=120)})
LATE = np.array(["yes" if a > 0 else "no" for a in ROWS["a"].to_pylist()], dtype=object)


def _exported(*, is_fixed: bool = False) -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    shapes = None if is_fixed else ({0: torch.export.Dim("n")},)
    net = Dense(2, dropout=0.5).eval()
    return torch.export.export(net, (torch.zeros(2, 2),), dynamic_shapes=shapes)


@pytest.fixture(scope="module")
def program() -> torch.export.ExportedProgram:
    return _exported()


@pytest.fixture(scope="module")
def model(program: torch.export.ExportedProgram) -> TorchModel:
    recipe = TorchModel(program, reading=Reading(standardize=False))
    return pretrained(recipe, rows=ROWS, classes=("no", "yes"))


def test_a_program_is_tuned_whole_or_in_part(model: TorchModel) -> None:
    before = ADAPTER.dump(model)
    for train in ("all", "last:1"):
        how = Tuning(epochs=10, batch=16, lr=2e-2, train=train)
        tuned = ADAPTER.fine_tune(model, Lesson(ROWS, LATE), None, how, seed=0)
        hits = ADAPTER.predict(tuned, ROWS).argmax(axis=1) == (LATE == "yes")
        assert hits.mean() > 0.8
        assert tuned.fitted is not None
        assert model.fitted is not None
        moved = {
            name
            for name, each in tuned.fitted.module.named_parameters()
            if not torch.equal(each, model.fitted.module.state_dict()[name])
        }
        assert (moved == {"inner.head.weight", "inner.head.bias"}) == (train == "last:1")
    assert ADAPTER.dump(model) == before


def test_it_is_stored_and_read_where_programs_are_trusted(model: TorchModel) -> None:
    data = ADAPTER.dump(model)
    assert data == ADAPTER.dump(model)
    with pytest.raises(Refused, match=TYPE):
        ADAPTER.load(data, TRUST)
    again = ADAPTER.load(data, (TYPE,))
    assert np.array_equal(ADAPTER.predict(again, ROWS), ADAPTER.predict(model, ROWS))
    assert ADAPTER.dump(again) == data


def test_what_its_last_layer_is_handed(model: TorchModel) -> None:
    assert model.fitted is not None
    head = model.fitted.module.inner.head
    weight, bias = head.weight.detach().cpu(), head.bias.detach().cpu()
    seen = torch.from_numpy(ADAPTER.embed(model, ROWS)).float()
    scores = (seen @ weight.T + bias).double().softmax(dim=1).numpy()
    np.testing.assert_allclose(scores, ADAPTER.predict(model, ROWS), atol=1e-6)


def test_what_it_cannot_do_is_said(model: TorchModel) -> None:
    able = ADAPTER.capabilities(model)
    assert (able.has_layers, able.can_refit, able.accepts_new_classes) == (True, False, False)
    new = np.array(["so"] * 60 + ["no"] * 60, dtype=object)
    verbs: tuple[Callable[[], object], ...] = (
        lambda: ADAPTER.fit(model, ROWS, LATE),
        lambda: ADAPTER.with_params(model, {"lr": 0.1}),
        lambda: ADAPTER.partial_fit(model, ROWS, new),
        lambda: ADAPTER.with_classes(model, ("so", "no"), seed=0),
        lambda: ADAPTER.fine_tune(model, Lesson(ROWS, LATE), None, Tuning(lora_rank=2), seed=0),
    )
    for verb in verbs:
        with pytest.raises(Invalid):
            verb()


def test_a_fixed_number_of_rows_is_said() -> None:
    with pytest.raises(Invalid, match=r"size\(\)\[0\] == 2"):
        pretrained(TorchModel(_exported(is_fixed=True)), rows=ROWS, classes=("no", "yes"))


class Placed(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """Makes tensors on the device of its input in all the ways that a graph writes down."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Embedding(8, 2)
        self.head = nn.Linear(2, 2)
        self.const = torch.tensor([1.0, 2.0])

    def forward(self, numbers: Tensor) -> Tensor:
        """Return logits."""
        where = numbers.device
        found = numbers + self.places(torch.arange(2, device=where)[:1])
        found = found * self.const.to(where) + torch.tensor(3.0, device=where)
        half = torch.full((numbers.shape[0], 1), 0.5, device=where).to(where, torch.float32)
        scores: Tensor = self.head(found.to(torch.float64).to(torch.float32) * half)
        return scores


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_program_goes_to_another_device_with_its_graph(is_moved: bool) -> None:  # noqa: FBT001  # pytest hands it by name
    """Broken by the device of the export, which stands in the graph: half of it stays behind."""
    shapes = ({0: torch.export.Dim("n")},)
    made = torch.export.export(Placed().eval(), (torch.zeros(2, 2),), dynamic_shapes=shapes)
    if is_moved:  # torch then writes devices as texts
        made = move_to_device_pass(made, "cpu")
    program = program_of(program_bytes(made))
    before = program(torch.ones(3, 2))
    with pytest.raises(RuntimeError, match="device"):
        made.module().to("meta")(torch.ones(3, 2, device="meta"))
    assert program.to("cpu")(torch.ones(3, 2)).equal(before)
    moved = program.to("meta")(torch.ones(3, 2, device="meta"))
    assert (moved.device.type, moved.shape) == ("meta", (3, 2))
    handed = program.trunk()(torch.ones(3, 2, device="meta"))
    assert (handed.device.type, handed.shape) == ("meta", (3, 2))


class Bomb:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        """Return what unpickling calls."""
        return Path.touch, (self.path,)


def _planted(data: bytes, bomb: bytes, where: str) -> bytes:
    target = io.BytesIO()
    with ZipFile(io.BytesIO(data)) as found, ZipFile(target, "w") as made:
        for name in found.namelist():
            part = found.read(name)
            if where == "sample inputs" and "/sample_inputs/" in name:
                part = bomb
            if where == "weights" and name.endswith("weights_config.json"):
                config = json.loads(part)
                next(iter(config["config"].values()))["use_pickle"] = True
                part = json.dumps(config).encode()
            if where == "weights" and name.endswith("weight_0"):
                part = bomb
            made.writestr(name, part)
    return target.getvalue()


@pytest.mark.parametrize("where", ["sample inputs", "weights"])
def test_a_pickle_inside_is_never_run(
    program: torch.export.ExportedProgram, tmp_path: Path, where: str
) -> None:
    """Left alone, torch.export.load runs it."""
    file = io.BytesIO()
    torch.save(Bomb(tmp_path / "ran"), file, pickle_module=pickle)
    data = _planted(program_bytes(program), file.getvalue(), where)
    with pytest.raises(Refused, match="pickled objects"):
        program_of(data)
    assert not (tmp_path / "ran").exists()


def test_other_bytes() -> None:
    with pytest.raises(Invalid, match=r"torch\.export\.save"):
        program_of(b"no program")
