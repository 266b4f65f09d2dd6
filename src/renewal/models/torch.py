"""The adapter of torch: networks by import path, trained on by plain loops.

References
----------
.. [1] https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from renewal.core.errors import Invalid
from renewal.core.spec import Signature
from renewal.models.contract import Capabilities, Way, Weights
from renewal.models.labels import Labels
from renewal.models.layers import Lesson, Tuning
from renewal.models.space import Dimension, Space
from renewal.models.task import Classes, Scores
from renewal.models.torch_build import called, on_device, tried
from renewal.models.torch_bytes import base_digest_of, from_bytes, onto_base, to_bytes
from renewal.models.torch_exported import Program
from renewal.models.torch_inputs import finished
from renewal.models.torch_layers import handed_to
from renewal.models.torch_learning import (
    NO_RECIPE,
    fitted_model,
    raw_tensors,
    tuned_model,
    with_outputs,
)
from renewal.models.torch_model import Fitted, TorchModel, demand_fitted

# Rows that go through a network at once when it predicts.
_BATCH = 512
_OPTION = "module__"
_FIXED = "an exported program has the outputs that it was exported with, and no more"
_NO_HEAD = "its last layer is no linear one, so that nobody knows where a new class belongs"


class TorchAdapter:
    """Fits, fine-tunes and stores networks (`renewal.models.torch_model.TorchModel`).

    Networks lie on the GPU where there is one (``RENEWAL_DEVICE`` says otherwise), compute
    in single precision, and are stored as safetensors with their recipe in the header: never
    code, never a pickle. The class that builds the network is imported, and on loading only
    when the operator's `trust` names it.

    Examples
    --------
    >>> from torch import nn
    >>> rows = pa.table({"hour": [6.0, 7.0, 20.0, 21.0]})
    >>> labels = np.array(["in time", "in time", "late", "late"], dtype=object)
    >>> recipe = TorchModel(nn.Linear, {"in_features": 1, "out_features": 2}, Tuning(epochs=3))
    >>> adapter = TorchAdapter()
    >>> fitted = adapter.fit(recipe, rows, labels, seed=0)
    >>> adapter.classes(fitted), adapter.predict(fitted, rows).shape
    (('in time', 'late'), (4, 2))
    """

    name: str = "torch"
    reads_forward: tuple[str, ...] = ("torch",)

    def accepts(self, estimator: Any) -> bool:
        """Say whether `estimator` is a `TorchModel`, fitted or not."""
        return isinstance(estimator, TorchModel)

    def capabilities(self, estimator: TorchModel) -> Capabilities:
        """Say what a network can do: go on learning always, new classes by a linear head."""
        fitted, is_program = estimator.fitted, isinstance(estimator.module, bytes)
        has_head = not is_program and (fitted is None or fitted.head is not None)
        why_not = {} if has_head else {"new_classes": _FIXED if is_program else _NO_HEAD}
        return Capabilities(
            can_partial_fit=True,
            accepts_new_classes=has_head,
            has_layers=True,
            can_refit=not is_program,
            why_not=why_not | ({"refit": NO_RECIPE} if is_program else {}),
        )

    def fit(
        self,
        estimator: TorchModel,
        features: pa.Table,
        labels: Labels,
        *,
        names: bool = True,  # noqa: ARG002  # a network always finds its columns by name
        seed: int | None = None,
        weights: Weights | None = None,
    ) -> TorchModel:
        """Return a copy of the recipe whose network was trained from scratch.

        Parameters
        ----------
        estimator : TorchModel
            Fitted or not; what it has learned is not used.
        features, labels, weights
            Training rows.
        names : bool
            Not used.
        seed : int or None
            Of weights, order and dropout; None: 0, so that a fit can be repeated.

        Raises
        ------
        Invalid
            On rows that the network does not take, or when its training diverges.
        Missing
            When its code is not here.
        """
        lesson = Lesson(features, labels, weights)
        return fitted_model(estimator, lesson, seed=seed or 0, who="TorchAdapter.fit")

    def partial_fit(
        self, estimator: TorchModel, features: pa.Table, labels: Labels, *, seed: int | None = None
    ) -> TorchModel:
        """Return a copy that has gone once through further rows, as it was trained before.

        The optimizer starts afresh. New classes widen the head.
        """
        fitted = demand_fitted(estimator, who="TorchAdapter.partial_fit")
        rank, targets = fitted.lora or (None, "all")
        how = replace(
            estimator.how,
            epochs=1,
            steps=None,
            patience=None,
            unfreeze_every=None,
            distil=0.0,
            lora_rank=rank,
            lora_targets=targets,
        )
        return tuned_model(
            estimator,
            Lesson(features, labels),
            None,
            how,
            seed=seed or 0,
            who="TorchAdapter.partial_fit",
        )

    def continue_fit(
        self,
        estimator: TorchModel,
        features: pa.Table,  # noqa: ARG002  # the contract's
        labels: Labels,  # noqa: ARG002  # the contract's
        *,
        way: Way,
        rounds: int = 10,  # noqa: ARG002  # the contract's
        decay: float = 0.9,  # noqa: ARG002  # the contract's
        seed: int | None = None,  # noqa: ARG002  # the contract's
    ) -> TorchModel:
        """Raise `Invalid`: a network has no rounds; it goes on by partial_fit or fine_tune."""
        raise Invalid(
            "TorchAdapter.continue_fit",
            needs="an estimator that is boosted in rounds",
            came=f"the network {estimator.label} and the way {way!r}",
            todo="Use the strategy fine_tune or incremental.",
        )

    def fine_tune(
        self,
        estimator: TorchModel,
        lesson: Lesson,
        watched: Lesson | None,
        how: Tuning,
        *,
        seed: int,
        scratch: Path | None = None,
    ) -> TorchModel:
        """Return a copy of a fitted network that has gone on learning.

        See `renewal.models.layers.LayeredAdapter.fine_tune`. A network with an addition goes on
        with it where rank and targets are the same; otherwise the addition is first added to
        the weights. Watched rows of classes that it does not know are passed over.

        Raises
        ------
        Invalid
            On options that do not fit, or when its training diverges: the text names step,
            loss and learning rate.
        Unavailable
            When a checkpoint cannot be written, or memory is too small.
        Corrupt
            When a checkpoint does not continue this network.
        """
        return tuned_model(
            estimator,
            lesson,
            watched,
            how,
            seed=seed,
            who="TorchAdapter.fine_tune",
            scratch=scratch,
        )

    def with_classes(self, estimator: TorchModel, classes: Classes, *, seed: int) -> TorchModel:
        """Return a copy whose head has an output for each of these classes alone."""
        return with_outputs(estimator, classes, seed=seed, who="TorchAdapter.with_classes")

    def params(self, estimator: TorchModel) -> Mapping[str, Any]:
        """Return how it is trained, and the options of its class behind ``module__``."""
        options = {f"{_OPTION}{name}": value for name, value in estimator.options.items()}
        return asdict(estimator.how) | options

    def with_params(self, estimator: TorchModel, params: Mapping[str, Any]) -> TorchModel:
        """Return an unfitted copy of the recipe with other parameters.

        Raises
        ------
        Invalid
            On a parameter that is none of `params`, or a value out of its range.
        """
        known = {each.name for each in fields(Tuning)}
        own = {f"{_OPTION}{name}" for name in estimator.options}
        if isinstance(estimator.module, bytes):
            raise Invalid(
                "TorchAdapter.with_params",
                needs="a network that can be built afresh",
                came=NO_RECIPE,
                todo="Give options to the strategy fine_tune.",
            )
        strange = sorted(set(params) - known - own)
        if strange:
            raise Invalid(
                "TorchAdapter.with_params",
                needs=f"parameters among {', '.join(sorted(known | own))}",
                came=", ".join(map(repr, strange)),
                todo="Correct the names.",
            )
        how = replace(estimator.how, **{k: v for k, v in params.items() if k in known})
        options = {k.removeprefix(_OPTION): v for k, v in params.items() if k in own}
        options = {**estimator.options, **options}
        return replace(estimator, how=how, options=options, fitted=None)

    def search_space(self, estimator: TorchModel) -> Space:
        """Return the ranges around the recipe's own learning rate and number of epochs."""
        how = estimator.how
        if isinstance(estimator.module, bytes):
            return {}
        return {
            "lr": Dimension(how.lr / 10.0, how.lr * 10.0, log=True),
            "batch": Dimension(choices=(32, 64, 128, 256)),
            "epochs": Dimension(max(1, how.epochs // 2), 2 * how.epochs),
            "weight_decay": Dimension(1e-6, 1e-1, log=True),
        }

    def predict(self, estimator: TorchModel, features: pa.Table) -> Scores:
        """Return probabilities of shape (n_rows, n_classes), or values of shape (n_rows, 1).

        Raises
        ------
        Invalid
            When a column is missing, or a score is no number.

        Notes
        -----
        A row's score depends on the rows beside it by about 1e-7: single precision sums in
        another order for another number of rows.
        """
        who = "TorchAdapter.predict"
        fitted = demand_fitted(estimator, who=who)
        batches = _batches(fitted, features, who)
        # A GPU tells of what went wrong when its numbers are fetched.
        with torch.inference_mode(), tried(who, "rows of these columns"):
            outputs = [called(fitted, fitted.module, each, who=who).double() for each in batches]
            if not outputs:
                return np.empty((0, len(fitted.classes) or 1))
            whole = torch.cat(outputs)
            if fitted.classes:
                whole = whole.softmax(dim=1)
            else:
                mean, spread = fitted.target
                whole = whole * spread + mean
            scores = cast("Scores", whole.cpu().numpy())
        if not np.isfinite(scores).all():
            raise Invalid(
                who,
                needs="rows for which the network gives numbers",
                came=f"{int((~np.isfinite(scores)).any(axis=1).sum())} rows for which it does not",
                todo="Look for extreme values in these rows.",
            )
        return scores

    def embed(self, estimator: TorchModel, features: pa.Table) -> Scores:
        """Return what the head is handed, float64 of shape (n_rows, n_dims).

        Raises
        ------
        Invalid
            When the network has no linear head.
        """
        who = "TorchAdapter.embed"
        fitted = demand_fitted(estimator, who=who)
        module, head = fitted.module, fitted.head
        if isinstance(module, Program):
            return _embedded_by(module.trunk(), fitted, features, who)
        if head is None:
            raise Invalid(
                who,
                needs="a network with a linear head",
                came=_NO_HEAD,
                todo="Let a linear layer give its scores.",
            )
        found = []
        with torch.inference_mode(), tried(who, "rows of these columns"):
            for tensors in _batches(fitted, features, who):
                run = partial(called, fitted, module, tensors, who=who)
                found.append(handed_to(module, head, run).flatten(1).double().cpu())
        n_dims = fitted.module.get_submodule(head).in_features
        return np.empty((0, n_dims)) if not found else torch.cat(found).numpy()

    def classes(self, estimator: TorchModel) -> Classes:
        """Return what the columns of the scores mean, sorted; empty for a regression."""
        return demand_fitted(estimator, who="TorchAdapter.classes").classes

    def dump(self, estimator: TorchModel) -> bytes:
        """Return the network as bytes; see `renewal.models.torch_bytes.to_bytes`."""
        return to_bytes(estimator)

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> TorchModel:
        """Return the network in `data`; see `renewal.models.torch_bytes.from_bytes`."""
        return from_bytes(data, trust)

    def base_digest(self, estimator: TorchModel) -> str | None:
        """Return the digest of the base of its addition; None where it has none."""
        return base_digest_of(estimator)

    def dump_base(self, estimator: TorchModel) -> bytes:
        """Return the bytes of the base of its addition.

        Raises
        ------
        Invalid
            When it has none.
        """
        fitted = demand_fitted(estimator, who="TorchAdapter.dump_base")
        if fitted.base is None:
            raise Invalid(
                "TorchAdapter.dump_base",
                needs="a network with an addition",
                came="one without",
                todo="Dump it whole.",
            )
        return to_bytes(fitted.base)

    def load_onto(self, base: Any, data: bytes, trust: tuple[str, ...] = ()) -> TorchModel:
        """Return `base` with an addition; see `renewal.models.torch_bytes.onto_base`."""
        return onto_base(base, data, trust)

    def ready(self, estimator: TorchModel, signature: Signature) -> TorchModel:  # noqa: ARG002  # the contract's
        """Return the network as it is: loaded, it lies on its device, ready to predict."""
        return estimator

    def environment(self) -> dict[str, str]:
        """Return the versions of Python, torch and NumPy."""
        return {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": str(torch.__version__),
        }


def _embedded_by(trunk: torch.nn.Module, fitted: Fitted, features: pa.Table, who: str) -> Scores:
    found = []
    with torch.inference_mode(), tried(who, "rows of these columns"):
        for tensors in _batches(fitted, features, who):
            handed = trunk(*finished(fitted.inputs, tensors))
            found.append(handed.flatten(1).double().cpu())
    if found:
        return cast("Scores", torch.cat(found).numpy())
    raise Invalid(who, needs="rows to embed", came="none", todo="Hand in at least one row.")


def _batches(fitted: Fitted, features: pa.Table, who: str) -> Iterator[tuple[Tensor, ...]]:
    """Yield some hundred rows after the other as tensors, on the device of the network."""
    for start in range(0, features.num_rows, _BATCH):
        tensors = raw_tensors(fitted, features.slice(start, _BATCH), who=who)
        yield on_device(fitted.module, tensors)
