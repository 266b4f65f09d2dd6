"""The forest and the small transformer that are compressed, trained here on public data.

A parent is trained once: its bytes are kept in a folder (RENEWAL_BENCH_CACHE, by default among
the temporary files) under a name of everything that they depend on.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sklearn
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from renewal.compress.form import Form
from renewal.core.plugin import load_plugin
from renewal.data.frame import as_table, signature_of
from renewal.data.rows import Rows
from renewal.models.layers import Tuning
from renewal.models.transformers_model import TransformersModel
from renewal.testing.forms import rows_of

FOLDER = Path(os.environ.get("RENEWAL_DATA", "../shared/data"))
_DATA = {"forest": ("adult", "income"), "transformer": ("banking77", "category")}
_SEED = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Rows, and how a parent is made of them.

    Parameters
    ----------
    n_train, n_validation, n_test : int
        Rows of each kind, at most.
    n_trees : int
        Of the forest.
    epochs, width, layers : int
        Of the transformer.
    """

    n_train: int = 40_000
    n_validation: int = 6_500
    n_test: int = 20_000
    n_trees: int = 200
    epochs: int = 10
    width: int = 128
    layers: int = 2


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Rows by what they are for; none of them is in two."""

    train: Rows
    validation: Rows
    test: Rows


def split_of(name: str, recipe: Recipe) -> Split:
    """Return the rows of a model; validation rows are some of the training file's, at random."""
    file, target = _DATA[name]
    table = pq.read_table(FOLDER / f"{file}.parquet")
    is_test = np.array(table["split"].to_pylist()) == "test"
    labels = np.empty(table.num_rows, dtype=object)
    labels[:] = table[target].to_pylist()
    features = as_table(
        table.drop_columns([target, "split"]).replace_schema_metadata(), who="bench"
    )
    rng = np.random.default_rng(_SEED)
    inside, outside = (rng.permutation(np.flatnonzero(each)) for each in (~is_test, is_test))
    n_validation = min(recipe.n_validation, len(inside) // 6)
    rest = inside[n_validation:]
    # The first row of each class, so that few rows have them all.
    _, first = np.unique(labels[rest].astype(str), return_index=True)
    order = np.concatenate([rest[first], np.delete(rest, first)])[: recipe.n_train]

    def rows(at: Any) -> Rows:
        return rows_of(features.take(pa.array(at)), labels[at])

    return Split(rows(order), rows(inside[:n_validation]), rows(outside[: recipe.n_test]))


def is_there(name: str) -> bool:
    """Return whether the data of a model are."""
    return (FOLDER / f"{_DATA[name][0]}.parquet").exists()


def forest(split: Split, recipe: Recipe) -> Any:
    """Return the unfitted forest: default depth, texts as codes."""
    fields = signature_of(split.train.features).fields
    texts = [each.name for each in fields if each.kind == "string"]
    numbers = [each.name for each in fields if each.kind != "string"]
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
    )
    columns = ColumnTransformer([("numbers", "passthrough", numbers), ("texts", codes, texts)])
    return make_pipeline(columns, RandomForestClassifier(recipe.n_trees))


def transformer(split: Split, recipe: Recipe) -> Any:  # noqa: ARG001  # as of `forest`
    """Return the unfitted transformer: a DistilBERT of 0.7 million weights at full recipe."""
    config = {
        "model_type": "distilbert",
        "vocab_size": 2_000,
        "dim": recipe.width,
        "hidden_dim": 4 * recipe.width,
        "n_heads": 4,
        "n_layers": recipe.layers,
        "max_position_embeddings": 64,
    }
    how = Tuning(epochs=recipe.epochs, batch=64, lr=1e-3, patience=None)
    return TransformersModel(config, max_length=32, how=how)


MODELS: dict[str, tuple[str, str, Callable[[Split, Recipe], Any]]] = {
    "forest": ("sklearn", "binary", forest),
    "transformer": ("transformers", "multiclass", transformer),
}
"""By name: adapter, task, and what makes the parent."""


def parent_of(name: str, split: Split, recipe: Recipe) -> tuple[Form, bytes]:
    """Return the fitted parent and its bytes; one that was fitted before is read again."""
    adapter_name, task_name, make = MODELS[name]
    adapter = load_plugin("adapters", adapter_name)()
    task = load_plugin("tasks", task_name)()
    known = {
        **asdict(recipe),
        "name": name,
        "torch": torch.__version__,
        "sklearn": sklearn.__version__,
    }
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]
    default = Path(tempfile.gettempdir()) / "renewal-bench"
    kept = Path(os.environ.get("RENEWAL_BENCH_CACHE", default)) / f"{name}-{key}"
    began = time.perf_counter()
    if not kept.exists():
        labels = task.labels(split.train.label, who="bench")
        fitted = adapter.fit(make(split, recipe), split.train.features, labels, seed=_SEED)
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_bytes(adapter.dump(fitted))
        partial.replace(kept)
    data = kept.read_bytes()
    fitted = adapter.load(data, ())
    print(f"{name}: a parent of {len(data):,} bytes, in {time.perf_counter() - began:.0f} s")
    form = Form(adapter_name, fitted, signature_of(split.train.features), adapter.classes(fitted))
    return form, data
