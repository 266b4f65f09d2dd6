"""The adapter of transformers x every check of the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
import torch

from renewal.models.layers import Tuning
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import TransformersModel
from renewal.testing.adapters import ADAPTER_CHECKS, AdapterCase, run_adapter_check

N_ROWS = 60
_RNG = np.random.default_rng(20177)
_TOPICS = {"card": ("lost", "stolen", "frozen"), "money": ("refund", "transfer", "fee")}
_FILLER = ("please", "hello", "my", "the", "where")


def _rows() -> tuple[pa.Table, np.ndarray[tuple[int], np.dtype[np.object_]]]:
    labels = np.array(_RNG.choice(list(_TOPICS), N_ROWS).tolist(), dtype=object)
    subjects = [str(_RNG.choice(_TOPICS[label])) for label in labels]
    bodies = [" ".join(_RNG.choice(_FILLER, int(_RNG.integers(1, 5)))) for _ in labels]
    return pa.table({"subject": subjects, "body": bodies}), labels


FEATURES, LABELS = _rows()
RECIPE = TransformersModel(
    {
        "model_type": "bert",
        "vocab_size": 320,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 32,
    },
    max_length=32,
    how=Tuning(epochs=4, batch=16, lr=3e-3, patience=None),
)
CASES = [AdapterCase("bert", TransformersAdapter(), RECIPE, FEATURES, LABELS, tolerance=1e-6)]
EXCUSES = {
    ("weights_repeat", "bert"): "a row twice makes other batches than a row of weight 2",
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("check", ADAPTER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_adapter(case: AdapterCase, check: str) -> None:
    run_adapter_check(check, case, expected_failures=EXCUSES)
