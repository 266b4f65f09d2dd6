"""Networks as values: fitted, tuned, stored, and added to."""

from __future__ import annotations

import contextlib
import copy
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from renewal.core.errors import Corrupt, Invalid, Missing, Refused, RenewalError, Unavailable
from renewal.models.layers import Lesson, Tuning
from renewal.models.torch import TorchAdapter
from renewal.models.torch_build import tried
from renewal.models.torch_device import device_here
from renewal.models.torch_inputs import Reading
from renewal.models.torch_model import TorchModel
from renewal.models.torch_pretrained import pretrained
from renewal.models.torch_tensors import tensors_from_bytes, tensors_to_bytes
from renewal.store.digest import digest
from renewal.testing.torch_nets import TRUST, Dense

ADAPTER = TorchAdapter()
HOW = Tuning(epochs=8, batch=32, lr=2e-2, patience=None)
_RNG = np.random.default_rng(4)
ROWS = pa.table({"a": _RNG.normal(size=200), "b": _RNG.normal(size=200)})
_A = ROWS["a"].to_numpy()


def _labels(values: Any) -> Any:
    return np.array(np.asarray(values).tolist(), dtype=object)


LATE = _labels(np.where(_A > 0, "yes", "no"))
# What was far below zero is now a class of its own, and sorts first.
WITH_NEW = _labels(np.select([_A < -0.8, _A > 0], ["a new one", "yes"], "no"))


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fitted() -> TorchModel:
    return ADAPTER.fit(TorchModel(Dense, {"n_inputs": 2}, HOW), ROWS, LATE, seed=1)


def _hits(model: TorchModel, labels: Any) -> float:
    found = ADAPTER.predict(model, ROWS).argmax(axis=1)
    return float((np.array(ADAPTER.classes(model), dtype=object)[found] == labels).mean())


# ------------------------------------------------------------------ new classes


def test_a_new_class_is_learned_and_the_old_ones_are_kept(fitted: TorchModel) -> None:
    untrained = ADAPTER.with_classes(fitted, ("a new one", "no", "yes"), seed=0)
    before = ADAPTER.predict(fitted, ROWS)
    widened = ADAPTER.predict(untrained, ROWS)[:, 1:]
    # The old columns stand where their classes now are, in the old ratio.
    np.testing.assert_allclose(widened / widened.sum(axis=1, keepdims=True), before, atol=1e-6)
    tuned = ADAPTER.fine_tune(fitted, Lesson(ROWS, WITH_NEW), None, HOW, seed=2)
    assert ADAPTER.classes(tuned) == ("a new one", "no", "yes")
    assert _hits(tuned, WITH_NEW) > 0.9


def test_labels_of_another_kind_are_no_new_classes(fitted: TorchModel) -> None:
    with pytest.raises(Invalid, match="also 7"):
        ADAPTER.partial_fit(fitted, ROWS, np.array([7] * 100 + ["yes"] * 100, dtype=object))
    with pytest.raises(Invalid, match="labels of classes"):
        ADAPTER.partial_fit(fitted, ROWS, _A)


def test_watched_rows_of_strange_classes_are_passed_over(fitted: TorchModel) -> None:
    strange = Lesson(ROWS, _labels(["?"] * 150 + ["yes"] * 50))
    ADAPTER.fine_tune(fitted, Lesson(ROWS, LATE), strange, Tuning(epochs=1), seed=0)


# ------------------------------------------------------------------ additions


@pytest.fixture(scope="module")
def added(fitted: TorchModel) -> TorchModel:
    how = Tuning(epochs=4, batch=32, lr=2e-2, lora_rank=2)
    return ADAPTER.fine_tune(fitted, Lesson(ROWS, WITH_NEW), None, how, seed=3)


def test_an_addition_is_stored_alone_with_the_digest_of_its_base(
    fitted: TorchModel, added: TorchModel
) -> None:
    base, addition = ADAPTER.dump(fitted), ADAPTER.dump(added)
    assert ADAPTER.base_digest(fitted) is None
    assert ADAPTER.base_digest(added) == digest(base)
    assert ADAPTER.dump_base(added) == base
    loaded = ADAPTER.load(base, TRUST)
    again = ADAPTER.load_onto(loaded, addition, TRUST)
    assert np.array_equal(ADAPTER.predict(again, ROWS), ADAPTER.predict(added, ROWS))
    assert ADAPTER.dump(again) == addition
    assert ADAPTER.dump(loaded) == base


def test_an_addition_shares_the_weights_of_its_base(fitted: TorchModel, added: TorchModel) -> None:
    """Breaks when every version of a large base holds it in memory once more."""
    assert fitted.fitted is not None
    assert added.fitted is not None
    inside = added.fitted.module.body.base_layer.weight
    assert inside.data_ptr() == fitted.fitted.module.body.weight.data_ptr()


def test_an_addition_to_another_base_is_refused(fitted: TorchModel, added: TorchModel) -> None:
    """Unnoticed, it would add what was learned for other weights."""
    other = ADAPTER.partial_fit(fitted, ROWS, LATE)
    with pytest.raises(Corrupt, match="for which the addition was made"):
        ADAPTER.load_onto(other, ADAPTER.dump(added), TRUST)
    with pytest.raises(Invalid, match="addition to the base"):
        ADAPTER.load(ADAPTER.dump(added), TRUST)
    with pytest.raises(Invalid, match="a whole network"):
        ADAPTER.load_onto(fitted, ADAPTER.dump(fitted), TRUST)


def test_an_addition_is_gone_on_with_or_added_to_the_weights(added: TorchModel) -> None:
    lesson = Lesson(ROWS, WITH_NEW)
    same = ADAPTER.fine_tune(added, lesson, None, Tuning(epochs=1, lora_rank=2), seed=0)
    assert ADAPTER.base_digest(same) == ADAPTER.base_digest(added)
    partly = ADAPTER.partial_fit(added, ROWS, WITH_NEW)
    assert ADAPTER.base_digest(partly) == ADAPTER.base_digest(added)
    whole = ADAPTER.fine_tune(
        added, lesson, None, Tuning(epochs=1, lr=1e-9, train="last:1"), seed=0
    )
    assert ADAPTER.base_digest(whole) is None
    np.testing.assert_allclose(
        ADAPTER.predict(whole, ROWS), ADAPTER.predict(added, ROWS), atol=1e-5
    )
    assert ADAPTER.load(ADAPTER.dump(whole), TRUST) is not None


# ------------------------------------------------------------------ bytes and trust


def test_nothing_is_imported_before_it_is_trusted(tmp_path: Path, monkeypatch: Any) -> None:
    """Breaks when a stored model names a module, and loading it runs that module."""
    (tmp_path / "strange_nets.py").write_text(
        "from pathlib import Path\nfrom torch import nn\n"
        "Path(__file__).with_name('ran').touch()\nNet = nn.Linear\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    recipe = TorchModel("strange_nets:Net", {"in_features": 2, "out_features": 2}, HOW)
    data = ADAPTER.dump(ADAPTER.fit(recipe, ROWS, LATE))
    monkeypatch.delitem(sys.modules, "strange_nets")
    (tmp_path / "ran").unlink()
    with pytest.raises(Refused, match=r'trust = \["strange_nets.Net"\]') as said:
        ADAPTER.load(data, TRUST)
    assert said.value.fields["types"] == ("strange_nets.Net",)
    assert not (tmp_path / "ran").exists()
    assert ADAPTER.classes(ADAPTER.load(data, ("strange_nets:Net",))) == ("no", "yes")
    monkeypatch.delitem(sys.modules, "strange_nets")
    (tmp_path / "strange_nets.py").write_text("Net2 = None\n")
    with pytest.raises(Missing, match="keep the old name"):
        ADAPTER.load(data, ("strange_nets.Net",))
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "strange_nets", raising=False)
    with pytest.raises(Missing, match="PYTHONPATH"):
        ADAPTER.load(data, ("strange_nets.Net",))


@pytest.mark.parametrize("strange", [None, 7, "x", [1], {}, True])
def test_a_header_that_says_something_else(fitted: TorchModel, strange: Any) -> None:
    """Breaks when a damaged file raises what no caller expects."""
    tensors, said = tensors_from_bytes(ADAPTER.dump(fitted), who="a test")
    for name in said:
        data = tensors_to_bytes(tensors, said | {name: strange}, who="a test")
        with contextlib.suppress(RenewalError):
            ADAPTER.load(data, TRUST)
    # Torch itself counts the batches anew where nobody did.
    for name in tensors.keys() - {"norm.num_batches_tracked"}:
        fewer = {k: v for k, v in tensors.items() if k != name}
        with pytest.raises(Invalid, match="Missing key"):
            ADAPTER.load(tensors_to_bytes(fewer, said, who="a test"), TRUST)


def test_code_that_builds_other_layers_now(fitted: TorchModel) -> None:
    wide = TorchModel(Dense, {"n_inputs": 2, "width": 4}, HOW)
    assert fitted.fitted is not None
    with pytest.raises(Invalid, match="size mismatch"):
        pretrained(wide, fitted.fitted.module.state_dict(), rows=ROWS, classes=("no", "yes"))


@pytest.mark.parametrize("made_by", [lambda: nn.Linear(1, 1), type("Local", (nn.Module,), {})])
def test_what_no_other_process_can_import_is_refused_at_once(made_by: Any) -> None:
    if isinstance(made_by, type):
        made_by.__module__ = "__main__"
    with pytest.raises(Invalid, match="import"):
        TorchModel(made_by)


def test_options_that_are_no_json() -> None:
    with pytest.raises(Invalid, match="JSON"):
        TorchModel(Dense, {"n_inputs": {1, 2}})


# ------------------------------------------------------------------ networks that do not do


def test_networks_that_do_not_do_are_typed_errors() -> None:
    module = TorchModel(nn.Linear, {"in_features": 3, "out_features": 2}, HOW)
    wide = ROWS.append_column("c", ROWS["a"])
    with pytest.raises(Invalid, match="cannot be multiplied"):
        ADAPTER.fit(module, ROWS, LATE)
    with pytest.raises(Invalid, match="unexpected keyword"):
        ADAPTER.fit(TorchModel(nn.Linear, {"inputs": 3}, HOW), ROWS, LATE)
    with pytest.raises(Invalid, match="2 outputs for each of"):
        ADAPTER.fit(TorchModel(nn.LayerNorm, {"normalized_shape": 3}, HOW), wide, LATE)
    with pytest.raises(Invalid, match=r"torch\.nn\.Module"):
        ADAPTER.fit(TorchModel("builtins:dict", {}, HOW), ROWS, LATE)
    with pytest.raises(Invalid, match="at least two classes"):
        ADAPTER.fit(module, ROWS, _labels(["yes"] * 200))
    with pytest.raises(Invalid, match="an addition to what does not exist"):
        ADAPTER.fit(TorchModel(Dense, {"n_inputs": 2}, Tuning(lora_rank=2)), ROWS, LATE)
    with pytest.raises(Invalid, match="a loss among l1, mse"):
        ADAPTER.fit(TorchModel(Dense, {"n_inputs": 2}, HOW, loss="cross_entropy"), ROWS, _A)


def test_too_little_memory_is_no_fault_of_the_rows() -> None:
    with pytest.raises(Unavailable, match="allocate"), tried("a test", "rows"):
        torch.empty(2**55)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("CUDA error: device-side assert triggered\nCUDA kernel errors might be", "device"),
        ("CUDA error: out of memory\nCUDA kernel errors might be", "memory"),
    ],
)
def test_a_gpu_that_is_lost_or_full_is_no_fault_of_the_rows(said: str, reason: str) -> None:
    """Broken by a client that is told that its rows are wrong, for ever after somebody's were."""
    with pytest.raises(Unavailable) as caught, tried("a test", "rows"):
        raise torch.AcceleratorError(said)
    assert caught.value.fields["reason"] == reason
    assert caught.value.came == said.splitlines()[0]


def test_numbers_are_predicted_in_their_own_unit() -> None:
    recipe = TorchModel(Dense, {"n_inputs": 2}, HOW, loss="mse")
    fitted = ADAPTER.fit(recipe, ROWS, 1000.0 + 50.0 * _A, seed=0)
    error = np.abs(ADAPTER.predict(fitted, ROWS)[:, 0] - (1000.0 + 50.0 * _A)).mean()
    assert error < 15.0
    tuned = ADAPTER.fine_tune(
        fitted,
        Lesson(ROWS, 900.0 + 50.0 * _A, teacher=ADAPTER.predict(fitted, ROWS)),
        None,
        Tuning(epochs=10, distil=0.5),
        seed=0,
    )
    assert 900.0 < ADAPTER.predict(tuned, ROWS).mean() < 1000.0


# ------------------------------------------------------------------ embedding


def test_what_the_head_is_handed_says_what_the_network_says(
    fitted: TorchModel, added: TorchModel
) -> None:
    for model in (fitted, added):
        assert model.fitted is not None
        head = copy.deepcopy(model.fitted.module.head).cpu()
        seen = torch.from_numpy(ADAPTER.embed(model, ROWS)).float()
        scores = head(seen).double().softmax(dim=1).detach().numpy()
        np.testing.assert_allclose(scores, ADAPTER.predict(model, ROWS), atol=1e-6)
    assert ADAPTER.embed(fitted, ROWS.slice(0, 0)).shape == (0, 16)


def test_embedding_beside_predictions_catches_its_own_rows(fitted: TorchModel) -> None:
    """Breaks when what another thread hands the head is taken for one's own."""
    expected, stop = ADAPTER.embed(fitted, ROWS), threading.Event()

    def predict() -> None:
        while not stop.is_set():
            ADAPTER.predict(fitted, ROWS.slice(0, 3))

    other = threading.Thread(target=predict)
    other.start()
    try:
        assert all(np.array_equal(ADAPTER.embed(fitted, ROWS), expected) for _ in range(50))
    finally:
        stop.set()
        other.join()


# ------------------------------------------------------------------ from elsewhere


def test_weights_from_elsewhere_predict_as_there() -> None:
    torch.manual_seed(0)
    net = Dense(2).eval()
    recipe = TorchModel(Dense, {"n_inputs": 2}, HOW, Reading(standardize=False))
    model = pretrained(recipe, net.state_dict(), rows=ROWS, classes=("no", "yes"))
    numbers = torch.tensor(np.stack([ROWS[name].to_numpy() for name in "ab"], axis=1)).float()
    expected = net(numbers).double().softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(ADAPTER.predict(model, ROWS), expected, atol=1e-6)
    with pytest.raises(Invalid, match="3 outputs"):
        pretrained(recipe, net.state_dict(), rows=ROWS, classes=("no", "yes", "so"))


def test_the_device_is_what_the_variable_says(monkeypatch: Any) -> None:
    monkeypatch.setenv("RENEWAL_DEVICE", "cpu")
    assert device_here() == torch.device("cpu")
    for strange in ("tpu7", "mps" if not torch.backends.mps.is_available() else "xla"):
        monkeypatch.setenv("RENEWAL_DEVICE", strange)
        with pytest.raises(Invalid, match=strange):
            device_here()
