"""How text classifiers learn: from scratch, and on from a version, whole or by an addition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.models.labels import Labels, class_labels, sorted_classes
from renewal.models.layers import Lesson, Tuning
from renewal.models.task import Classes
from renewal.models.tokenizers_front import encoded, loaded_tokenizer, texts_of
from renewal.models.torch_build import tried
from renewal.models.torch_device import device_here
from renewal.models.torch_inputs import Tensors
from renewal.models.torch_loop import Job, learn
from renewal.models.torch_losses import LearningRows
from renewal.models.transformers_bytes import digest_of, with_classes
from renewal.models.transformers_model import Fitted, TransformersModel, demand_fitted
from renewal.models.transformers_nets import (
    built,
    head_of,
    plain_config,
    random_net,
    weights_of,
    widened,
)
from renewal.models.transformers_text import padded, text_columns, trained_tokenizer
from renewal.models.weights import checked_weights


def afresh(model: TransformersModel, lesson: Lesson, *, seed: int, who: str) -> TransformersModel:
    """Return a recipe fitted on a lesson.

    Raises
    ------
    Invalid
        On rows, labels or a vocabulary that do not do.
    """
    labels = _labels(lesson, who)
    classes = sorted_classes(labels)
    if len(classes) < 2:
        raise Invalid(
            who,
            needs="labels of at least two classes",
            came=f"{len(classes)} in {len(labels)} rows",
            todo="Hand in rows of every class.",
        )
    if model.how.lora_rank is not None and model.start is None:
        raise Invalid(
            who,
            needs="pre-trained weights to add to",
            came=f"lora_rank={model.how.lora_rank} and random ones",
            todo="Take it from a folder (from_folder), or leave lora_rank to fine_tune.",
        )
    columns = text_columns(lesson.features, model.columns, who=who)
    config = plain_config(model.config, n_classes=len(classes))
    tokenizer = model.tokenizer or trained_tokenizer(
        texts_of(lesson.features, columns, who=who), int(config["vocab_size"])
    )
    coder = loaded_tokenizer(tokenizer, model.max_length, who=who)
    if coder.get_vocab_size() > config["vocab_size"]:
        raise Invalid(
            who,
            needs=f"a tokenizer of at most the network's {config['vocab_size']} tokens",
            came=f"{coder.get_vocab_size()}",
            todo="Raise vocab_size in the config, or take the tokenizer of the network.",
        )
    if model.start is None:
        module = random_net(model.config, n_classes=len(classes), seed=seed)
    else:
        state = {name: each.clone() for name, each in weights_of(model.start).items()}
        state = widened(state, head_of(model.start)[1], old=(), new=classes, seed=seed)
        module = built(config, state, n_classes=len(classes))
    fitted = Fitted(module, config, coder, columns, classes, model.start is not None)
    made = replace(model, start=None, fitted=fitted)
    if model.how.lora_rank is not None:
        return gone_on(made, lesson, None, model.how, seed=seed, who=who)
    _taught(fitted, lesson, None, model.how, seed=seed, who=who)
    return made


def gone_on(
    model: TransformersModel,
    lesson: Lesson,
    watched: Lesson | None,
    how: Tuning,
    *,
    seed: int,
    who: str,
    scratch: Path | None = None,
) -> TransformersModel:
    """Return a copy of a fitted model that has gone on learning; see the adapter.

    Raises
    ------
    Invalid
        On rows or options that do not do, or a training that does not stay finite.
    Corrupt
        When a checkpoint in `scratch` does not continue what is here: another number of
        trained weights, another base, another first loss.
    """
    fitted = demand_fitted(model, who=who)
    # One call on both, so that labels of another kind than the classes are refused.
    both = [*fitted.classes, *_labels(lesson, who).tolist()]
    classes = sorted_classes(class_labels(np.array(both, dtype=object), who=who))
    base, module = _start(model, classes, how, seed)
    lora = None if base is None else (cast("int", how.lora_rank), how.lora_targets)
    grown = replace(
        fitted, module=module, classes=classes, lora=lora, base=base, origin=None, digest=None
    )
    _taught(grown, lesson, watched, how, seed=seed, who=who, scratch=scratch, known=fitted.classes)
    return replace(model, fitted=grown)


def with_outputs(
    model: TransformersModel, classes: Classes, *, seed: int, who: str
) -> TransformersModel:
    """Return a fitted model with an output for each of these classes alone, sharing the rest.

    Raises
    ------
    Invalid
        When the classes are not sorted, each once.
    """
    fitted = demand_fitted(model, who=who)
    if list(classes) != list(sorted_classes(class_labels(classes, who=who))):
        raise Invalid(
            who,
            needs="classes that are sorted, each once",
            came=f"{classes}",
            todo="Sort them as the task does.",
        )
    if classes == fitted.classes:
        return model
    if fitted.base is None or fitted.lora is None:
        module = with_classes(fitted, classes, seed=seed)
        origin = fitted.origin or model
        grown = replace(fitted, module=module, classes=classes, origin=origin, digest=None)
    else:
        module = _addition(fitted, fitted.base, classes, seed)
        grown = replace(fitted, module=module.eval(), classes=classes, digest=None)
    return replace(model, fitted=grown)


def _addition(fitted: Fitted, base: TransformersModel, classes: Classes, seed: int) -> nn.Module:
    """Return a copy of an addition on its base, with an output for each of these classes."""
    assert fitted.lora is not None
    rank, targets = fitted.lora
    above, last = head_of(fitted.module)
    lora = load_plugin("additions", "lora")()
    bare = with_classes(demand_fitted(base, who="fine_tune"), classes, seed=seed)
    state = widened(lora.state(fitted.module), last, old=fitted.classes, new=classes, seed=seed)
    loaded = lora.load(bare, state, rank=rank, targets=targets, keep=above)
    return cast("nn.Module", loaded)


def _start(
    model: TransformersModel, classes: Classes, how: Tuning, seed: int
) -> tuple[TransformersModel | None, nn.Module]:
    """Return the base of an addition, or None, and the network that is to be trained."""
    fitted = demand_fitted(model, who="fine_tune")
    lora = load_plugin("additions", "lora")()
    rank = how.lora_rank
    if rank is not None and fitted.base is not None and fitted.lora == (rank, how.lora_targets):
        return fitted.base, _addition(fitted, fitted.base, classes, seed)
    whole = model
    if fitted.base is not None:
        state = weights_of(lora.melted(fitted.module))
        module = built(fitted.config, state, n_classes=len(fitted.classes))
        fitted = replace(fitted, module=module, lora=None, base=None, digest=None)
        whole = replace(model, fitted=fitted)
    bare = with_classes(fitted, classes, seed=seed)
    if rank is None:
        own = {name: each.clone() for name, each in weights_of(bare).items()}
        return None, built(fitted.config, own, n_classes=len(classes))
    if fitted.origin is not None:
        whole = fitted.origin
        fitted = demand_fitted(whole, who="fine_tune")
    # Written down once: a base of a billion weights takes seconds to digest.
    whole = replace(whole, fitted=replace(fitted, digest=digest_of(whole)))
    above, _ = head_of(bare)
    return whole, lora.attach(bare, rank=rank, targets=how.lora_targets, keep=above, seed=seed)


def _taught(
    fitted: Fitted,
    lesson: Lesson,
    watched: Lesson | None,
    how: Tuning,
    *,
    seed: int,
    who: str,
    scratch: Path | None = None,
    known: Classes = (),
) -> None:
    """Train the network of `fitted` in place."""
    pad = int(fitted.config.get("pad_token_id") or 0)

    def call(module: nn.Module, inputs: Tensors) -> Tensor:
        ids, mask = inputs
        longest = int(mask.sum(dim=1).max())
        inner = module(input_ids=ids[:, :longest], attention_mask=mask[:, :longest])
        return cast("Tensor", inner.logits)

    job = Job(
        module=fitted.module,
        call=call,
        lesson=_rows(fitted, lesson, known, pad, who),
        watched=None if watched is None else _rows(fitted, watched, known, pad, who),
        how=how,
        loss="cross_entropy",
        seed=seed,
        device=device_here(),
        who=who,
        scratch=scratch,
    )
    with tried(who, "texts for this network, and memory for its batches"):
        learn(job)


def _rows(fitted: Fitted, lesson: Lesson, known: Classes, pad: int, who: str) -> LearningRows:
    """Return a lesson as tensors, padded to its longest text."""
    place = {label: at for at, label in enumerate(fitted.classes)}
    labels = _labels(lesson, who).tolist()
    missing = sorted({label for label in labels if label not in place}, key=str)
    if missing:
        raise Invalid(
            who,
            needs="watched rows of classes that it learns",
            came=f"also {', '.join(map(repr, missing[:5]))}",
            todo="Leave these rows out, or hand in rows of these classes to learn from.",
        )
    tokens = encoded(fitted.tokenizer, texts_of(lesson.features, fitted.columns, who=who))
    batch = padded(tokens, pad)
    weights = None
    if lesson.weights is not None:
        checked = checked_weights(lesson.weights, len(labels), who=who)
        weights = torch.from_numpy((checked / checked.mean()).astype(np.float32))
    return LearningRows(
        (batch["input_ids"], batch["attention_mask"]),
        torch.tensor([place[label] for label in labels], dtype=torch.int64),
        weights,
        _teacher(lesson, known, place, who),
    )


def _teacher(lesson: Lesson, known: Classes, place: Mapping[Any, int], who: str) -> Tensor | None:
    """Return what the champion says, in the columns of the classes that are there now.

    Of a row whose class it does not know it knows nothing: a row of zeros.
    """
    if lesson.teacher is None:
        return None
    said = np.asarray(lesson.teacher, np.float32)
    if said.shape != (lesson.features.num_rows, len(known)):
        raise Invalid(
            who,
            needs=f"the champion's {len(known)} scores for each row as the teacher",
            came=f"shape {said.shape}",
            todo="Score the lesson's rows by the version that is fine-tuned.",
        )
    teacher = torch.zeros((len(said), len(place)))
    for at, label in enumerate(known):
        teacher[:, place[label]] = torch.from_numpy(said[:, at])
    strange = set(place) - set(known)
    teacher[[label in strange for label in lesson.labels.tolist()]] = 0.0
    return teacher


def _labels(lesson: Lesson, who: str) -> Labels:
    labels = class_labels(lesson.labels, who=who)
    if len(labels) != lesson.features.num_rows or not len(labels):
        raise Invalid(
            who,
            needs="at least one row, and a label for each",
            came=f"{lesson.features.num_rows} rows and {len(labels)} labels",
            todo="Hand in the labels of these very rows.",
        )
    return labels
