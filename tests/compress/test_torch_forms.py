"""Networks opened for changes: a copy that runs as its parent, and never the parent itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from renewal.compress.form import Form
from renewal.compress.torch_forms import open_form, why_closed
from renewal.core.errors import Corrupt, Invalid
from renewal.models.layers import Lesson, Tuning
from renewal.models.torch import TorchAdapter
from renewal.models.torch_device import device_here
from renewal.models.torch_model import TorchModel
from renewal.models.transformers import TransformersAdapter
from renewal.testing.forms import FormCase, fitted_case, numbers
from renewal.testing.torch_nets import TRUST, Dense
from renewal.testing.transformers_forms import transformers_forms

HOW = Tuning(epochs=1, patience=None)


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _dense(task: str = "binary") -> FormCase:
    features, labels = numbers(60, task=task)
    recipe = TorchModel(Dense, {"n_inputs": 6}, HOW)
    return fitted_case("dense", "torch", recipe, features, labels, task=task)


def _said(form: Form, features: pa.Table) -> Any:
    opened = open_form(form, who="test")
    return opened.outputs(opened.module, opened.tensors(features)).double().cpu()


def test_an_opened_network_says_what_its_form_says() -> None:
    """Breaks when rows are read otherwise than the adapter reads them."""
    case = _dense()
    said = _said(case.form, case.features).softmax(dim=1)
    np.testing.assert_allclose(said, case.form.predict(case.features), atol=1e-6)
    case = _dense("regression")
    mean, spread = case.form.estimator.fitted.target
    said = _said(case.form, case.features) * spread + mean
    np.testing.assert_allclose(said, case.form.predict(case.features), atol=1e-6)


def test_texts_are_read_as_the_adapter_reads_them() -> None:
    case = transformers_forms()[0]
    texts = ["", "lost please", "a much longer text that is cut somewhere " * 3, None]
    rows = pa.table({"text": pa.array(texts, pa.string())})
    said = _said(case.form, rows).softmax(dim=1)
    np.testing.assert_allclose(said, case.form.predict(rows), atol=1e-5)
    opened = open_form(case.form, who="test")
    assert opened.module.get_submodule(opened.head or "").out_features == 2


def test_an_addition_is_melted_into_its_copy_alone() -> None:
    case = _dense()
    rows = case.material.train
    lesson, how = Lesson(rows.features, case.material.labels), replace(HOW, lora_rank=2, lr=0.1)
    tuned = TorchAdapter().fine_tune(case.form.estimator, lesson, None, how, seed=0)
    form = replace(case.form, estimator=tuned)
    opened = open_form(form, who="test")
    closed = opened.closed(opened.module, opened.tensors(rows.features))
    assert (closed.estimator.fitted.lora, closed.estimator.fitted.base) == (None, None)
    np.testing.assert_allclose(
        closed.predict(case.features), form.predict(case.features), atol=1e-6
    )
    assert tuned.fitted is not None
    assert tuned.fitted.lora == (2, "all")


def test_what_gives_no_numbers_is_no_form() -> None:
    case = _dense()
    opened = open_form(case.form, who="test")
    head = opened.module.get_submodule(opened.head or "")
    head.weight.data.fill_(float("nan"))
    with pytest.raises(Invalid, match="outputs that are none"):
        opened.closed(opened.module, opened.tensors(case.features))


def test_bytes_of_a_changed_network_are_never_read_as_another() -> None:
    """Breaks when a narrower network is filled into the recipe's wide one in silence."""
    case = _dense()
    opened = open_form(case.form, who="test")
    module: Any = opened.module
    module.body, module.norm = nn.Linear(6, 4), nn.BatchNorm1d(4).eval()
    module.head = nn.Linear(4, 2)
    module.to(device_here())
    form = opened.closed(module, opened.tensors(case.features))
    assert form.predict(case.features).shape == (len(case.features), 2)
    adapter = TorchAdapter()
    with pytest.raises(Invalid, match="size mismatch"):
        adapter.load(adapter.dump(form.estimator), TRUST)


def test_bytes_of_a_changed_text_model_are_never_read_as_another() -> None:
    case = transformers_forms()[0]
    opened = open_form(case.form, who="test")
    layer: Any = opened.module.get_submodule("bert.encoder.layer.0")
    layer.intermediate.dense, layer.output.dense = nn.Linear(32, 8), nn.Linear(8, 32)
    opened.module.to(device_here())
    form = opened.closed(opened.module, opened.tensors(case.features))
    assert form.predict(case.features).shape == (len(case.features), 2)
    adapter = TransformersAdapter()
    with pytest.raises(Corrupt):
        adapter.load(adapter.dump(form.estimator))


def test_what_has_no_layers_to_change_stays_closed() -> None:
    case = _dense()
    recipe = replace(case.form.estimator, fitted=None)
    assert "recipe" in (why_closed(replace(case.form, estimator=recipe)) or "")
    program = replace(case.form.estimator, module=b"a program")
    assert "exported program" in (why_closed(replace(case.form, estimator=program)) or "")
    with pytest.raises(Invalid, match="a fitted network"):
        open_form(replace(case.form, adapter="onnx"), who="test")
