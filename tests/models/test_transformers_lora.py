"""LoRA versions of a text classifier as additions to one graph: the same scores as by torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest
from renewal.models.adapters import adapter_for, stored
from renewal.models.layers import Lesson, Tuning
from renewal.models.load import load_runtime
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_lora_model import base_of
from renewal.models.onnx_model import OnnxModel
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_lora import export_addition
from renewal.models.transformers_model import TransformersModel
from renewal.store.local import LocalStore

ADAPTER, SERVED = TransformersAdapter(), OnnxAdapter()
BERT = {
    "model_type": "bert",
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "initializer_range": 0.4,  # scores differ from text to text without a long training
}
ROWS = pa.table({"text": ["my card is lost", "where is my money", "it never came", "help"] * 4})
LABELS = np.array(["card", "money", "money", "card"] * 4, dtype=object)
ODD = pa.table({"text": [None, "", "money " * 90, "日本語 🙂", *("x " * n for n in range(30))]})
SIGNATURE = Signature((Field("text", "string"),))
TOLERANCE = 1e-5


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def parent() -> TransformersModel:
    how = Tuning(epochs=1, lr=1e-3, patience=None)
    return ADAPTER.fit(TransformersModel(BERT, max_length=24, how=how), ROWS, LABELS, seed=0)


def tuned(parent: TransformersModel, seed: int, rank: int = 2) -> TransformersModel:
    how = Tuning(epochs=2, lr=2e-2, lora_rank=rank, patience=None)
    labels = np.random.default_rng(seed).permutation(LABELS)
    return ADAPTER.fine_tune(parent, Lesson(ROWS, labels), None, how, seed=seed)


@pytest.fixture(scope="module")
def pairs(parent: TransformersModel) -> list[tuple[TransformersModel, OnnxModel]]:
    """Two additions to one parent; the second takes the first one's graph."""
    one, other = tuned(parent, 1), tuned(parent, 2)
    first = export_addition(one, SIGNATURE)
    return [(one, first), (other, export_addition(other, SIGNATURE, base=first))]


def far(found: Any, estimator: TransformersModel) -> float:
    return float(np.abs(found - ADAPTER.predict(estimator, ODD)).max())


def test_additions_and_their_parent_score_as_by_torch(
    parent: TransformersModel, pairs: list[tuple[TransformersModel, OnnxModel]]
) -> None:
    """Broken by a default that is not the parent's, or a matrix in another's place."""
    for estimator, model in pairs:
        assert far(SERVED.predict(model, ODD), estimator) < TOLERANCE
        assert far(SERVED.predict(model, ODD), parent) > 1e-3, "no difference to show"
        assert far(SERVED.predict(base_of(model), ODD), parent) < TOLERANCE
    assert len({SERVED.base_digest(model) for _, model in pairs}) == 1


def test_they_are_stored_and_served_on_one_base(
    parent: TransformersModel, pairs: list[tuple[TransformersModel, OnnxModel]], tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    runtimes: list[Any] = []
    for model in (base_of(pairs[0][1]), *(model for _, model in pairs)):
        adapter = adapter_for(model, who="test")
        put = stored(adapter, model, store)
        manifest = Manifest(
            model="m",
            task="binary",
            adapter=adapter.name,
            artifact=put.artifact,
            artifact_bytes=put.artifact_bytes,
            parts=put.parts,
            signature=SIGNATURE,
            classes=adapter.classes(model),
            strategy="register",
            environment=adapter.environment(),
        )
        runtimes.append(load_runtime(manifest, store))
    assert len(list(store.digests())) == 3
    for runtime, estimator in zip(runtimes, (parent, *(each for each, _ in pairs)), strict=True):
        assert far(runtime.predict(ODD), estimator) < TOLERANCE
    assert len({id(each._opened().session) for each in runtimes}) == 1  # what is shared


def test_another_form_and_no_addition_are_told(
    parent: TransformersModel, pairs: list[tuple[TransformersModel, OnnxModel]]
) -> None:
    with pytest.raises(Invalid, match="with an addition"):
        export_addition(parent, SIGNATURE)
    with pytest.raises(Invalid, match="initializers of the base"):
        export_addition(tuned(parent, 3, rank=3), SIGNATURE, base=pairs[0][1])
    with pytest.raises(Invalid, match="one without text"):
        export_addition(pairs[0][0], Signature((Field("title", "string"),)))
