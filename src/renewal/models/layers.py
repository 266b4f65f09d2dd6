"""What an adapter of estimators with layers owes besides: fine-tuning, and additions to a base."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.models.contract import Adapter, Weights
from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores


@dataclass(frozen=True, slots=True)
class Lesson:
    """Rows from which an estimator with layers learns, or on which it is watched.

    Parameters
    ----------
    features : pyarrow.Table
        n rows.
    labels : ndarray of shape (n,)
        As `Task.labels` returns them.
    weights : ndarray of shape (n,) or None
        How much each row counts; None: all the same.
    teacher : ndarray of shape (n, n_classes) or None
        What the champion says of each row, for distillation.
    """

    features: pa.Table
    labels: Labels
    weights: Weights | None = None
    teacher: Scores | None = None


@dataclass(frozen=True, slots=True)
class Tuning:
    """How an estimator with layers goes on learning; every field is an option of fine_tune.

    Parameters
    ----------
    epochs : int >= 1, default 3
        How often the rows are gone through, at most.
    steps : int or None, default None
        Optimizer steps, at most; None: as `epochs` says.
    batch : int >= 1, rows, default 64
        Rows of one forward pass.
    accumulate : int >= 1, default 1
        Forward passes of one optimizer step.
    lr : float > 0, default 1e-3
        Learning rate of the last layer.
    lr_decay : float in (0, 1], default 1
        Factor of the learning rate from each layer to the one before it.
    weight_decay : float >= 0, default 0
        Of AdamW.
    train : str, default "all"
        What is trained: ``all``; ``last:K``, the last K layers that have parameters; or a
        pattern of parameter names such as ``head.*`` (several joined by ``|``).
    unfreeze_every : int or None, default None
        Gradual unfreezing: every so many epochs one more layer before those of `train` is
        trained; with ``all`` there is none, and it is refused.
    lora_rank : int or None, default None
        Train low-rank additions of this rank to linear and convolution layers instead, and
        the head; None: none.
    lora_targets : str, default "all"
        Names of the layers that get them, joined by ``|``; ``all``: every linear and
        convolution layer but the head.
    distil : float in [0, 1), default 0
        Weight of the teacher's answer in the loss, against negative flips.
    patience : int or None, default 2
        Epochs without a better loss on the validation rows after which it stops and goes back
        to the best; None: never.
    precision : {"float32", "bfloat16", "float16"}, default "float32"
        Of the forward pass (autocast; float16 with a gradient scaler, CUDA only).
    checkpoint_every : int >= 1, steps, default 200
        How often the whole state is written, where there is a folder for it.
    """

    epochs: int = 3
    steps: int | None = None
    batch: int = 64
    accumulate: int = 1
    lr: float = 1e-3
    lr_decay: float = 1.0
    weight_decay: float = 0.0
    train: str = "all"
    unfreeze_every: int | None = None
    lora_rank: int | None = None
    lora_targets: str = "all"
    distil: float = 0.0
    patience: int | None = 2
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        wrong = [
            f"{name}={getattr(self, name)}"
            for name in ("epochs", "steps", "batch", "accumulate", "unfreeze_every", "lora_rank",
                         "patience", "checkpoint_every")
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]  # fmt: skip
        wrong += [] if 0.0 < self.lr < math.inf else [f"lr={self.lr}"]
        wrong += [] if 0.0 < self.lr_decay <= 1.0 else [f"lr_decay={self.lr_decay}"]
        wrong += (
            [] if 0.0 <= self.weight_decay < math.inf else [f"weight_decay={self.weight_decay}"]
        )
        wrong += [] if 0.0 <= self.distil < 1.0 else [f"distil={self.distil}"]
        if self.unfreeze_every is not None and self.train == "all":
            wrong.append(f"unfreeze_every={self.unfreeze_every} with train=all")
        if wrong:
            raise Invalid(
                type(self).__name__,
                needs="counts of at least 1, finite lr > 0, 0 < lr_decay <= 1, weight_decay >= 0, "
                "0 <= distil < 1, and with unfreeze_every a part to begin with, such as "
                "train=last:1",
                came=", ".join(wrong),
                todo="Correct the recipe.",
            )


class LayeredAdapter(Adapter, Protocol):
    """An adapter whose estimators have layers (`Capabilities.has_layers`)."""

    def fine_tune(
        self,
        estimator: Any,
        lesson: Lesson,
        watched: Lesson | None,
        how: Tuning,
        *,
        seed: int,
        scratch: Path | None = None,
    ) -> Any:
        """Return a copy of a fitted estimator that has gone on learning.

        Parameters
        ----------
        estimator : object
            Fitted; not changed. New classes in `lesson` widen its head, where
            `Capabilities.accepts_new_classes`.
        lesson : Lesson
            To learn from.
        watched : Lesson or None
            Validation rows for early stopping; never learned from.
        how : Tuning
            How.
        seed : int
            Of the order of rows, of new layers and of dropout.
        scratch : Path or None
            A folder that survives a kill: what lies there is gone on with, and the result
            is the same bit for bit as without the kill (on a GPU but for attention over
            thousands of tokens).
        """
        ...

    def with_classes(self, estimator: Any, classes: Classes, *, seed: int) -> Any:
        """Return a fitted estimator whose head has an output for each of these classes alone.

        Those that it knows keep their weights, the others get fresh ones: what was fitted on
        other classes becomes a base to fine-tune from.
        """
        ...

    def embed(self, estimator: Any, features: pa.Table) -> Scores:
        """Return what the head of `estimator` is handed, float64 of shape (n_rows, n_dims)."""
        ...

    def base_digest(self, estimator: Any) -> str | None:
        """Return the digest of the base that `dump` leaves out; None: it dumps everything."""
        ...

    def dump_base(self, estimator: Any) -> bytes:
        """Return the bytes of that base; their digest is `base_digest`."""
        ...

    def load_onto(self, base: Any, data: bytes, trust: tuple[str, ...] = ()) -> Any:
        """Return `base` with the addition in `data`; `base` may be shared, and stays as it is.

        Raises
        ------
        Corrupt
            When the addition was made for another base.
        """
        ...
