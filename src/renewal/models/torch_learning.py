"""A network fitted afresh, or trained on: what surrounds the loop."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.models.labels import Labels, sorted_classes
from renewal.models.layers import Lesson, Tuning
from renewal.models.task import Classes
from renewal.models.torch_build import built, called, code_digest, copied, imported, tried
from renewal.models.torch_checkpoint import seeded
from renewal.models.torch_device import device_here
from renewal.models.torch_inputs import Tensors, learn_inputs, tensors_of
from renewal.models.torch_layers import fit_head, head_of, resize_head
from renewal.models.torch_loop import Job, learn
from renewal.models.torch_losses import LearningRows, RowLoss
from renewal.models.torch_model import Fitted, TorchModel, demand_fitted
from renewal.models.weights import checked_weights

_PLAIN = (bool, int, str)
NO_RECIPE = "an exported program has weights and no way to draw them anew"
"""Why an exported program cannot be fitted from scratch."""


def fitted_model(model: TorchModel, lesson: Lesson, *, seed: int, who: str) -> TorchModel:
    """Return a copy of a recipe whose network was built and trained from scratch.

    Raises
    ------
    Invalid
        On labels of one class, rows that the network does not take, or a divergence.
    Missing
        When the code of the network is not here.
    """
    if model.how.lora_rank is not None:
        raise Invalid(
            who,
            needs="a way to train from scratch",
            came=f"lora_rank={model.how.lora_rank}: an addition to what does not exist yet",
            todo="Leave it out of the recipe and give it to fine_tune.",
        )
    if isinstance(model.module, bytes):
        raise Invalid(
            who,
            needs="a network that can be built afresh",
            came=NO_RECIPE,
            todo="Bring it in as it is: renewal.models.torch_pretrained.pretrained.",
        )
    classes = _classes(lesson.labels, who)
    device = device_here()
    inputs = learn_inputs(lesson.features, model.reading, who=who)
    with seeded(seed, device):
        module = built(model, who=who)
        head = head_of(module, model.head, who=who)
        fit_head(module, head, len(classes) or 1)
    fitted = Fitted(module, inputs, classes, head, _target(lesson.labels, classes))
    _learn(model, fitted, lesson, None, model.how, seed=seed, who=who)
    return replace(model, fitted=fitted)


def tuned_model(
    model: TorchModel,
    lesson: Lesson,
    watched: Lesson | None,
    how: Tuning,
    *,
    seed: int,
    who: str,
    scratch: Path | None = None,
) -> TorchModel:
    """Return a copy of a fitted network that has gone on learning; see `LayeredAdapter.fine_tune`.

    A network with an addition goes on with it where rank and targets are the same; its base
    stays as it is. Otherwise the addition is first added to the weights.
    """
    parent = demand_fitted(model, who=who)
    classes = _with_new(parent, lesson.labels, who)
    with seeded(seed, device_here()):
        fitted = _grown(model, parent, classes, how, seed=seed, who=who)
    teachers = parent.classes
    if watched is not None:
        watched = _known(watched, classes)
    _learn(
        model,
        fitted,
        lesson,
        watched,
        how,
        seed=seed,
        who=who,
        teachers=teachers,
        scratch=scratch,
    )
    return replace(model, fitted=fitted)


def with_outputs(model: TorchModel, classes: Classes, *, seed: int, who: str) -> TorchModel:
    """Return a copy whose head has an output for each of these classes alone.

    Raises
    ------
    Invalid
        When it has no linear head, or is of another task.
    """
    fitted = demand_fitted(model, who=who)
    if fitted.head is None or not classes or not fitted.classes:
        raise Invalid(
            who,
            needs="a classifier with a linear head, and classes",
            came=f"the head {fitted.head} and {len(classes)} classes",
            todo="Choose another base.",
        )
    whole = model if fitted.lora is None else _melted(model, fitted)
    own = demand_fitted(whole, who=who)
    module = copied(whole, own)
    place = {label: at for at, label in enumerate(fitted.classes)}
    with seeded(seed, device_here()):
        resize_head(module, fitted.head, [place.get(label) for label in classes])
    return replace(model, fitted=replace(own, module=module, classes=classes, digest=None))


def with_addition(
    base: TorchModel, state: dict[str, Tensor], classes: Classes, lora: tuple[int, str]
) -> nn.Module:
    """Return a copy of a base's module with an addition; the base's weights are shared.

    Raises
    ------
    Corrupt
        When the addition does not fit this base.
    """
    own = demand_fitted(base, who="Lora.load")
    module = own.module
    if len(classes) != len(own.classes):
        module = _sharing(module)
        with seeded(0, device_here()):
            fit_head(module, own.head, len(classes))
    rank, targets = lora
    return cast(
        "nn.Module",
        load_plugin("additions", "lora")().load(
            module, state, rank=rank, targets=targets, keep=_kept(own)
        ),
    )


def raw_tensors(fitted: Fitted, features: Any, *, who: str) -> Tensors:
    """Return the raw tensors of rows, by the user's own function where there is one."""
    path = fitted.inputs.reading.prepare
    if path is None:
        return tensors_of(fitted.inputs, features, who=who)
    prepare = imported(path, who=who)
    with tried(who, f"what {path} makes of the rows"):
        return tensors_of(fitted.inputs, features, who=who, prepare=prepare)


def _learn(
    model: TorchModel,
    fitted: Fitted,
    lesson: Lesson,
    watched: Lesson | None,
    how: Tuning,
    *,
    seed: int,
    who: str,
    teachers: Classes = (),
    scratch: Path | None = None,
) -> None:
    """Train the module of `fitted`, which nobody else holds yet."""
    job = Job(
        module=fitted.module,
        call=lambda module, tensors: called(fitted, module, tensors, who=who),
        lesson=_rows(fitted, lesson, teachers, who),
        watched=None if watched is None else _rows(fitted, watched, (), who),
        how=how,
        loss=_loss(model, fitted.classes, who),
        seed=seed,
        device=device_here(),
        who=who,
        scratch=scratch,
        code=code_digest(model),
    )
    with tried(who, "these rows, and memory for its batches"):
        learn(job)


def _grown(
    model: TorchModel, parent: Fitted, classes: Classes, how: Tuning, *, seed: int, who: str
) -> Fitted:
    """Return what is trained on: a copy of the parent, widened, with an addition if wanted."""
    lora, base, adding = parent.lora, parent.base, load_plugin("additions", "lora")
    wanted = None if how.lora_rank is None else (how.lora_rank, how.lora_targets)
    if lora is not None and lora == wanted:
        assert base is not None
        module = with_addition(base, adding().state(parent.module), parent.classes, lora)
    else:
        whole = model if lora is None else _melted(model, parent)
        own = demand_fitted(whole, who=who)
        lora, base = wanted, None if wanted is None else whole
        if wanted is None:
            module = own.module if whole is not model else copied(model, own)
        else:
            module = adding().attach(
                own.module, rank=wanted[0], targets=wanted[1], keep=_kept(own), seed=seed
            )
    if classes != parent.classes:
        assert parent.head is not None
        place = {label: at for at, label in enumerate(parent.classes)}
        resize_head(module, parent.head, [place.get(label) for label in classes])
    return replace(parent, module=module, classes=classes, lora=lora, base=base, digest=None)


def _melted(model: TorchModel, fitted: Fitted) -> TorchModel:
    """Return a network with its addition added to its weights."""
    module = load_plugin("additions", "lora")().melted(fitted.module)
    return replace(model, fitted=replace(fitted, module=module, lora=None, base=None, digest=None))


def _rows(fitted: Fitted, lesson: Lesson, teachers: Classes, who: str) -> LearningRows:
    classes = fitted.classes
    if classes:
        place = {label: at for at, label in enumerate(classes)}
        targets = torch.tensor([place[label] for label in lesson.labels.tolist()])
    else:
        targets = torch.from_numpy(_in_units(lesson.labels, fitted))
    if len(lesson.features) != len(targets):
        raise Invalid(
            who,
            needs="a label for each row",
            came=f"{len(targets):,} labels of {len(lesson.features):,} rows",
            todo="Hand in rows and labels of the same length.",
        )
    return LearningRows(
        raw_tensors(fitted, lesson.features, who=who),
        targets,
        _weights(lesson, who),
        None if lesson.teacher is None else _teacher(lesson, fitted, teachers, who),
    )


def _weights(lesson: Lesson, who: str) -> Tensor | None:
    if lesson.weights is None:
        return None
    weights = checked_weights(lesson.weights, len(lesson.labels), who=who)
    return torch.from_numpy((weights / weights.mean()).astype(np.float32))


def _teacher(lesson: Lesson, fitted: Fitted, teachers: Classes, who: str) -> Tensor:
    """Return the teacher's answers in the order of the network's outputs.

    Of a row whose class the teacher does not know it knows nothing.
    """
    assert lesson.teacher is not None
    found = np.asarray(lesson.teacher, np.float64)
    if found.shape != (len(lesson.labels), len(teachers) or 1):
        raise Invalid(
            who,
            needs=f"a teacher's answers of shape {(len(lesson.labels), len(teachers) or 1)}",
            came=f"{found.shape}",
            todo="Let the champion predict the rows of the lesson.",
        )
    if not fitted.classes:
        return torch.from_numpy(_in_units(found, fitted))
    answers = np.zeros((len(found), len(fitted.classes)), np.float32)
    answers[:, [fitted.classes.index(label) for label in teachers]] = found
    known = set(teachers)
    answers[[label not in known for label in lesson.labels.tolist()]] = 0.0
    return torch.from_numpy(answers)


def _in_units(values: Any, fitted: Fitted) -> Any:
    mean, spread = fitted.target
    return ((np.asarray(values, np.float64) - mean) / spread).astype(np.float32)


def _target(labels: Labels, classes: Classes) -> tuple[float, float]:
    if classes or not len(labels):
        return 0.0, 1.0
    values = np.asarray(labels, np.float64)
    return float(values.mean()), float(values.std()) or 1.0


def _classes(labels: Labels, who: str) -> Classes:
    if labels.dtype != object:
        return ()
    classes = sorted_classes(labels) if all(type(each) in _PLAIN for each in labels) else ()
    if len(classes) < 2:
        raise Invalid(
            who,
            needs="labels of at least two classes, one a row",
            came=f"only {classes[0]!r}" if classes else "sets of labels, or no row",
            todo="Hand in rows of every class; several labels a row need another adapter.",
        )
    return classes


def _with_new(parent: Fitted, labels: Labels, who: str) -> Classes:
    """Return the classes of the parent and the new ones among labels, sorted."""
    if bool(parent.classes) != (labels.dtype == object):
        raise Invalid(
            who,
            needs="labels of classes" if parent.classes else "numbers as labels",
            came=f"labels of type {labels.dtype}",
            todo="Hand in labels of the task that the network was fitted for.",
        )
    if not parent.classes:
        return ()
    new = set(labels.tolist()) - set(parent.classes)
    if new and (parent.head is None or {type(x) for x in new} != {type(parent.classes[0])}):
        raise Invalid(
            who,
            needs=f"labels of the classes that the network knows: {parent.classes}",
            came=f"also {', '.join(map(repr, sorted(new, key=str)[:5]))}",
            todo="Its last layer is no linear one, or the labels are of another kind: retrain.",
        )
    return tuple(sorted({*parent.classes, *new}))


def _known(watched: Lesson, classes: Classes) -> Lesson | None:
    """Return the watched rows of classes that the network knows; None where there is none."""
    if not classes:
        return watched if len(watched.labels) else None
    known = set(classes)
    keep = np.fromiter((label in known for label in watched.labels.tolist()), bool)
    if not keep.any():
        return None
    weights = None if watched.weights is None else watched.weights[keep]
    return Lesson(watched.features.filter(keep), watched.labels[keep], weights)


def _loss(model: TorchModel, classes: Sequence[Any], who: str) -> RowLoss:
    fits: tuple[RowLoss, ...] = ("cross_entropy",) if classes else ("l1", "mse")
    if model.loss == "auto":
        return fits[0]
    if model.loss not in fits:
        raise Invalid(
            who,
            needs=f"a loss among {', '.join(fits)}",
            came=repr(model.loss),
            todo="Leave it to the labels: loss='auto'.",
        )
    return model.loss


def _kept(fitted: Fitted) -> tuple[str, ...]:
    return () if fitted.head is None else (fitted.head,)


def _sharing(module: nn.Module) -> nn.Module:
    """Return a copy whose weights share the memory of the original's."""
    memo: dict[int, Any] = {
        id(each): nn.Parameter(each.detach(), requires_grad=each.requires_grad)
        for each in module.parameters()
    }
    return copy.deepcopy(module, memo)
