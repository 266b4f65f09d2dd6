"""A small text model that techniques are asked to make smaller."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa

from renewal.models.layers import Tuning
from renewal.models.transformers_model import TransformersModel
from renewal.testing.forms import FormCase, fitted_case

_WORDS = {"card": ("lost", "stolen", "frozen"), "money": ("refund", "transfer", "fee")}


@cache
def transformers_forms() -> tuple[FormCase, ...]:
    """Return a BERT of two layers with four heads each, and two classes."""
    rng = np.random.default_rng(0)
    labels = np.array(rng.choice(list(_WORDS), 60).tolist(), dtype=object)
    texts = [f"{rng.choice(_WORDS[label])} please" for label in labels]
    recipe = TransformersModel(
        {
            "model_type": "bert",
            "vocab_size": 320,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 32,
        },
        max_length=32,
        how=Tuning(epochs=1, batch=16, lr=3e-3, patience=None),
    )
    features = pa.table({"text": texts})
    return (fitted_case("a text model", "transformers", recipe, features, labels),)
