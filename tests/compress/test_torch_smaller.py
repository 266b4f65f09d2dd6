"""Smaller networks of the same kind: which sizes shrink, and what they learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.torch_smaller import DistilSmaller, SmallerOptions, begun, is_size, scaled
from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.data.columns import hash_keys
from renewal.data.rows import Rows
from renewal.models.layers import Tuning
from renewal.models.task import Binary, Regression, Task
from renewal.models.torch import TorchAdapter
from renewal.models.torch_model import TorchModel
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import TransformersModel
from renewal.testing.torch_nets import Dense

TECHNIQUE = DistilSmaller()
ADAPTER = TorchAdapter()
HOW = Tuning(epochs=10, batch=32, lr=2e-2, patience=None)
_RNG = np.random.default_rng(4)
FEATURES = pa.table({"a": _RNG.normal(size=240), "b": _RNG.normal(size=240)})
SIGNATURE = Signature((Field("a", "float"), Field("b", "float")))
_A = FEATURES["a"].to_numpy()
LATE = np.array(np.where(_A > 0, "yes", "no").tolist(), dtype=object)


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _rows(features: pa.Table, labels: NDArray[Any]) -> Rows:
    keys = np.array([f"{at}" for at in range(len(features))], dtype=object)
    hashes, instants = hash_keys(keys.tolist()), np.zeros(len(features), np.int64)
    return Rows(
        features=features,
        key=keys,
        key_hash=hashes,
        group_hash=hashes,
        sticky=None,
        event_us=instants,
        arrived_us=instants,
        label=labels,
        label_arrived_us=instants,
        block=instants,
    )


def _material(form: Form, labels: Any = LATE, task: Task | None = None, **more: Any) -> Material:
    features = FEATURES.slice(0, len(labels))
    return Material(task or Binary(), _rows(features, labels), form, **more)


def _hits(form: Form, features: pa.Table = FEATURES, labels: Any = LATE) -> float:
    found = form.predict(features).argmax(axis=1)
    return float((np.array(form.classes, dtype=object)[found] == labels).mean())


@pytest.fixture(scope="module")
def dense() -> Form:
    model = ADAPTER.fit(TorchModel(Dense, {"n_inputs": 2}, HOW), FEATURES, LATE, seed=1)
    return Form("torch", model, SIGNATURE, ("no", "yes"))


def test_it_is_built_with_smaller_options_and_learns(dense: Form) -> None:
    """Breaks when the width that the recipe leaves to its default is not found."""
    before = ADAPTER.dump(dense.estimator)
    small = TECHNIQUE.apply(dense, SmallerOptions(scale=0.5), _material(dense), seed=1)
    assert dict(small.estimator.options) == {"n_inputs": 2, "width": 8}
    assert small.estimator.fitted.module.body.out_features == 8
    assert _hits(small) > 0.9
    assert ADAPTER.dump(dense.estimator) == before
    # It is a network as any other: stored and read back, it says the same.
    again = ADAPTER.load(ADAPTER.dump(small.estimator), ("renewal.testing.torch_nets.Dense",))
    np.testing.assert_allclose(ADAPTER.predict(again, FEATURES), small.predict(FEATURES), atol=1e-6)


def test_the_same_seed_gives_the_same_network(dense: Form) -> None:
    options = SmallerOptions(scale=0.5, epochs=1)
    found = [
        TECHNIQUE.apply(dense, options, _material(dense), seed=seed).predict(FEATURES)
        for seed in (2, 2, 3)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_levels_are_networks_that_differ(dense: Form) -> None:
    """Breaks when two levels cost two trainings of one network."""
    levels = TECHNIQUE.levels(dense, _material(dense))
    made = [str(scaled({"width": 16}, each.scale)) for each in levels]
    assert len(set(made)) == len(made) >= 3
    assert [each.scale for each in levels] == sorted((e.scale for e in levels), reverse=True)


def test_sizes_that_are_those_of_the_rows_are_left_alone() -> None:
    """Breaks when the channels of the pictures are halved with the width of the network."""
    assert TECHNIQUE.why_not(_pictures(), _pixel_material()) is None
    small = TECHNIQUE.apply(
        _pictures(), SmallerOptions(scale=0.5, epochs=1), _pixel_material(), seed=0
    )
    assert dict(small.estimator.options) == {"channels": 3, "width": 4}


def _pictures() -> Form:
    features, labels = _pixels()
    recipe = TorchModel(
        "renewal.testing.torch_nets:Pixels", {"channels": 3}, replace(HOW, epochs=1)
    )
    model = ADAPTER.fit(recipe, features, labels, seed=0)
    signature = Signature((Field("pixels", "tensor", shape=(3, 4, 4)),))
    return Form("torch", model, signature, ("no", "yes"))


def _pixels() -> tuple[pa.Table, NDArray[Any]]:
    values = np.random.default_rng(0).normal(size=20 * 48).astype(np.float32)
    stored = pa.FixedSizeListArray.from_arrays(pa.array(values), 48)
    kind = pa.fixed_shape_tensor(pa.float32(), (3, 4, 4))
    features = pa.table({"pixels": pa.ExtensionArray.from_storage(kind, stored)})
    return features, np.array(["no", "yes"] * 10, dtype=object)


def _pixel_material() -> Material:
    features, labels = _pixels()
    return Material(Binary(), _rows(features, labels), _pictures())


def test_a_regression_keeps_its_units() -> None:
    values = 100.0 + 10.0 * _A
    model = ADAPTER.fit(TorchModel(Dense, {"n_inputs": 2}, HOW), FEATURES, values, seed=1)
    form = Form("torch", model, SIGNATURE, ())
    material = _material(form, values, Regression(), unlabelled=FEATURES)
    small = TECHNIQUE.apply(form, SmallerOptions(scale=0.5), material, seed=0)
    assert small.predict(FEATURES).shape == (240, 1)
    assert np.abs(small.predict(FEATURES)[:, 0] - values).mean() < 5.0


def test_rows_of_one_class_still_make_a_network_of_both(dense: Form) -> None:
    one = np.array(["no"] * 60, dtype=object)
    small = TECHNIQUE.apply(
        dense, SmallerOptions(scale=0.5, epochs=2), _material(dense, one), seed=0
    )
    assert small.predict(FEATURES).shape == (240, 2)


def test_a_transformer_gets_a_smaller_configuration_and_keeps_its_words() -> None:
    config = {"model_type": "bert", "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2,
              "num_attention_heads": 2, "intermediate_size": 32}  # fmt: skip
    texts = pa.table({"text": ["my card is lost", "where is my money"] * 30})
    labels = np.array(["card", "money"] * 30, dtype=object)
    adapter = TransformersAdapter()
    how = Tuning(epochs=3, batch=16, lr=5e-3, patience=None)
    model = adapter.fit(TransformersModel(config, max_length=16, how=how), texts, labels, seed=0)
    form = Form("transformers", model, Signature((Field("text", "string"),)), ("card", "money"))
    material = Material(Binary(), _rows(texts, labels), form)
    small = TECHNIQUE.apply(form, SmallerOptions(scale=0.25), material, seed=0)
    made = small.estimator.fitted
    assert (made.config["hidden_size"], made.config["num_hidden_layers"]) == (8, 1)
    assert made.config["num_attention_heads"] == 2
    assert model.fitted is not None
    assert made.tokenizer.to_str() == model.fitted.tokenizer.to_str()
    assert _hits(small, texts, labels) == 1.0
    again = adapter.load(adapter.dump(small.estimator))
    np.testing.assert_allclose(adapter.predict(again, texts), small.predict(texts), atol=1e-5)


def test_what_has_not_changed_begins_as_the_parent() -> None:
    parent, child = nn.Linear(2, 3), nn.Linear(2, 3)
    assert torch.equal(begun(child, parent).weight, parent.weight)
    begun(child, parent).weight.data.zero_()
    assert parent.weight.abs().sum() > 0
    other = nn.Linear(2, 4)
    before = other.weight.clone()
    assert torch.equal(begun(other, parent).weight, before)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("width", 8, True),
        ("channels", [8, 16], True),
        ("num_hidden_layers", 4, True),
        ("out_dim", 8, False),
        ("n_inputs", 8, False),
        ("hidden_dropout", 0.1, False),
        ("use_layers", True, False),
        ("depth", 1, False),
    ],
)
def test_which_options_are_sizes(name: str, value: Any, said: Any) -> None:
    assert is_size(name, value) is said


# ------------------------------------------------------------------ bad input


def test_what_cannot_be_made_smaller_is_said(dense: Form) -> None:
    linear = ADAPTER.fit(
        TorchModel(nn.Linear, {"in_features": 2, "out_features": 2}, HOW), FEATURES, LATE, seed=0
    )
    form = replace(dense, estimator=linear)
    assert "how wide or deep" in str(TECHNIQUE.why_not(form, _material(form)))
    assert TECHNIQUE.levels(form, _material(form)) == ()
    with pytest.raises(Invalid, match="0 sizes"):
        TECHNIQUE.apply(form, SmallerOptions(), _material(form), seed=0)
    empty = _material(dense, LATE[:0])
    assert TECHNIQUE.why_not(dense, empty) is not None
    with pytest.raises(Invalid):
        TECHNIQUE.apply(dense, SmallerOptions(), empty, seed=0)
    tree = replace(dense, adapter="sklearn")
    assert "no network" in str(TECHNIQUE.why_not(tree, _material(dense)))


def test_wrong_options_are_refused(dense: Form) -> None:
    with pytest.raises(Invalid, match="0 < scale < 1"):
        SmallerOptions(scale=1.0)
    with pytest.raises(Invalid, match="names of sizes among width"):
        TECHNIQUE.apply(dense, SmallerOptions(sizes="widthh"), _material(dense), seed=0)
    # The inputs are the rows': a network with half of them does not take them.
    with pytest.raises(Invalid):
        TECHNIQUE.apply(dense, SmallerOptions(sizes="n_inputs"), _material(dense), seed=0)
