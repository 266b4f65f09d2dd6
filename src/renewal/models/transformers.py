"""The adapter of transformers: text classifiers that are fitted, fine-tuned and stored alone.

References
----------
.. [1] https://huggingface.co/docs/transformers
"""

from __future__ import annotations

import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

from renewal.core.errors import Invalid
from renewal.core.spec import Signature
from renewal.models.contract import Capabilities, Way, Weights
from renewal.models.labels import Labels
from renewal.models.layers import Lesson, Tuning
from renewal.models.space import Dimension, Space
from renewal.models.task import Classes, Scores
from renewal.models.tokenizers_front import by_length, encoded, texts_of
from renewal.models.torch_build import tried
from renewal.models.torch_device import device_here
from renewal.models.torch_layers import handed_to
from renewal.models.transformers_bytes import digest_of, from_bytes, onto, to_bytes
from renewal.models.transformers_learn import afresh, gone_on, with_outputs
from renewal.models.transformers_model import Fitted, TransformersModel, demand_fitted
from renewal.models.transformers_nets import head_of
from renewal.models.transformers_text import padded

_BATCH = 64
_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "peft")
_TUNED = ("lr", "epochs", "batch", "weight_decay")


class TransformersAdapter:
    """Fits, fine-tunes and stores text classifiers of the library transformers.

    What is stored is tensors and JSON: no pickle, and no code from elsewhere is ever run.
    With ``lora_rank`` a version is the addition alone, with the digest of its base; versions
    on one base share its bytes in the store and, loaded onto one base, its memory.

    Examples
    --------
    >>> config = {"model_type": "bert", "vocab_size": 300, "hidden_size": 16,
    ...     "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    >>> rows = pa.table({"text": ["card lost", "where is my money", "lost card", "my money"]})
    >>> labels = np.array(["card", "money", "card", "money"], dtype=object)
    >>> adapter = TransformersAdapter()
    >>> fitted = adapter.fit(TransformersModel(config, max_length=16), rows, labels, seed=0)
    >>> adapter.classes(fitted), adapter.predict(fitted, rows).shape
    (('card', 'money'), (4, 2))
    """

    name: str = "transformers"
    reads_forward: tuple[str, ...] = ("transformers", "tokenizers")

    def accepts(self, estimator: Any) -> bool:
        """Say whether `estimator` is a `TransformersModel`."""
        return isinstance(estimator, TransformersModel)

    def capabilities(self, estimator: TransformersModel) -> Capabilities:
        """Say what can be done: everything but a fit anew of what began pre-trained."""
        fitted = estimator.fitted
        can_refit = fitted is None or not fitted.is_pretrained
        why_not = {"continue": "a network has no rounds to add: fine_tune goes on with it"}
        if not can_refit:
            why_not["refit"] = (
                "it began from pre-trained weights that it no longer holds: fine_tune goes on, "
                "and a fit anew takes the folder again"
            )
        return Capabilities(
            can_partial_fit=True,
            accepts_new_classes=True,
            has_layers=True,
            can_refit=can_refit,
            why_not=why_not,
        )

    def fit(
        self,
        estimator: TransformersModel,
        features: pa.Table,
        labels: Labels,
        *,
        names: bool = True,  # noqa: ARG002  # texts have no other form than columns
        seed: int | None = None,
        weights: Weights | None = None,
    ) -> TransformersModel:
        """Return a copy of a recipe, fitted: from random weights, or from those of its folder.

        Raises
        ------
        Invalid
            On rows, labels or a vocabulary that do not do, or when it cannot be fitted anew.
        Unavailable
            When memory is too small.
        """
        who = "TransformersAdapter.fit"
        self._demand_refit(estimator, who)
        return afresh(estimator, Lesson(features, labels, weights), seed=seed or 0, who=who)

    def partial_fit(
        self,
        estimator: TransformersModel,
        features: pa.Table,
        labels: Labels,
        *,
        seed: int | None = None,
    ) -> TransformersModel:
        """Return a copy that went over further rows once, at a fifth of its learning rate.

        An addition goes on as an addition. Rows of old classes must be among them, or those
        are forgotten: `fine_tune` replays them.
        """
        fitted = demand_fitted(estimator, who="TransformersAdapter.partial_fit")
        rank, targets = fitted.lora or (None, "all")
        how = replace(
            estimator.how,
            epochs=1,
            lr=estimator.how.lr / 5,
            lora_rank=rank,
            lora_targets=targets,
            patience=None,
        )
        return gone_on(
            estimator,
            Lesson(features, labels),
            None,
            how,
            seed=seed or 0,
            who="TransformersAdapter.partial_fit",
        )

    def continue_fit(
        self,
        estimator: TransformersModel,
        features: pa.Table,  # noqa: ARG002  # the contract's
        labels: Labels,  # noqa: ARG002  # the contract's
        *,
        way: Way,
        rounds: int = 10,  # noqa: ARG002  # the contract's
        decay: float = 0.9,  # noqa: ARG002  # the contract's
        seed: int | None = None,  # noqa: ARG002  # the contract's
    ) -> TransformersModel:
        """Raise `Invalid`: there are no rounds in a network."""
        raise Invalid(
            "TransformersAdapter.continue_fit",
            needs=f"an estimator that can be continued by {way!r}",
            came=self.capabilities(estimator).why_not["continue"],
            todo="Use the strategy fine_tune.",
        )

    def fine_tune(
        self,
        estimator: TransformersModel,
        lesson: Lesson,
        watched: Lesson | None,
        how: Tuning,
        *,
        seed: int,
        scratch: Path | None = None,
    ) -> TransformersModel:
        """Return a copy that has gone on learning; see `LayeredAdapter.fine_tune`.

        With a rank, an estimator that has an addition of this form trains it on; one with
        another has it melted into its base first, which is then a base of its own. Without a
        rank the whole network is trained, an addition melted into it.
        """
        who = "TransformersAdapter.fine_tune"
        return gone_on(estimator, lesson, watched, how, seed=seed, scratch=scratch, who=who)

    def with_classes(
        self, estimator: TransformersModel, classes: Classes, *, seed: int
    ) -> TransformersModel:
        """Return a copy whose head has an output for each of these classes alone."""
        who = "TransformersAdapter.with_classes"
        return with_outputs(estimator, classes, seed=seed, who=who)

    def embed(self, estimator: TransformersModel, features: pa.Table) -> Scores:
        """Return the pooled text that the last layer is handed, (n_rows, n_dims)."""
        who = "TransformersAdapter.embed"
        fitted = demand_fitted(estimator, who=who)
        _, last = head_of(fitted.module)

        def handed(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            found = handed_to(
                fitted.module, last, lambda: cast("torch.Tensor", fitted.module(**inputs).logits)
            )
            if found.ndim == 3:  # a causal network scores every token; the last one counts
                ends = inputs["attention_mask"].sum(dim=1) - 1
                found = found[torch.arange(len(ends), device=found.device), ends]
            return found

        n_dims = cast("torch.nn.Linear", fitted.module.get_submodule(last)).in_features
        return _each_row(fitted, features, handed, n_dims, who)

    def params(self, estimator: TransformersModel) -> dict[str, Any]:
        """Return how it is trained, and how many tokens of a text it reads."""
        how = estimator.how
        return {name: getattr(how, name) for name in _TUNED} | {"max_length": estimator.max_length}

    def with_params(self, estimator: TransformersModel, params: Any) -> TransformersModel:
        """Return an unfitted copy of the recipe with other parameters.

        Raises
        ------
        Invalid
            On a parameter that `params` does not name, or when there is no recipe.
        """
        who = "TransformersAdapter.with_params"
        self._demand_refit(estimator, who)
        unknown = sorted(set(params) - set(self.params(estimator)))
        if unknown:
            raise Invalid(
                who,
                needs=f"parameters among {', '.join(self.params(estimator))}",
                came=", ".join(unknown),
                todo="Correct the name; sizes belong into the config.",
            )
        tuned = {name: params[name] for name in params if name in _TUNED}
        return replace(
            estimator,
            how=replace(estimator.how, **tuned),
            max_length=params.get("max_length", estimator.max_length),
            fitted=None,
        )

    def search_space(self, estimator: TransformersModel) -> Space:
        """Return the learning rate and the weight decay; nothing for what has no recipe."""
        if not self.capabilities(estimator).can_refit:
            return {}
        return {
            "lr": Dimension(1e-5, 1e-2, log=True),
            "weight_decay": Dimension(1e-4, 1e-1, log=True),
        }

    def predict(self, estimator: TransformersModel, features: pa.Table) -> Scores:
        """Return probabilities, (n_rows, n_classes); short texts are run together.

        Raises
        ------
        Invalid
            When a text column is missing or holds no text.
        """
        who = "TransformersAdapter.predict"
        fitted = demand_fitted(estimator, who=who)

        def scored(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            return fitted.module(**inputs).logits.double().softmax(dim=1)

        return _each_row(fitted, features, scored, len(fitted.classes), who)

    def classes(self, estimator: TransformersModel) -> Classes:
        """Return what the columns of the scores mean, sorted."""
        return demand_fitted(estimator, who="TransformersAdapter.classes").classes

    def dump(self, estimator: TransformersModel) -> bytes:
        """Return tensors and JSON; of an estimator with an addition the addition alone."""
        return to_bytes(estimator)

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> TransformersModel:  # noqa: ARG002  # it holds no types
        """Return the estimator in `data`; an addition needs `load_onto`."""
        return from_bytes(data)

    def base_digest(self, estimator: TransformersModel) -> str | None:
        """Return the digest of the base of an addition; None: there is none."""
        base = None if estimator.fitted is None else estimator.fitted.base
        return None if base is None else digest_of(base)

    def dump_base(self, estimator: TransformersModel) -> bytes:
        """Return the bytes of the base of an addition."""
        base = demand_fitted(estimator, who="TransformersAdapter.dump_base").base
        if base is None:
            raise Invalid(
                "TransformersAdapter.dump_base",
                needs="an estimator that is an addition to a base",
                came="a whole one",
                todo="Ask base_digest first.",
            )
        return to_bytes(base)

    def load_onto(
        self,
        base: TransformersModel,
        data: bytes,
        trust: tuple[str, ...] = (),  # noqa: ARG002  # it holds no types
    ) -> TransformersModel:
        """Return `base` with the addition in `data`; see `LayeredAdapter.load_onto`."""
        return onto(base, data)

    def ready(self, estimator: TransformersModel, signature: Signature) -> TransformersModel:  # noqa: ARG002  # its columns have names
        """Return `estimator` on the device of this process."""
        who, device = "TransformersAdapter.ready", device_here()
        with tried(who, f"the device {device}"):
            demand_fitted(estimator, who=who).module.to(device)
        return estimator

    def environment(self) -> dict[str, str]:
        """Return the versions of Python and of the libraries that the bytes need."""
        return {"python": platform.python_version()} | {each: version(each) for each in _LIBRARIES}

    def _demand_refit(self, estimator: TransformersModel, who: str) -> None:
        able = self.capabilities(estimator)
        if not able.can_refit:
            raise Invalid(
                who,
                needs="a recipe that can be fitted anew",
                came=able.why_not["refit"],
                todo="Use the strategy fine_tune, or fit from the folder.",
            )


def _each_row(fitted: Fitted, features: pa.Table, run: Any, n_columns: int, who: str) -> Scores:
    """Run something on batches of texts of like length; return its answers row by row."""
    tokens = encoded(fitted.tokenizer, texts_of(features, fitted.columns, who=who))
    found = np.empty((len(tokens), n_columns), np.float64)
    device = next(fitted.module.parameters()).device
    pad = int(fitted.config.get("pad_token_id") or 0)
    with torch.inference_mode(), tried(who, "these texts"):
        for at in by_length(tokens, _BATCH):
            batch = padded([tokens[row] for row in at], pad)
            answers = run({name: each.to(device) for name, each in batch.items()})
            found[at] = answers.double().cpu().numpy()
    return found
