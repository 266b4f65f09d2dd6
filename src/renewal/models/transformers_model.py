"""A text classifier as a recipe, and what a fit adds to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from renewal.core.errors import Invalid
from renewal.core.spec import Label
from renewal.models.layers import Tuning
from renewal.models.task import Classes
from renewal.models.tokenizers_front import loaded_tokenizer
from renewal.models.torch_device import device_here
from renewal.models.transformers_nets import plain_config, read_folder

FROM_SCRATCH = Tuning(epochs=10, batch=32, lr=5e-4, patience=None)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What a text classifier has learned.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; never changed once it is here.
    config : mapping
        The whole configuration of the network, so that a default that changes in a later
        release of the library changes nothing here.
    tokenizer : tokenizers.Tokenizer
        Cuts at `max_length`.
    columns : tuple of str
        Of text, in the order in which they are joined.
    classes : tuple
        What its outputs mean, sorted.
    is_pretrained : bool
        Whether it began from weights that it does not hold any more.
    lora : tuple of (int, str) or None
        Rank and targets of its addition.
    base : TransformersModel or None
        What the addition was made for.
    origin : TransformersModel or None
        What it is but for its head: an addition to this one is one to that, whose bytes lie in
        the store already.
    digest : str or None
        Of its bytes, where they are known.
    """

    module: nn.Module
    config: Mapping[str, Any]
    tokenizer: Tokenizer
    columns: tuple[str, ...]
    classes: Classes
    is_pretrained: bool = False
    lora: tuple[int, str] | None = None
    base: TransformersModel | None = None
    origin: TransformersModel | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TransformersModel:
    """A text classifier of the library transformers, with how it is trained.

    Built from a configuration, with random weights, or from a local folder (`from_folder`).
    Nothing is ever downloaded, and no code comes with a model.

    Parameters
    ----------
    config : mapping
        JSON values as in a ``config.json``: ``model_type`` (``bert``, ``distilbert``, ...)
        and its sizes. The number of classes comes from the labels.
    columns : tuple of str, default ()
        The text columns, joined by line breaks; (): all, where all are text.
    max_length : int, tokens, default 128
        Longer texts are cut.
    how : Tuning
        How `fit` trains it; by default 10 epochs.
    tokenizer : str or None
        A ``tokenizer.json`` as text; None: a byte-level BPE is trained on the training texts.
    start : torch.nn.Module or None
        Pre-trained weights from which `fit` begins; None: random ones.
    fitted : Fitted or None
        Filled by a fit.

    Raises
    ------
    Invalid
        On a model type without text classification, or sizes that it does not take.
    Refused
        On a configuration that asks for code or kernels from elsewhere.

    Examples
    --------
    >>> model = TransformersModel({"model_type": "bert", "hidden_size": 64})
    >>> model.config["hidden_size"], model.max_length
    (64, 128)

    Notes
    -----
    Causal networks with a classification head (``llama``, ``gpt2``) work as they are; models
    that write text need a task of their own, and a network over several GPUs a `device_map`
    in `renewal.models.transformers_nets.built`, the one place where weights find a device.
    """

    config: Mapping[str, Any]
    columns: tuple[str, ...] = ()
    max_length: int = 128
    how: Tuning = FROM_SCRATCH
    tokenizer: str | None = None
    start: nn.Module | None = None
    fitted: Fitted | None = None

    def __post_init__(self) -> None:
        """Refuse at once what could not be built."""
        try:
            given = json.loads(json.dumps(dict(self.config), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise Invalid(
                "TransformersModel",
                needs="a config of JSON values",
                came=f"{type(error).__name__}: {error}",
                todo="Hand in what a config.json holds.",
            ) from error
        object.__setattr__(self, "config", given)
        full = plain_config(given, n_classes=2)
        if self.tokenizer is not None:
            loaded_tokenizer(self.tokenizer, self.max_length, who="TransformersModel")
        most = full.get("max_position_embeddings") or self.max_length
        if not 1 <= self.max_length <= most:
            raise Invalid(
                "TransformersModel",
                needs=f"a max_length of 1 to the network's {most} positions",
                came=str(self.max_length),
                todo="Lower max_length, or raise max_position_embeddings.",
            )


def from_folder(
    path: str | Path,
    *,
    columns: tuple[str, ...] = (),
    max_length: int = 128,
    classes: tuple[Label, ...] | None = None,
    how: Tuning = FROM_SCRATCH,
) -> TransformersModel:
    """Return the model in a local folder, as ``save_pretrained`` writes it.

    Parameters
    ----------
    path : str or Path
        With ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
    columns, max_length, how
        As of `TransformersModel`.
    classes : tuple or None
        What the outputs of its head mean, sorted: it can be registered as it is. None: a
        network that is to get a new head by a fit.

    Raises
    ------
    Invalid
        When a file is missing, weights are missing outside the head, or the classes do not
        fit the head.
    """
    config, module, tokenizer = read_folder(Path(path), None if classes is None else len(classes))
    if classes is None:
        return TransformersModel(
            config, columns, max_length, how=how, tokenizer=tokenizer, start=module
        )
    if list(classes) != sorted(set(classes)) or not columns:
        raise Invalid(
            "from_folder",
            needs="the classes sorted, each once, and the text columns by name",
            came=f"{classes} and {columns or 'no column'}",
            todo="Reorder the outputs of the head with its classes, and name the columns.",
        )
    coder = loaded_tokenizer(tokenizer, max_length, who="from_folder")
    placed = module.to(device_here())
    fitted = Fitted(placed, config, coder, columns, classes, is_pretrained=True)
    return TransformersModel(
        config, columns, max_length, how=how, tokenizer=tokenizer, fitted=fitted
    )


def demand_fitted(model: TransformersModel, *, who: str) -> Fitted:
    """Return what a model has learned; raise `Invalid` when it is a recipe alone."""
    if model.fitted is None:
        raise Invalid(
            who,
            needs="a fitted text classifier",
            came=f"a recipe of the type {model.config.get('model_type')!r}",
            todo="Fit it first.",
        )
    return model.fitted
