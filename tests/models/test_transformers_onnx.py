"""Text classifiers as graphs: the same scores from the tokenizer and ONNX Runtime alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.core.spec import Field, Signature
from renewal.models.layers import Lesson, Tuning
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_model import OnnxModel
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import TransformersModel
from renewal.models.transformers_onnx import export

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
LLAMA = BERT | {"model_type": "llama", "num_key_value_heads": 2}
ROWS = pa.table(
    {
        "title": ["card", None, "money", "help"] * 4,
        "text": ["my card is lost", "where is my money", "it never came", "the lost card"] * 4,
    }
)
LABELS = np.array(["card", "money", "money", "card"] * 4, dtype=object)
# Short, none, empty, far too long, of other letters; and of every length in between.
ODD = pa.table(
    {
        "title": ["a", None, "", "card " * 90, "日本語 🙂", None, *("x " * n for n in range(70))],
        "text": [None, None, "", "money " * 90, "é", "b", *["card"] * 70],
    }
)
TOLERANCE = 1e-5
SIGNATURE = Signature((Field("title", "string"), Field("text", "string")))


def _recipe(config: dict[str, Any]) -> TransformersModel:
    return TransformersModel(config, max_length=24, how=Tuning(epochs=1, lr=1e-3, patience=None))


def _far(model: OnnxModel, estimator: TransformersModel, rows: pa.Table) -> float:
    return float(np.abs(SERVED.predict(model, rows) - ADAPTER.predict(estimator, rows)).max())


@pytest.fixture(scope="module", autouse=True)
def _on_one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bert() -> TransformersModel:
    return ADAPTER.fit(_recipe(BERT), ROWS, LABELS, seed=0)


@pytest.fixture(scope="module")
def served(bert: TransformersModel) -> OnnxModel:
    return SERVED.load(SERVED.dump(export(bert, SIGNATURE)))


def test_texts_of_any_length_score_the_same(bert: TransformersModel, served: OnnxModel) -> None:
    """Broken by another cut, another padding, a mask that is not used, or rows out of order."""
    assert served.classes == ADAPTER.classes(bert) == ("card", "money")
    for n_rows in (1, 2, 7, len(ODD)):
        assert _far(served, bert, ODD.slice(0, n_rows)) < TOLERANCE
    for at in range(6):
        assert _far(served, bert, ODD.slice(at, 1)) < TOLERANCE
    assert SERVED.predict(served, ODD.slice(0, 0)).shape == (0, 2)
    assert np.ptp(SERVED.predict(served, ODD)[:, 0]) > 0.01, "no difference to show"


def test_the_classifier_stays_as_it_was(bert: TransformersModel, served: OnnxModel) -> None:
    """Broken by a graph that depends on the rows by which it was made."""
    stored = ADAPTER.dump(bert)
    again = load_plugin("exports", "transformers")(bert, SIGNATURE, rows=ROWS)
    assert ADAPTER.dump(bert) == stored
    assert SERVED.dump(again) == SERVED.dump(served)


def test_the_graph_is_little_more_than_the_weights(
    bert: TransformersModel, served: OnnxModel
) -> None:
    """Broken when each node tells where in the library it came from."""
    assert bert.fitted is not None
    n_bytes = 4 * sum(each.numel() for each in bert.fitted.module.parameters())
    assert len(served.graph) < n_bytes + 20_000


def test_an_addition_to_a_causal_network_is_melted() -> None:
    """Broken by the base alone, or by the last place of a padded row as its last token."""
    base = ADAPTER.fit(_recipe(LLAMA), ROWS, LABELS, seed=0)
    how = Tuning(epochs=2, lr=2e-2, lora_rank=2, patience=None)
    added = ADAPTER.fine_tune(base, Lesson(ROWS, LABELS[::-1]), None, how, seed=0)
    stored = ADAPTER.dump(added)
    model = export(added, SIGNATURE)
    assert _far(model, base, ODD) > 1e-3
    assert _far(model, added, ODD) < TOLERANCE
    assert ADAPTER.dump(added) == stored


def test_a_server_with_the_tokenizer_alone_runs_it(
    bert: TransformersModel, served: OnnxModel, tmp_path: Path
) -> None:
    """Broken by an import of torch or transformers on the way to the scores."""
    path = tmp_path / "model"
    path.write_bytes(SERVED.dump(served))
    program = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
import pyarrow as pa
from renewal.core.spec import Signature
from renewal.models.onnx_adapter import OnnxAdapter
model = OnnxAdapter().load(open(sys.argv[1], "rb").read())
model = OnnxAdapter().ready(model, Signature(()))
print(*OnnxAdapter().predict(model, pa.table({"title": ["card"], "text": [None]}))[0])
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    rows = pa.table({"title": ["card"], "text": pa.array([None], pa.string())})
    found = np.array(ran.stdout.split(), dtype=float)
    assert np.abs(found - ADAPTER.predict(bert, rows)[0]).max() < TOLERANCE


def test_recipes_and_missing_columns_are_told(bert: TransformersModel) -> None:
    with pytest.raises(Invalid, match="a fitted text classifier"):
        export(_recipe(BERT), SIGNATURE)
    with pytest.raises(Invalid, match="one without title") as missing:
        export(bert, Signature((Field("text", "string"),)))
    assert missing.value.fields["columns"] == ["title"]
