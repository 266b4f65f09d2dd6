"""Networks of transformers: no code and no download, whatever a configuration says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from renewal.core.errors import Corrupt, Invalid, Refused
from renewal.models.transformers_model import TransformersModel, from_folder
from renewal.models.transformers_nets import built, head_of, random_net, weights_of, widened

TINY: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 300,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 16,
}
_CALLS: list[str] | None = None


def _hear(event: str, _details: tuple[Any, ...]) -> None:
    if _CALLS is not None and event in {"socket.connect", "socket.getaddrinfo"}:
        _CALLS.append(event)


sys.addaudithook(_hear)


@pytest.fixture
def calls() -> Iterator[list[str]]:
    """Hear every call to the network."""
    global _CALLS  # noqa: PLW0603  # an audit hook cannot be taken away again
    _CALLS = []
    yield _CALLS
    _CALLS = None


def test_building_and_reading_calls_nobody(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a name that looks like one of a hub is looked up there."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    named = TINY | {"_name_or_path": "google-bert/bert-base-uncased"}
    net = random_net(named, n_classes=2, seed=0)
    built(named, weights_of(net), n_classes=2)
    net.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    said = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(said | named), encoding="utf-8")
    with pytest.raises(Invalid, match=r"tokenizer\.json of the library"):
        from_folder(tmp_path, max_length=16)
    assert calls == []


@pytest.mark.parametrize(
    "further",
    [
        {"auto_map": {"AutoModelForSequenceClassification": "someone/theirs--code.Model"}},
        {"attn_implementation": "someone/kernel"},
        {"_attn_implementation": "someone/kernel"},
        {"text_config": {"auto_map": {}}},
        {"quantization_config": {"quant_method": "theirs"}},
    ],
)
def test_code_and_kernels_from_elsewhere_are_refused(further: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="from elsewhere"):
        TransformersModel(TINY | further, max_length=16)


@pytest.mark.parametrize(
    ("further", "says"),
    [
        ({"model_type": "no_such"}, "model_type"),
        ({"model_type": None}, "model_type"),
        ({"model_type": "vit"}, "sequence classification"),
        ({"hidden_size": "wide"}, "sizes that fit"),
        ({"hidden_size": 7}, "sizes that fit"),
        ({"hidden_size": {1}}, "JSON values"),
    ],
)
def test_configurations_that_do_not_do(further: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        random_net(TransformersModel(TINY | further, max_length=16).config, n_classes=2, seed=0)


def test_max_length_within_the_positions() -> None:
    """Beyond them torch raises an IndexError, and only at the first long text."""
    with pytest.raises(Invalid, match="16 positions"):
        TransformersModel(TINY, max_length=17)


def test_a_seed_gives_the_same_weights_and_touches_nobodys_numbers() -> None:
    before = torch.random.get_rng_state()
    one, again, other = (random_net(TINY, n_classes=2, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.equal(one.get_parameter(name), again.get_parameter(name))
    assert not torch.equal(one.get_parameter(name), other.get_parameter(name))


def test_half_precision_stays_half() -> None:
    net = random_net(TINY | {"dtype": "bfloat16"}, n_classes=2, seed=0)
    again = built(TINY | {"dtype": "bfloat16"}, weights_of(net), n_classes=2)
    for module in (net, again):
        assert {each.dtype for each in module.parameters()} == {torch.bfloat16}


def test_built_takes_the_very_tensors_and_nothing_else() -> None:
    net = random_net(TINY, n_classes=2, seed=0)
    state = weights_of(net)
    again = built(TINY, state, n_classes=2)
    name = "bert.pooler.dense.weight"
    assert again.get_parameter(name).data_ptr() == state[name].data_ptr()
    assert torch.equal(again.get_buffer("bert.embeddings.position_ids"),
                       net.get_buffer("bert.embeddings.position_ids"))  # fmt: skip
    for wrong in (
        {each: tensor for each, tensor in state.items() if each != name},
        state | {"bert.further.weight": torch.zeros(2)},
        state | {name: torch.zeros(3, 3)},
    ):
        with pytest.raises(Corrupt, match="1 that are"):
            built(TINY, wrong, n_classes=2)


def test_old_classes_keep_their_outputs_wherever_they_sort() -> None:
    net = random_net(TINY, n_classes=2, seed=0)
    _, head = head_of(net)
    wide = widened(weights_of(net), head, old=("b", "d"), new=("a", "b", "c", "d"), seed=0)
    weight = weights_of(net)[f"{head}.weight"]
    assert torch.equal(wide[f"{head}.weight"][[1, 3]], weight)
    assert weight.shape == (2, 8), "the old tensor was changed"


@pytest.mark.parametrize(
    "further",
    [
        {"vocab_size": 10**12},  # 32 TB, where it is built before it is compared
        {"intermediate_size": 10**12},
        {"vocab_size": -3},
        {"hidden_act": "os.system"},
    ],
)
def test_sizes_that_the_tensors_do_not_have_take_no_memory(further: dict[str, Any]) -> None:
    """Broken by a network that is built as large as its bytes say, and compared afterwards."""
    state = weights_of(random_net(TINY, n_classes=2, seed=0))
    with pytest.raises((Corrupt, Invalid)):
        built(TINY | further, state, n_classes=2)
