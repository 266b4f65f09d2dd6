"""LoRA additions: small, whole, on their own base, and never silently without effect."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.utils import set_peft_model_state_dict
from torch import Tensor, nn

from renewal.core.errors import Corrupt, Invalid
from renewal.core.plugin import load_plugin
from renewal.models.peft_lora import Lora

LORA = Lora()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, groups=4),
            nn.Flatten(),
            nn.Linear(64, 8),
            nn.Linear(8, 3),
        )


def _pixels() -> Tensor:
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def _trained(module: nn.Module, rows: Tensor, steps: int = 5) -> nn.Module:
    module.train()
    trained = [each for each in module.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        module(rows).square().mean().backward()
        optimizer.step()
    return module.eval()


def _same(one: nn.Module, other: nn.Module) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def test_it_is_registered() -> None:
    assert load_plugin("additions", "lora") is Lora


def test_only_the_addition_and_the_head_are_trained() -> None:
    """Breaks when the base trains along (mlx-vlm#2178), or nothing does (peft#184)."""
    base = _net()
    before = copy.deepcopy(base)
    grown = LORA.attach(base, rank=2, keep=("6",), seed=0)
    added = 2 * (9 + 4) + 2 * (64 + 8)
    assert LORA.trainable(grown) == added + 8 * 3 + 3
    _trained(grown, _pixels())
    assert _same(base, before)
    assert all(each.requires_grad for each in base.parameters())
    frozen = dict(base.named_parameters())
    for name, each in grown.named_parameters():
        plain = name.replace("base_layer.", "")
        if plain in frozen and not plain.startswith("6."):
            assert torch.equal(each, frozen[plain]), name


def test_a_fresh_addition_changes_nothing_and_follows_the_seed() -> None:
    base = _net().eval()
    state = torch.random.get_rng_state()
    first, again, other = (LORA.attach(base, rank=2, keep=("6",), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state), "it draws from the user's numbers"
    assert torch.equal(first(_pixels()), base(_pixels()))
    assert _same(first, again)
    assert not _same(first, other)


def test_a_base_serves_many_additions_in_its_own_memory() -> None:
    base = _net()
    grown = [LORA.attach(base, rank=2, keep=("6",), seed=seed) for seed in (1, 2)]
    at = base.get_parameter("5.weight").data_ptr()
    assert [each.get_parameter("5.base_layer.weight").data_ptr() for each in grown] == [at, at]
    assert (
        grown[0].get_parameter("6.weight").data_ptr() != base.get_parameter("6.weight").data_ptr()
    )


def test_the_addition_alone_brings_the_module_back() -> None:
    """Breaks when something that moved in training, such as a running mean, is left behind."""
    base = _net()
    grown = _trained(LORA.attach(base, rank=2, keep=("6",), seed=0), _pixels())
    state = {name: each.clone() for name, each in LORA.state(grown).items()}
    assert sorted(state) == [
        "0.lora_A.weight",
        "0.lora_B.weight",
        "1.num_batches_tracked",
        "1.running_mean",
        "1.running_var",
        "5.lora_A.weight",
        "5.lora_B.weight",
        "6.bias",
        "6.weight",
    ]
    loaded = LORA.load(_net(), state, rank=2, keep=("6",)).eval()
    assert torch.equal(loaded(_pixels()), grown(_pixels()))
    assert not torch.equal(loaded(_pixels()), base.eval()(_pixels()))
    assert LORA.trainable(loaded) == LORA.trainable(grown) > 0


def test_a_second_wrapping_is_refused() -> None:
    """PEFT wraps again with a mild warning, and what was learned is gone (lerobot#3459)."""
    grown = _trained(LORA.attach(_net(), rank=2, keep=("6",), seed=0), _pixels())
    learned = grown(_pixels())
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["5"])
    with pytest.warns(UserWarning, match="Already found a `peft_config`"):
        wrapped = inject_adapter_in_model(config, copy.deepcopy(grown))
    assert not torch.allclose(wrapped.eval()(_pixels()), learned), "no damage to show"
    with pytest.raises(Invalid, match="wrapped before"):
        LORA.attach(grown, rank=2, keep=("6",), seed=0)


def test_tensors_that_do_not_fit_are_refused() -> None:
    """PEFT loads what fits and leaves the rest at its random start."""
    grown = _trained(LORA.attach(_net(), rank=2, keep=("6",), seed=0), _pixels())
    state = LORA.state(grown)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["0", "5"])
    half = {name: each for name, each in state.items() if name.startswith("0.lora")}
    set_peft_model_state_dict(inject_adapter_in_model(config, _net()), half)  # says nothing

    def without(name: str) -> dict[str, Tensor]:
        return {each: tensor for each, tensor in state.items() if each != name}

    wrong = {
        "missing": without("5.lora_B.weight"),
        "left over": state | {"7.lora_A.weight": torch.zeros(2, 2)},
        "shape": state | {"6.weight": torch.zeros(4, 8)},
        "type": state | {"6.weight": torch.zeros(3, 8, dtype=torch.float64)},
    }
    for given in wrong.values():
        with pytest.raises(Corrupt, match="1 that are"):
            LORA.load(_net(), given, rank=2, keep=("6",))
    with pytest.raises(Corrupt):
        LORA.load(_net(), state, rank=3, keep=("6",))
    with pytest.raises(Corrupt):
        LORA.load(_net(), state, rank=2, targets="5", keep=("6",))


def test_targets_are_names_or_their_ends() -> None:
    base = nn.Sequential(_net(), nn.Linear(3, 3))
    for targets, layers in (("0.5|1", ["0.5", "1"]), ("5", ["0.5"]), ("0", ["0.0"])):
        grown = LORA.attach(base, rank=1, targets=targets, seed=0)
        found = [name for name in LORA.state(grown) if name.endswith("lora_A.weight")]
        assert [name.removesuffix(".lora_A.weight") for name in found] == layers


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"targets": "5|query"}, "the target 'query'"),
        ({"targets": "3"}, "the target '3'"),  # a grouped convolution
        ({"targets": "6"}, "the target '6'"),  # the head
        ({"keep": ("classifier",)}, "the head 'classifier'"),
        ({"rank": 0}, "rank 0"),
    ],
)
def test_what_cannot_be_added_to_is_named(options: dict[str, object], says: str) -> None:
    """Breaks when a misspelt target is passed over and the update trains less than asked."""
    given: dict[str, object] = {"rank": 2, "keep": ("6",), "seed": 0} | options
    with pytest.raises(Invalid, match=says):
        LORA.attach(_net(), **given)  # type: ignore[arg-type]  # of several kinds


def test_a_module_without_layers_to_add_to_is_refused() -> None:
    with pytest.raises(Invalid, match="0 such layers"):
        LORA.attach(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), rank=1, keep=("1",), seed=0)
    with pytest.raises(Invalid, match="one without"):
        LORA.state(_net())


def test_layers_that_are_read_and_never_called() -> None:
    """Torch's encoder reads its weights in evaluation: an addition would serve nothing."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1).eval()
    rows = torch.randn(4, 5, 8)
    # Of PEFT alone: what it adds moves the loss in training, and not one prediction.
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["linear1"], init_lora_weights=False)
    bare = inject_adapter_in_model(config, copy.deepcopy(encoder)).eval()
    with torch.no_grad():
        assert torch.allclose(bare(rows), encoder(rows), atol=1e-6), "no damage to show"
    assert not torch.allclose(bare.train()(rows), encoder(rows), atol=1e-4)

    grown = LORA.attach(encoder, rank=2, seed=0)
    assert not any("self_attn" in name and "lora" in name for name in LORA.state(grown))
    trained = _trained(grown, rows)
    with torch.no_grad():
        served, unserved = trained(rows), encoder(rows)
        grown.train()
        assert torch.allclose(grown(rows), served, atol=1e-6)
    assert not torch.allclose(served, unserved, atol=1e-4)
    melted = LORA.melted(trained)
    fast = [(each.layers[0].activation_relu_or_gelu, each.use_nested_tensor)
            for each in (encoder, trained, melted)]  # fmt: skip
    assert fast[0] == fast[2] != fast[1]
    with torch.no_grad():
        assert torch.allclose(melted(rows), served, atol=1e-5)
    with pytest.raises(Invalid, match="out_proj"):
        LORA.attach(encoder, rank=2, targets="out_proj", seed=0)


def test_half_precision_learns_in_full() -> None:
    base = _net().to(torch.bfloat16)
    grown = LORA.attach(base, rank=2, keep=("6",), seed=0)
    kinds = {name: each.dtype for name, each in LORA.state(grown).items()}
    assert kinds["5.lora_A.weight"] == kinds["0.lora_B.weight"] == torch.float32
    assert kinds["6.weight"] == torch.bfloat16
    assert grown(_pixels().to(torch.bfloat16)).dtype == torch.bfloat16


def test_melted_it_answers_alike_and_is_a_plain_module() -> None:
    grown = _trained(LORA.attach(_net(), rank=2, keep=("6",), seed=0), _pixels())
    before = copy.deepcopy(grown)
    melted = LORA.melted(grown)
    assert not LORA.is_attached(melted)
    assert melted.state_dict().keys() == _net().state_dict().keys()
    assert torch.allclose(melted(_pixels()), grown(_pixels()), atol=1e-5)
    assert LORA.trainable(melted) == LORA.trainable(_net())
    assert _same(grown, before)


def test_a_rank_that_its_tensors_do_not_have_takes_no_memory() -> None:
    """Broken by matrices that are made as large as the bytes say, and compared afterwards."""
    base = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    state = Lora().state(Lora().attach(base, rank=2, keep=("1",), seed=0))
    with pytest.raises(Corrupt, match="a rank of at most 4"):
        Lora().load(base, state, rank=10**12, keep=("1",))
