"""Text classifiers: learned, fine-tuned by small additions, and stored without code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from renewal.core.errors import Corrupt, Invalid, Refused
from renewal.core.progress import Progress, hearing
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest
from renewal.models.adapters import adapter_for, stored
from renewal.models.layers import Lesson, Tuning
from renewal.models.load import load_estimator
from renewal.models.peft_lora import Lora
from renewal.models.torch_tensors import tensors_from_bytes, tensors_to_bytes
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import TransformersModel, demand_fitted, from_folder
from renewal.models.transformers_nets import head_of
from renewal.store.digest import digest
from renewal.store.local import LocalStore

ADAPTER = TransformersAdapter()
BERT = {
    "model_type": "bert",
    "vocab_size": 320,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
RECIPE = TransformersModel(
    BERT, max_length=16, how=Tuning(epochs=6, batch=16, lr=3e-3, patience=None)
)
LORA = Tuning(epochs=10, batch=16, lr=2e-2, lora_rank=2, patience=None)
WORDS = {"card": "lost card", "fee": "high fee", "refund": "my refund"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _lesson(*classes: str, n_rows: int = 48, seed: int = 0) -> Lesson:
    rng = np.random.default_rng(seed)
    labels = np.array(rng.choice(classes, n_rows).tolist(), dtype=object)
    texts = [f"{rng.choice(['please', 'hello', 'help'])} {WORDS[label]}" for label in labels]
    return Lesson(pa.table({"text": texts}), labels)


@pytest.fixture(scope="module")
def fitted() -> TransformersModel:
    torch.set_num_threads(1)
    lesson = _lesson("card", "refund")
    return ADAPTER.fit(RECIPE, lesson.features, lesson.labels, seed=0)


@pytest.fixture(scope="module")
def tuned(fitted: TransformersModel) -> TransformersModel:
    torch.set_num_threads(1)
    return ADAPTER.fine_tune(fitted, _lesson("card", "refund", "fee"), None, LORA, seed=0)


def _accuracy(model: TransformersModel, lesson: Lesson) -> float:
    scores = ADAPTER.predict(model, lesson.features)
    said = [ADAPTER.classes(model)[at] for at in scores.argmax(axis=1)]
    return float(np.mean([one == other for one, other in zip(said, lesson.labels, strict=True)]))


def test_it_learns_and_the_adapter_is_found(fitted: TransformersModel) -> None:
    assert adapter_for(fitted, who="a test").name == "transformers"
    assert _accuracy(fitted, _lesson("card", "refund", seed=1)) > 0.9


# ------------------------------------------------------------------ additions


def test_an_addition_learns_a_new_class_and_leaves_its_base(
    fitted: TransformersModel, tuned: TransformersModel
) -> None:
    """Breaks when the base trains along, or a new class is put before an old one's column."""
    before = ADAPTER.dump(fitted)
    assert ADAPTER.classes(tuned) == ("card", "fee", "refund")
    assert _accuracy(tuned, _lesson("card", "refund", "fee", seed=1)) > 0.9
    again = ADAPTER.fine_tune(fitted, _lesson("card", "refund", "fee"), None, LORA, seed=0)
    assert ADAPTER.dump(fitted) == before
    assert ADAPTER.dump(again) == ADAPTER.dump(tuned)
    assert ADAPTER.base_digest(fitted) is None
    assert ADAPTER.base_digest(tuned) == digest(before)
    assert digest(ADAPTER.dump_base(tuned)) == digest(before)
    with pytest.raises(Invalid, match="a whole one"):
        ADAPTER.dump_base(fitted)


def test_the_addition_alone_is_stored_and_comes_back(
    tmp_path: Path, fitted: TransformersModel, tuned: TransformersModel
) -> None:
    store = LocalStore(tmp_path / "objects")
    kept = stored(ADAPTER, tuned, store)
    assert kept.artifact_bytes < len(ADAPTER.dump(fitted)) / 3
    base = digest(ADAPTER.dump(fitted))
    assert kept.parts == {"base": base}
    path = store.path / base[:2] / base[2:]
    os.utime(path, (0, 0))
    assert stored(ADAPTER, tuned, store) == kept
    assert path.stat().st_mtime > 0, "a sweep may take the base before a manifest names it"
    manifest = Manifest(
        model="intents",
        task="multiclass",
        adapter="transformers",
        artifact=kept.artifact,
        artifact_bytes=kept.artifact_bytes,
        signature=Signature((Field("text", "string"),)),
        classes=ADAPTER.classes(tuned),
        strategy="fine_tune",
        environment=ADAPTER.environment(),
        parts=kept.parts,
    )
    loaded = load_estimator(manifest, store)
    rows = _lesson("card", "refund", "fee", seed=1).features
    assert np.array_equal(ADAPTER.predict(loaded, rows), ADAPTER.predict(tuned, rows))
    assert ADAPTER.dump(loaded) == ADAPTER.dump(tuned)


def test_one_base_serves_many_additions(
    fitted: TransformersModel, tuned: TransformersModel
) -> None:
    """Breaks when loading an addition copies its base, or the second changes the first."""
    base = ADAPTER.load(ADAPTER.dump(fitted))
    lesson = _lesson("card", "refund")
    other = ADAPTER.dump(ADAPTER.fine_tune(fitted, lesson, None, LORA, seed=5))
    one, two = (ADAPTER.load_onto(base, data) for data in (ADAPTER.dump(tuned), other))
    rows = lesson.features
    assert np.array_equal(ADAPTER.predict(one, rows), ADAPTER.predict(tuned, rows))
    assert np.array_equal(ADAPTER.predict(base, rows), ADAPTER.predict(fitted, rows))
    assert ADAPTER.dump(base) == ADAPTER.dump(fitted)
    at = {
        demand_fitted(each, who="a test").module.get_parameter(name).data_ptr()
        for each, name in (
            (base, "bert.encoder.layer.0.intermediate.dense.weight"),
            (one, "bert.encoder.layer.0.intermediate.dense.base_layer.weight"),
            (two, "bert.encoder.layer.0.intermediate.dense.base_layer.weight"),
        )
    }
    assert len(at) == 1


def test_an_addition_goes_onto_its_own_base_alone(
    fitted: TransformersModel, tuned: TransformersModel
) -> None:
    """A base of the same form takes any addition, and answers nonsense."""
    data = ADAPTER.dump(tuned)
    lesson = _lesson("card", "refund")
    stranger = ADAPTER.fit(RECIPE, lesson.features, lesson.labels, seed=9)
    with pytest.raises(Corrupt, match=str(ADAPTER.base_digest(tuned))):
        ADAPTER.load_onto(stranger, data)
    with pytest.raises(Invalid, match="an addition to the base"):
        ADAPTER.load(data)
    with pytest.raises(Corrupt, match="a whole model"):
        ADAPTER.load_onto(fitted, ADAPTER.dump(fitted))
    tensors, said = tensors_from_bytes(data, who="a test")
    tensors.pop(next(name for name in tensors if "lora_B" in name))
    with pytest.raises(Corrupt, match="1 that are missing"):
        ADAPTER.load_onto(fitted, tensors_to_bytes(tensors, said, who="a test"))


def test_going_on_with_an_addition(tuned: TransformersModel) -> None:
    """The same form goes on; another rank, or none, melts it into the weights first."""
    lesson = _lesson("card", "refund", "fee", seed=2)
    still = replace(LORA, steps=1, lr=1e-12)
    before = ADAPTER.predict(tuned, lesson.features)
    for how, base, gap in (
        (still, ADAPTER.base_digest(tuned), 0.0),
        (replace(still, lora_rank=3), "a new one", 1e-5),
        (replace(still, lora_rank=None), None, 1e-5),
    ):
        child = ADAPTER.fine_tune(tuned, lesson, None, how, seed=1)
        found = ADAPTER.base_digest(child)
        if base == "a new one":
            assert found not in {None, ADAPTER.base_digest(tuned)}
        else:
            assert found == base
        after = ADAPTER.predict(child, lesson.features)
        assert np.abs(after - before).max() <= gap + 1e-7, how
    grown = ADAPTER.partial_fit(tuned, lesson.features, lesson.labels, seed=1)
    assert ADAPTER.base_digest(grown) == ADAPTER.base_digest(tuned)


def test_other_classes_on_an_old_base_need_no_new_base(
    fitted: TransformersModel, tuned: TransformersModel
) -> None:
    """Breaks when a base from the catalogue is stored a second time for its head alone."""
    lesson = _lesson("fee", "refund")
    before = ADAPTER.dump(fitted)
    for model in (fitted, tuned):
        base = ADAPTER.with_classes(model, ("fee", "refund"), seed=0)
        assert ADAPTER.classes(base) == ("fee", "refund")
        assert ADAPTER.predict(base, lesson.features).shape == (48, 2)
        child = ADAPTER.fine_tune(base, lesson, None, LORA, seed=0)
        assert ADAPTER.classes(child) == ("fee", "refund")
        assert _accuracy(child, _lesson("fee", "refund", seed=1)) > 0.9
        assert ADAPTER.base_digest(child) == digest(before)
        again = ADAPTER.load_onto(ADAPTER.load(before), ADAPTER.dump(child))
        rows = lesson.features
        assert np.array_equal(ADAPTER.predict(again, rows), ADAPTER.predict(child, rows))
    assert ADAPTER.dump(fitted) == before
    with pytest.raises(Invalid, match="sorted, each once"):
        ADAPTER.with_classes(fitted, ("refund", "fee"), seed=0)
    assert ADAPTER.with_classes(fitted, ("card", "refund"), seed=0) is fitted


# ------------------------------------------------------------------ resume


class _KilledError(Exception):
    """Ends a training in its middle."""


def _die_after(words: int) -> Any:
    heard: list[Progress] = []

    def hear(said: Progress) -> None:
        heard.append(said)
        if len(heard) > words:
            raise _KilledError

    return hear


@pytest.mark.parametrize("rank", [None, 2])
def test_a_killed_training_goes_on_bit_for_bit(
    tmp_path: Path, fitted: TransformersModel, rank: int | None
) -> None:
    lesson, how = _lesson("card", "refund"), replace(LORA, lora_rank=rank, checkpoint_every=1)
    whole = ADAPTER.fine_tune(fitted, lesson, None, how, seed=3)
    scratch = tmp_path / "scratch"
    with pytest.raises(_KilledError), hearing(_die_after(4)):
        ADAPTER.fine_tune(fitted, lesson, None, how, seed=3, scratch=scratch)
    said: list[str] = []
    with hearing(lambda word: said.append(word.text)):
        resumed = ADAPTER.fine_tune(fitted, lesson, None, how, seed=3, scratch=scratch)
    assert said[0].startswith("went on after step 4")
    assert ADAPTER.dump(resumed) == ADAPTER.dump(whole)


def test_a_checkpoint_of_another_base_is_refused(tmp_path: Path, fitted: TransformersModel) -> None:
    """The rows, the options and every shape are the same; only the base's weights differ."""
    lesson, how = _lesson("card", "refund"), replace(LORA, checkpoint_every=1)
    with pytest.raises(_KilledError), hearing(_die_after(4)):
        ADAPTER.fine_tune(fitted, lesson, None, how, seed=3, scratch=tmp_path)
    tensors, said = tensors_from_bytes(ADAPTER.dump(fitted), who="a test")
    tensors["bert.encoder.layer.0.intermediate.dense.weight"] += 1e-3
    other = ADAPTER.load(tensors_to_bytes(tensors, said, who="a test"))
    with pytest.raises(Corrupt, match="frozen weights"):
        ADAPTER.fine_tune(other, lesson, None, how, seed=3, scratch=tmp_path)


# ------------------------------------------------------------------ learning


def test_the_teacher_is_read_in_the_columns_of_now(fitted: TransformersModel) -> None:
    """Breaks when a class that sorts between shifts what the champion says to another class."""
    lesson = _lesson("card", "refund", "fee")
    old = replace(lesson, labels=np.where(lesson.labels == "fee", "card", lesson.labels))
    scores = np.zeros((len(old.labels), 2))
    scores[:, 1] = 1.0  # the teacher says "refund" of everything
    both = replace(lesson, teacher=scores)
    how = Tuning(epochs=4, batch=16, lr=3e-3, distil=0.95, patience=None)
    child = ADAPTER.fine_tune(fitted, both, None, how, seed=0)
    assert ADAPTER.classes(child) == ("card", "fee", "refund")
    assert ADAPTER.predict(child, lesson.features).mean(axis=0).argmax() == 2
    with pytest.raises(Invalid, match="champion's 2 scores"):
        ADAPTER.fine_tune(fitted, replace(both, teacher=scores[:, :1]), None, how, seed=0)


def test_of_a_new_class_the_teacher_knows_nothing(fitted: TransformersModel) -> None:
    """Breaks when new intents are unlearned because the champion calls them something else."""
    lesson = _lesson("card", "refund", "fee")
    taught = replace(lesson, teacher=ADAPTER.predict(fitted, lesson.features))
    how = Tuning(epochs=8, batch=16, lr=3e-3, distil=0.95, patience=None)
    child = ADAPTER.fine_tune(fitted, taught, None, how, seed=0)
    is_fee = lesson.labels == "fee"
    says_fee = ADAPTER.predict(child, lesson.features)[:, ADAPTER.classes(child).index("fee")]
    assert says_fee[is_fee].mean() > 0.5 > says_fee[~is_fee].mean()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"labels": np.array([1, 2] * 24, dtype=object)}, "one kind"),
        ({"labels": np.array(["card"] * 47, dtype=object)}, "47 labels"),
        ({"features": pa.table({"body": ["card"] * 48})}, "the text columns text"),
        ({"features": pa.table({"text": [1.0] * 48})}, "text: double"),
        ({"weights": np.full(48, -1.0)}, "above zero"),
    ],
)
def test_lessons_that_do_not_do(
    fitted: TransformersModel, given: dict[str, Any], says: str
) -> None:
    lesson = replace(_lesson("card", "refund"), **given)
    with pytest.raises(Invalid, match=says):
        ADAPTER.fine_tune(fitted, lesson, None, LORA, seed=0)


def test_watched_rows_of_a_class_that_nobody_learns(fitted: TransformersModel) -> None:
    lesson, watched = _lesson("card", "refund"), _lesson("fee")
    with pytest.raises(Invalid, match="also 'fee'"):
        ADAPTER.fine_tune(fitted, lesson, watched, LORA, seed=0)


def test_a_training_that_diverges_is_said_and_leaves_the_champion(
    fitted: TransformersModel,
) -> None:
    before = ADAPTER.dump(fitted)
    with pytest.raises(Invalid, match="stays finite"):
        ADAPTER.fine_tune(
            fitted, _lesson("card", "refund"), None, Tuning(lr=1e30, batch=16), seed=0
        )
    assert ADAPTER.dump(fitted) == before


def test_one_class_or_none_cannot_be_fitted() -> None:
    for classes in (("card",), ()):
        lesson = _lesson("card", n_rows=len(classes) * 8)
        with pytest.raises(Invalid, match=r"two classes|one row"):
            ADAPTER.fit(RECIPE, lesson.features, lesson.labels, seed=0)


# ------------------------------------------------------------------ what comes out


SMALL: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 16, "hidden_dim": 16, "n_heads": 2, "n_layers": 1},
    "llama": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
}


@pytest.mark.parametrize("kind", ["bert", *SMALL])
def test_what_the_head_is_handed_makes_the_scores(kind: str) -> None:
    """Breaks when embed takes another layer, or a causal network's padding for its last token."""
    config = BERT if kind == "bert" else {"model_type": kind, "vocab_size": 320, **SMALL[kind]}
    lesson = _lesson("card", "refund", "fee")
    recipe = TransformersModel(config, max_length=16, how=Tuning(epochs=1, patience=None))
    model = ADAPTER.fit(recipe, lesson.features, lesson.labels, seed=0)
    rows = pa.table({"text": ["card", "where is my refund, please tell me", None, ""]})
    seen = ADAPTER.embed(model, rows)
    module = demand_fitted(model, who="a test").module
    head = module.get_submodule(head_of(module)[1])
    assert isinstance(head, torch.nn.Linear)
    logits = torch.from_numpy(seen) @ head.weight.detach().double().cpu().T
    logits += 0.0 if head.bias is None else head.bias.detach().double().cpu()
    scores = ADAPTER.predict(model, rows)
    assert np.abs(logits.softmax(dim=1).numpy() - scores).max() < 1e-6
    alone = np.vstack([ADAPTER.predict(model, rows.slice(at, 1)) for at in range(4)])
    assert np.abs(alone - scores).max() < 1e-6, "padding changes scores"
    assert np.array_equal(scores[2], scores[3]), "a null is an empty text"
    assert ADAPTER.embed(model, rows.slice(0, 0)).shape == (0, seen.shape[1])


@pytest.mark.parametrize("classes", [(False, True), (0, 2, 10)])
def test_classes_stay_what_they_were(classes: tuple[Any, ...]) -> None:
    """Breaks when JSON turns a label into a text, or 10 sorts before 2."""
    labels = np.array([classes[at % len(classes)] for at in range(12)], dtype=object)
    rows = pa.table({"text": [f"word{label}" for label in labels]})
    recipe = replace(RECIPE, how=Tuning(epochs=1, patience=None))
    model = ADAPTER.load(ADAPTER.dump(ADAPTER.fit(recipe, rows, labels, seed=0)))
    assert ADAPTER.classes(model) == classes
    assert [type(each) for each in ADAPTER.classes(model)] == [type(each) for each in classes]


def test_bytes_that_describe_another_network_are_refused(fitted: TransformersModel) -> None:
    tensors, said = tensors_from_bytes(ADAPTER.dump(fitted), who="a test")
    for change, kind in (
        ({"classes": ["card"]}, Corrupt),
        ({"config": said["config"] | {"num_hidden_layers": 1}}, Corrupt),
        ({"config": said["config"] | {"auto_map": {"AutoModel": "x--y.Z"}}}, Refused),
        ({"how": {"no_such": 1}}, Invalid),
        ({"tokenizer": "{}"}, Invalid),
    ):
        with pytest.raises(kind):
            ADAPTER.load(tensors_to_bytes(tensors, said | change, who="a test"))
    short = {name: each for name, each in tensors.items() if "layer.1" not in name}
    with pytest.raises(Corrupt, match="missing"):
        ADAPTER.load(tensors_to_bytes(short, said, who="a test"))


# ------------------------------------------------------------------ local folders


@pytest.fixture
def folder(tmp_path: Path, fitted: TransformersModel) -> Path:
    """Save a model as the library's users do."""
    inner = demand_fitted(fitted, who="a test")
    inner.module.save_pretrained(tmp_path)
    inner.tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_a_folder_with_its_classes_is_a_fitted_model(
    folder: Path, fitted: TransformersModel
) -> None:
    model = from_folder(folder, columns=("text",), max_length=16, classes=("card", "refund"))
    rows = _lesson("card", "refund", seed=1).features
    assert np.array_equal(ADAPTER.predict(model, rows), ADAPTER.predict(fitted, rows))
    assert Lora().trainable(demand_fitted(model, who="a test").module) > 0
    lesson = _lesson("card", "refund")
    with pytest.raises(Invalid, match="pre-trained weights that it no longer holds"):
        ADAPTER.fit(model, lesson.features, lesson.labels, seed=0)


def test_a_folder_without_classes_gets_a_new_head(folder: Path) -> None:
    """Breaks when a fit begins from random weights although pre-trained ones are there."""
    recipe = from_folder(folder, max_length=16, how=Tuning(steps=1, lr=1e-12, patience=None))
    lesson = _lesson("card", "refund", "fee")
    model = ADAPTER.fit(recipe, lesson.features, lesson.labels, seed=0)
    name = "bert.encoder.layer.1.output.dense.weight"
    assert recipe.start is not None
    start, now = recipe.start.get_parameter(name), demand_fitted(model, who="a test").module
    assert torch.allclose(start, now.get_parameter(name).cpu(), atol=1e-9)
    assert start.data_ptr() != now.get_parameter(name).data_ptr()
    again = ADAPTER.load(ADAPTER.dump(model))
    assert ADAPTER.capabilities(again).can_refit is False
    assert ADAPTER.search_space(again) == {}


def test_a_first_version_can_be_an_addition_to_a_folder(folder: Path) -> None:
    lesson = _lesson("card", "refund", "fee")
    model = ADAPTER.fit(
        from_folder(folder, max_length=16, how=LORA), lesson.features, lesson.labels, seed=0
    )
    assert _accuracy(model, _lesson("card", "refund", "fee", seed=1)) > 0.9
    assert len(ADAPTER.dump(model)) < len(ADAPTER.dump_base(model)) / 3
    base = ADAPTER.load(ADAPTER.dump_base(model))
    again = ADAPTER.load_onto(base, ADAPTER.dump(model))
    rows = lesson.features
    assert np.array_equal(ADAPTER.predict(again, rows), ADAPTER.predict(model, rows))
    with pytest.raises(Invalid, match="random ones"):
        ADAPTER.fit(replace(RECIPE, how=LORA), lesson.features, lesson.labels, seed=0)


def test_folders_that_do_not_do(folder: Path) -> None:
    with pytest.raises(Invalid, match="classes sorted"):
        from_folder(folder, columns=("text",), classes=("refund", "card"))
    with pytest.raises(Invalid, match=r"classifier\.weight"):
        from_folder(folder, columns=("text",), max_length=16, classes=("a", "b", "c"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(Invalid, match=r"without model\.safetensors"):
        from_folder(folder)
