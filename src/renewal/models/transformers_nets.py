"""Networks of the library transformers: built without code from elsewhere, and their heads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
from transformers.utils import logging

from renewal.core.errors import Corrupt, Invalid, Refused

# What a configuration may not say: each makes the library fetch or run code from elsewhere.
_FOREIGN = ("auto_map", "attn_implementation", "experts_implementation", "quantization_config",
            "custom_pipelines", "trust_remote_code")  # fmt: skip
# What the classes and the release of the library say anew each time.
_OWN = (
    "id2label",
    "label2id",
    "num_labels",
    "transformers_version",
    "_name_or_path",
    "architectures",
)
_WHO = "TransformersModel"
_UNFIT = (AssertionError, KeyError, RuntimeError, TypeError, ValueError, ZeroDivisionError)


def plain_config(config: Mapping[str, Any], *, n_classes: int) -> dict[str, Any]:
    """Return a whole configuration as JSON values, defaults filled in.

    Parameters
    ----------
    config : mapping
        With ``model_type``; what is left out takes the library's default.
    n_classes : int
        Outputs of the head.

    Raises
    ------
    Invalid, Refused
        As `TransformersModel` says.
    """
    found = _config(config, n_classes)
    said = json.loads(json.dumps(found.to_dict()))
    return {name: said[name] for name in sorted(said) if name not in _OWN}


def random_net(config: Mapping[str, Any], *, n_classes: int, seed: int) -> nn.Module:
    """Return a network with random weights.

    Raises
    ------
    Invalid
        When the sizes do not fit each other.
    """
    made = _config(config, n_classes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            made_from = AutoModelForSequenceClassification.from_config
            return cast("nn.Module", made_from(made, trust_remote_code=False).eval())
        except _UNFIT as error:
            raise _unfit(error) from error


def built(config: Mapping[str, Any], state: Mapping[str, Tensor], *, n_classes: int) -> nn.Module:
    """Return a network around the tensors of `weights_of`, whose memory it takes over.

    Random weights are never drawn, which for a billion of them takes half a minute.

    Raises
    ------
    Invalid, Refused
        As `TransformersModel` says.
    Corrupt
        When tensors are missing, left over or of another shape.
    """
    made = _config(config, n_classes)
    _demand_sizes(made, state)
    kinds = {each.dtype for each in state.values() if each.is_floating_point()}
    with _quietly():
        module, said = _class_of(made).from_pretrained(
            None,
            config=made,
            state_dict=dict(state),
            dtype=kinds.pop() if len(kinds) == 1 else torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    wrong = [str(name) for what in said.values() for name in what]
    if wrong or kinds:
        raise _of_another_form(wrong)
    for name, each in module.named_parameters():
        # Tensors on a GPU are loaded into main memory; theirs must be shared, too.
        if each.device != state[name].device:
            each.data = state[name]
    return cast("nn.Module", module.eval().to(next(iter(state.values())).device))


def _demand_sizes(made: Any, state: Mapping[str, Tensor]) -> None:
    """Refuse a configuration of other sizes than the tensors, before memory is taken for them.

    Thirty milliseconds for a network of a billion weights.
    """
    try:
        with torch.device("meta"):
            planned = weights_of(_class_of(made)(made))
    except _UNFIT as error:
        raise _unfit(error) from error
    wrong = set(planned) ^ set(state)
    wrong |= {
        name for name in set(planned) & set(state) if planned[name].shape != state[name].shape
    }
    if wrong:
        raise _of_another_form(list(wrong))


def _of_another_form(names: list[str]) -> Corrupt:
    return Corrupt(
        "TransformersAdapter.load",
        needs="every tensor of the network, of its shape, all of one type",
        came=f"{len(names)} that are missing, left over or of another form: "
        f"{', '.join(sorted(names)[:5])}",
        todo="Restore the bytes, or take another version.",
    )


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return every weight and stored buffer of a network, tied ones once, without a copy."""
    weights = {name: each.detach() for name, each in module.named_parameters()}
    tied = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    buffers = {name: each for name, each in module.state_dict().items() if name not in tied}
    return weights | buffers


def head_of(module: nn.Module) -> tuple[tuple[str, ...], str]:
    """Return the names of what lies above the body, and of the last linear layer.

    Examples
    --------
    >>> net = random_net({"model_type": "distilbert", "dim": 8, "hidden_dim": 8, "n_heads": 2,
    ...     "n_layers": 1, "vocab_size": 300}, n_classes=3, seed=0)
    >>> head_of(net)
    (('pre_classifier', 'classifier'), 'classifier')
    """
    body = getattr(module, "base_model_prefix", "")
    above = tuple(
        name
        for name, child in module.named_children()
        if name != body and any(True for _ in child.parameters())
    )
    linear = [
        name
        for name, each in module.named_modules()
        if isinstance(each, nn.Linear) and name.partition(".")[0] in above
    ]
    if not linear:
        raise Invalid(
            _WHO,
            needs="a network with a linear classification head above its body",
            came=type(module).__name__,
            todo="Take another model_type.",
        )
    return above, linear[-1]


def widened(
    state: Mapping[str, Tensor], head: str, *, old: tuple[Any, ...], new: tuple[Any, ...], seed: int
) -> dict[str, Tensor]:
    """Return the tensors of a network with an output for each of the classes `new`.

    What it knows of the classes `old` stays; the outputs of others begin small and random.

    Examples
    --------
    >>> state = {"head.weight": torch.ones(1, 2), "head.bias": torch.ones(1)}
    >>> wide = widened(state, "head", old=("b",), new=("a", "b"), seed=0)
    >>> wide["head.weight"].shape, wide["head.bias"].tolist()
    (torch.Size([2, 2]), [0.0, 1.0])
    """
    wide = dict(state)
    weight = state[f"{head}.weight"]
    generator = torch.Generator().manual_seed(seed)
    fresh = 0.02 * torch.randn((len(new), weight.shape[1]), generator=generator)
    grown = {f"{head}.weight": fresh.to(weight)}
    if f"{head}.bias" in state:
        grown[f"{head}.bias"] = torch.zeros(len(new)).to(state[f"{head}.bias"])
    place = {label: at for at, label in enumerate(old)}
    for name, tensor in grown.items():
        for at, label in enumerate(new):
            if label in place:
                tensor[at] = state[name][place[label]]
    return wide | grown


def read_folder(path: Path, n_classes: int | None) -> tuple[dict[str, Any], nn.Module, str]:
    """Return configuration, network and tokenizer of a folder, read without the network.

    Raises
    ------
    Invalid
        When a file is missing, or weights are missing outside the head.
    """
    lacking = [
        name
        for name in ("config.json", "model.safetensors", "tokenizer.json")
        if not (path / name).is_file()
    ]
    if lacking:
        raise Invalid(
            "from_folder",
            needs="a folder with config.json, model.safetensors and tokenizer.json",
            came=f"{path} without {', '.join(lacking)}",
            todo="Save model and fast tokenizer there with save_pretrained; a pickle "
            "(pytorch_model.bin) is never read.",
        )
    said = json.loads((path / "config.json").read_text(encoding="utf-8"))
    outputs = n_classes or len(said.get("id2label") or ()) or 2
    made = _config(said, outputs)
    # What is missing is drawn at random: the same each time.
    with torch.random.fork_rng(devices=[]), _quietly():
        torch.default_generator.manual_seed(0)
        module, report = _class_of(made).from_pretrained(
            path,
            config=made,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    above, _ = head_of(module)
    wrong = {str(name) for what in ("missing_keys", "mismatched_keys") for name in report[what]}
    if n_classes is None:
        wrong = {name for name in wrong if name.partition(".")[0] not in above}
    if wrong:
        raise Invalid(
            "from_folder",
            needs="weights for the whole network",
            came=f"none that fit for {', '.join(sorted(wrong)[:5])}",
            todo="Check the folder, and the number of classes; without classes a fit makes "
            "a new head.",
        )
    tokenizer = (path / "tokenizer.json").read_text(encoding="utf-8")
    return plain_config(said, n_classes=outputs), cast("nn.Module", module.eval()), tokenizer


def _config(config: Mapping[str, Any], n_classes: int) -> Any:
    foreign = sorted(set(_foreign(config)))
    if foreign:
        raise Refused(
            _WHO,
            needs="a configuration that asks for no code and no kernels from elsewhere",
            came=f"one with {', '.join(foreign)}",
            todo="Leave these out; models with code of their own are registered by import path.",
        )
    kind = config.get("model_type")
    rest = {name: config[name] for name in config if name not in {"model_type", *_OWN}}
    try:
        made = AutoConfig.for_model(str(kind), **rest, num_labels=n_classes)
    except Exception as error:  # its validators raise kinds of their own, another each release
        raise _unfit(error) from error
    if type(made) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise Invalid(
            _WHO,
            needs="a model_type that the library has a sequence classification for",
            came=repr(kind),
            todo="Take bert, distilbert, roberta, modernbert, llama or the like.",
        )
    if made.pad_token_id is None:  # a causal network finds a row's last token by it
        made.pad_token_id = 0
    return made


def _foreign(value: Any) -> Iterator[str]:
    """Yield names of settings that lead outside, from the parts of a configuration too."""
    if isinstance(value, Mapping):
        yield from (name for name in value if str(name).lstrip("_") in _FOREIGN)
        for each in value.values():
            yield from _foreign(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _foreign(each)


def _class_of(config: Any) -> Any:
    return MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]


def _unfit(error: Exception) -> Invalid:
    return Invalid(
        _WHO,
        needs="a config with a known model_type and sizes that fit each other",
        came=f"{type(error).__name__}: {str(error).strip()[:300]}",
        todo="Correct it; the model_type's page in the library's documentation lists them.",
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the library from printing bars and reports: what is missing is an error here."""
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
