"""A short training after a cut, in which the parent is the teacher."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.torch_forms import Opened, open_form, unfit, why_closed
from renewal.compress.torch_statistics import adapt_statistics, freeze_for_one
from renewal.core.errors import Invalid
from renewal.core.progress import tell_progress
from renewal.models.task import Scores
from renewal.models.torch_checkpoint import seeded
from renewal.models.torch_device import device_here
from renewal.models.torch_inputs import Tensors
from renewal.models.torch_losses import chunks_of

_WHO = "recover.distil"
# How often progress is told, and looked whether the loss is still a number.
_LOOK_EVERY = 20


@dataclass(frozen=True, slots=True)
class RecoverOptions:
    """How long, and from whom it learns.

    Parameters
    ----------
    epochs : int >= 0, default 1
        How often the rows are gone through; 0: batch normalizations alone are adapted.
    lr : float > 0, default 2e-3
        Highest learning rate of AdamW; it rises in the first tenth of the steps and falls to
        zero in a half cosine.
    batch : int >= 1, rows, default 64
        Rows of a step.
    distil : float in [0, 1], default 0.7
        Weight of the parent's scores in what is learned, beside the labels.
    features : float >= 0, default 0
        Weight of the gap to what the parent's head is handed, in units of its spread.
    """

    epochs: int = 1
    lr: float = 2e-3
    batch: int = 64
    distil: float = 0.7
    features: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        is_fit = self.epochs >= 0 and self.batch >= 1 and 0.0 <= self.distil <= 1.0
        if not is_fit or not 0.0 < self.lr < math.inf or not 0.0 <= self.features < math.inf:
            raise Invalid(
                _WHO,
                needs="epochs >= 0, lr > 0, batch >= 1, 0 <= distil <= 1 and features >= 0",
                came=str(self),
                todo="Correct the options.",
            )


class RecoverDistil:
    r"""Trains a changed network for a short while to answer as its parent does.

    With the label y, the parent's scores q and the weight d it learns
    :math:`(1 - d)\, y + d\, q` by cross entropy (numbers: by the absolute error to each);
    of rows without a label it learns q alone. With `features`, what its head is handed is
    drawn to what the parent's head is handed, through a linear map where their widths differ.
    The running statistics of batch normalizations are found again before and after.

    Validation rows are never seen, so there is no early stopping. `Material.effort` takes its
    share of the steps: fewer epochs, and below one epoch fewer rows.

    Examples
    --------
    >>> RecoverDistil().levels(None, None)
    (RecoverOptions(epochs=1, lr=0.002, batch=64, distil=0.7, features=0.0),)

    References
    ----------
    .. [1] Hinton, Vinyals, Dean (2015). Distilling the knowledge in a neural network.
       https://arxiv.org/abs/1503.02531
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "recover"
    takes: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    Options: ClassVar[type[Any]] = RecoverOptions
    knob: ClassVar[str | None] = None
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return why nothing can be learned; None when something can."""
        closed = why_closed(form)
        if closed is not None:
            return closed
        if not _n_rows(material):
            return "there is no row to learn from"
        if material.parent.classes != form.classes:
            return "the parent has other classes"
        return None

    def levels(self, form: Form, material: Material) -> tuple[RecoverOptions, ...]:  # noqa: ARG002  # there is no knob
        """Return the default options alone."""
        return (RecoverOptions(),)

    def apply(
        self,
        form: Form,
        options: RecoverOptions,
        material: Material,
        *,
        seed: int,
    ) -> Form:
        """Return the form with weights that have learned.

        Raises
        ------
        Invalid
            Without rows or with a parent of other classes; when the training does not stay
            finite; on `features` where a network has no linear head.
        """
        wrong = self.why_not(form, material)
        if wrong is not None:
            raise unfit(_WHO, "rows and a parent to learn from", wrong)
        opened = open_form(form, who=_WHO)
        n_steps, n_used = _planned(options, material)
        opened.module.to(device_here())
        rows = _Rows.of(opened, material, options, n_used, seed)
        with seeded(seed, device_here()):
            adapt_statistics(opened, rows.inputs)
            if n_steps:
                _train(opened, rows, options, n_steps, seed=seed)
                adapt_statistics(opened, rows.inputs)
        return opened.closed(opened.module, tuple(each[:2] for each in rows.inputs))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """What is learned from: n rows.

    Parameters
    ----------
    inputs : tuple of Tensor
        Raw tensors.
    answers : Tensor of shape (n, n_outputs) or (n, 4)
        Probabilities; of a regression the label and the parent's value, in the network's
        units, and how much each of them counts.
    features : Tensor of shape (n, n_dims) or None
        What the parent's head is handed, of mean 0 and spread 1.
    """

    inputs: Tensors
    answers: Tensor
    features: Tensor | None

    @classmethod
    def of(
        cls, opened: Opened, material: Material, options: RecoverOptions, n_used: int, seed: int
    ) -> _Rows:
        """Return the rows that are used, those without a label behind the others."""
        n_train = len(material.train)
        n_labelled = min(n_train, math.ceil(n_used * n_train / _n_rows(material)))
        places = material.few(n_labelled, seed=seed)
        tables = [material.train.features.take(places)]
        raw = material.parent.score_map is None
        scores = [material.teacher_scores[places] if raw else material.parent.said(tables[0])]
        if material.unlabelled is not None and n_used > n_labelled:
            order = np.random.default_rng(seed).permutation(material.unlabelled.num_rows)
            chosen = np.sort(order[: n_used - n_labelled])
            tables.append(material.unlabelled.take(chosen))
            scores.append(
                material.unlabelled_scores[chosen] if raw else material.parent.said(tables[1])
            )
        teacher = np.concatenate(scores)
        labels = material.labels[places]
        parts = [opened.tensors(each) for each in tables if each.num_rows]
        answers = _answers(opened, labels, teacher, options.distil)
        handed = None
        if options.features:
            handed = _handed_to_parent(opened, material.parent, tables)
        return cls(tuple(map(_joined, zip(*parts, strict=True))), answers, handed)

    def take(self, at: Tensor) -> _Rows:
        """Return some of the rows."""
        features = None if self.features is None else self.features[at]
        return _Rows(tuple(each[at] for each in self.inputs), self.answers[at], features)


def _train(
    opened: Opened, rows: _Rows, options: RecoverOptions, n_steps: int, *, seed: int
) -> None:
    """Train the opened module in place."""
    module, n_rows = opened.module, len(rows.answers)
    weights = [each for each in module.parameters() if each.requires_grad]
    if not weights:
        return
    catch = _Catch(opened, rows)
    optimizer = torch.optim.AdamW([*weights, *catch.parameters], lr=options.lr, weight_decay=0.0)
    rise = max(1, n_steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: _rate(at, rise, n_steps))
    step = 0
    module.train()
    with torch.enable_grad(), catch.hooked():
        while step < n_steps:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
            order = torch.randperm(n_rows, generator=generator)
            for at in chunks_of(order, options.batch)[: n_steps - step]:
                some = rows.take(at)
                freeze_for_one(module, len(at))
                loss = _loss(opened, opened.call(module, some.inputs), some)
                if options.features:
                    loss = loss + options.features * catch.gap(some)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                schedule.step()
                step += 1
                if step % _LOOK_EVERY == 0 or step == n_steps:
                    _look(float(loss.detach()), step, n_steps)
    module.eval()


def _rate(step: int, rise: int, n_steps: int) -> float:
    """Return the share of the highest learning rate at a step.

    Examples
    --------
    >>> [round(_rate(step, 2, 10), 2) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, n_steps - rise)))


def _loss(opened: Opened, outputs: Tensor, rows: _Rows) -> Tensor:
    if opened.form.classes:
        return functional.cross_entropy(outputs.float(), rows.answers)
    return (outputs[:, :1] - rows.answers[:, :2]).abs().mul(rows.answers[:, 2:]).sum(dim=1).mean()


def _look(loss: float, step: int, n_steps: int) -> None:
    if not math.isfinite(loss):
        raise Invalid(
            _WHO,
            needs="a training that stays finite",
            came=f"a loss of {loss} at step {step} of {n_steps}",
            todo="Lower lr, or look for extreme values in the rows.",
        )
    tell_progress(f"recovery, step {step} of {n_steps}, loss {loss:.4g}", step / n_steps)


class _Catch:
    """Catches what the head is handed, and compares it with what the parent's was handed."""

    def __init__(self, opened: Opened, rows: _Rows) -> None:
        self.parameters: list[nn.Parameter] = []
        self.caught: Tensor | None = None
        self.head: nn.Linear | None = None
        self.onto: nn.Linear | None = None
        if rows.features is not None and opened.head is not None:
            self.head = opened.module.get_submodule(opened.head)
            # The parent's features are standardized, so that a map is wanted in any case.
            self.onto = nn.Linear(self.head.in_features, rows.features.shape[1])
            self.onto = self.onto.to(rows.features.device)
            self.parameters = list(self.onto.parameters())

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Listen inside the block."""
        if self.head is None:
            yield
            return

        def keep(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            self.caught = given[0]

        hook = self.head.register_forward_pre_hook(keep)
        try:
            yield
        finally:
            hook.remove()

    def gap(self, rows: _Rows) -> Tensor:
        """Return the mean squared gap of the rows that went through last."""
        if self.onto is None or self.caught is None or rows.features is None:
            raise _no_head()
        mapped = self.onto(self.caught.flatten(1))
        return functional.mse_loss(mapped, rows.features)


def _planned(options: RecoverOptions, material: Material) -> tuple[int, int]:
    """Return how many steps are taken, on how many rows."""
    n_rows = _n_rows(material)
    asked = options.epochs * material.effort
    share = min(1.0, asked) if options.epochs else material.effort
    n_used = max(1, round(n_rows * share))
    per_epoch = max(1, math.ceil((n_used - 1) / options.batch))
    epochs = max(1, round(asked)) if options.epochs else 0
    return epochs * per_epoch, n_used


def _n_rows(material: Material) -> int:
    return len(material.train) + (
        0 if material.unlabelled is None else material.unlabelled.num_rows
    )


def _answers(opened: Opened, labels: NDArray[Any], teacher: Scores, distil: float) -> Tensor:
    """Return what is learned of each row; those behind the labels have the parent's word."""
    classes, n_labelled = opened.form.classes, len(labels)
    if not classes:
        mean, spread = opened.form.estimator.fitted.target
        values = np.concatenate([teacher, teacher, np.zeros_like(teacher)], axis=1)
        values[:n_labelled, 0] = labels.astype(np.float64)
        found = (values - mean) / spread
        # The third and fourth columns: how much the label and the parent's value count.
        weights = np.tile([1.0 - distil, distil], (len(teacher), 1))
        weights[n_labelled:] = (0.0, 1.0)
        whole = np.concatenate([found[:, :2], weights], axis=1)
        return torch.from_numpy(whole.astype(np.float32)).to(device_here())
    found = teacher.astype(np.float64).copy()
    place = {label: at for at, label in enumerate(classes)}
    for row, label in enumerate(labels.tolist()):
        if label in place:
            found[row] *= distil
            found[row, place[label]] += 1.0 - distil
    return torch.from_numpy(found.astype(np.float32)).to(device_here())


def _handed_to_parent(opened: Opened, parent: Form, tables: list[Any]) -> Tensor:
    """Return what the parent's head is handed of each row, standardized."""
    if opened.head is None or not hasattr(parent.runs, "embed"):
        raise _no_head()
    runs: Any = parent.runs
    names = list(parent.signature.names)
    found = np.concatenate(
        [runs.embed(parent.estimator, each.select(names)) for each in tables if each.num_rows]
    )
    spread = np.maximum(found.std(axis=0), 1e-6)
    whole = ((found - found.mean(axis=0)) / spread).astype(np.float32)
    return torch.from_numpy(whole).to(device_here())


def _joined(parts: tuple[Tensor, ...]) -> Tensor:
    """Return tensors one behind the other; of texts, the shorter rows are filled with zeros."""
    longest = max(each.shape[1] if each.ndim > 1 else 0 for each in parts)
    if all(each.ndim == 2 for each in parts):
        parts = tuple(functional.pad(each, (0, longest - each.shape[1])) for each in parts)
    return torch.cat(parts)


def _no_head() -> Invalid:
    return unfit(_WHO, "features=0, or a network and a parent with a linear head", "one without")
