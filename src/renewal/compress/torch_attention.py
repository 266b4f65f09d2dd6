"""Attentions of networks whose heads are known, and how some of their heads are cut out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from renewal.compress.torch_forms import put, tied_layers

# Names of the layers that make queries, keys and values, in the networks of the library
# transformers (bert, roberta, electra, albert; distilbert; llama, bart and many others), and
# of those behind them. The last ones make all three in one (modernbert).
_READING = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"), ("q_proj", "k_proj", "v_proj"),
            ("Wqkv",))  # fmt: skip
_WRITING = ("out_lin", "out_proj", "o_proj", "Wo", "dense")
_HEAD_SIZES = ("attention_head_size", "head_dim")
_COUNTS = ("num_attention_heads", "n_heads", "num_heads", "num_key_value_heads")


@dataclass(frozen=True, slots=True)
class Attention:
    """Where the heads of one attention lie.

    Parameters
    ----------
    name : str
        Of the module in the network.
    n_heads, head_size : int
        How many, and how many numbers each.
    reading : tuple of str
        Names of the linear layers that make queries, keys and values; empty for
        `torch.nn.MultiheadAttention`, which holds them in one tensor.
    writing : str
        Name of the linear layer that is handed what the heads found.
    """

    name: str
    n_heads: int
    head_size: int
    reading: tuple[str, ...]
    writing: str

    def columns(self, heads: Sequence[int]) -> list[int]:
        """Return the columns of what `writing` is handed that come from these heads."""
        return [head * self.head_size + at for head in heads for at in range(self.head_size)]


def attentions_of(module: nn.Module) -> list[Attention]:
    """Return the attentions of a network whose heads are known; others are left out.

    Left out are those with fewer heads for keys than for queries, with weights that are tied
    to others, and with biases of keys and values that are learned.

    Examples
    --------
    >>> [each.n_heads for each in attentions_of(nn.TransformerEncoderLayer(8, 4, 16))]
    [4]
    """
    tied = tied_layers(module)
    found = []
    for name, each in module.named_modules():
        one = _of_torch(name, each) if isinstance(each, nn.MultiheadAttention) else None
        one = one or _of_transformers(module, name, each)
        if one is not None:
            parts = [module.get_submodule(part) for part in (*one.reading, one.writing)]
            if not tied.intersection([each, *parts]):
                found.append(one)
    return found


@contextmanager
def without_head(module: nn.Module, attention: Attention, heads: Sequence[int]) -> Iterator[None]:
    """Let heads say nothing inside the block: what they write is multiplied by zero."""
    weight = cast("nn.Linear", module.get_submodule(attention.writing)).weight
    before = weight.detach().clone()
    try:
        with torch.no_grad():
            weight[:, attention.columns(heads)] = 0.0
        yield
    finally:
        with torch.no_grad():
            weight.copy_(before)


def keep_heads(module: nn.Module, attention: Attention, heads: Sequence[int]) -> None:
    """Cut, in place, every head but these out of an attention.

    The layers get really smaller; the size of a head, and what divides its scores, stay.
    """
    columns = torch.tensor(attention.columns(heads))
    own: Any = module.get_submodule(attention.name)
    if not attention.reading:
        fewer = FewerHeads(own, heads)
        put(module, attention.name, fewer)
        for each in module.modules():
            # It would hand ragged rows to a layer that it reads the weights of.
            if isinstance(each, nn.TransformerEncoder):
                each.use_nested_tensor = False
        return
    width = attention.n_heads * attention.head_size
    for path in attention.reading:
        linear = cast("nn.Linear", module.get_submodule(path))
        n_parts = linear.out_features // width
        rows = torch.cat([part * width + columns for part in range(n_parts)])
        put(module, path, _linear(linear, rows=rows))
    writing = cast("nn.Linear", module.get_submodule(attention.writing))
    put(module, attention.writing, _linear(writing, columns=columns))
    for name in _COUNTS:
        if isinstance(getattr(own, name, None), int):
            setattr(own, name, len(heads))
    if isinstance(getattr(own, "all_head_size", None), int):
        own.all_head_size = len(columns)
    if isinstance(own, FewerHeads):
        own.heads = tuple(own.heads[head] for head in heads)


class FewerHeads(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """What is left of a `torch.nn.MultiheadAttention`, called as it was.

    Parameters
    ----------
    before : torch.nn.MultiheadAttention
        Not changed.
    heads : sequence of int
        Those that stay.

    Examples
    --------
    >>> whole = nn.MultiheadAttention(8, 4, batch_first=True).eval()
    >>> rows = torch.ones(2, 3, 8)
    >>> same = FewerHeads(whole, [0, 1, 2, 3])
    >>> torch.allclose(same(rows, rows, rows)[0], whole(rows, rows, rows)[0], atol=1e-6)
    True
    >>> FewerHeads(whole, [2]).out_proj.in_features
    2
    """

    # What the layers around it ask, so that they call it and do not read its weights.
    in_proj_bias = None
    _qkv_same_embed_dim = True

    def __init__(self, before: nn.MultiheadAttention, heads: Sequence[int]) -> None:
        super().__init__()
        self.batch_first = before.batch_first
        self.dropout = before.dropout
        self.embed_dim = before.embed_dim
        self.head_dim = before.head_dim
        self.num_heads = len(heads)
        self.heads = tuple(heads)
        self.n_before = before.num_heads
        rows = torch.tensor(
            [head * before.head_dim + at for head in heads for at in range(before.head_dim)]
        )
        for part, name in enumerate(("q_proj", "k_proj", "v_proj")):
            whole = nn.Linear(self.embed_dim, self.embed_dim, bias=before.in_proj_bias is not None)
            some = slice(part * self.embed_dim, (part + 1) * self.embed_dim)
            whole.weight = nn.Parameter(before.in_proj_weight[some].detach())
            if before.in_proj_bias is not None:
                whole.bias = nn.Parameter(before.in_proj_bias[some].detach())
            setattr(self, name, _linear(whole, rows=rows))
        self.out_proj = _linear(before.out_proj, columns=rows)
        self.train(before.training)

    def forward(  # noqa: PLR0917  # called as torch calls it
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,  # noqa: FBT001, FBT002  # called as torch calls it
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,  # noqa: FBT001, FBT002  # the same
        is_causal: bool = False,  # noqa: ARG002, FBT001, FBT002  # a hint: the mask says it
    ) -> tuple[Tensor, Tensor | None]:
        """Return what the heads found, and how they weighed where that is wanted."""
        is_single = query.ndim == 2
        given = [query, key, value]
        if is_single:
            given = [each.unsqueeze(0) for each in given]
        elif not self.batch_first:
            given = [each.transpose(0, 1) for each in given]
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (
            to(each).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)
            for to, each in zip(projections, given, strict=True)
        )
        mask = self._mask(attn_mask, key_padding_mask, q)
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
            weights = (scores if mask is None else scores + mask).softmax(dim=-1)
            found = functional.dropout(weights, self.dropout, self.training) @ v
            weights = weights.mean(dim=1) if average_attn_weights else weights
            weights = weights.squeeze(0) if is_single else weights
        else:
            share = self.dropout if self.training else 0.0
            found = functional.scaled_dot_product_attention(q, k, v, mask, dropout_p=share)
        outputs = self.out_proj(found.transpose(1, 2).flatten(2))
        if is_single:
            outputs = outputs.squeeze(0)
        elif not self.batch_first:
            outputs = outputs.transpose(0, 1)
        return outputs, weights

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, like: Tensor) -> Any:
        """Return what is added to scores of shape (n_rows, n_heads, n_queries, n_keys)."""
        whole = None
        if attn_mask is not None:
            whole = _added(attn_mask, like)
            if whole.ndim == 3:
                whole = whole.unflatten(0, (-1, self.n_before))[:, list(self.heads)]
        if padding is not None:
            ends = _added(padding, like)
            ends = ends[None, None, None] if ends.ndim == 1 else ends[:, None, None]
            whole = ends if whole is None else whole + ends
        return whole


def _added(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -math.inf)


def _of_torch(name: str, each: nn.MultiheadAttention) -> Attention | None:
    if not each._qkv_same_embed_dim or each.bias_k is not None or each.add_zero_attn:  # noqa: SLF001  # the only word on it
        return None
    writing = f"{name}.out_proj" if name else "out_proj"
    return Attention(name, each.num_heads, each.head_dim, (), writing)


def _of_transformers(module: nn.Module, name: str, each: nn.Module) -> Attention | None:
    """Return the attention that a module is by the names of its layers; None: it is none."""
    size = next((getattr(each, own) for own in _HEAD_SIZES if hasattr(each, own)), None)
    reading = next((names for names in _READING if all(hasattr(each, own) for own in names)), None)
    if not isinstance(size, int) or reading is None:
        return None
    layers = [getattr(each, own) for own in reading]
    n_parts = 3 if len(reading) == 1 else 1
    widths = {own.out_features for own in layers if isinstance(own, nn.Linear)}
    prefix = f"{name}." if name else ""
    writing = next((f"{prefix}{own}" for own in _WRITING if hasattr(each, own)), None)
    if writing is None:  # of bert's kind: the layer behind stands beside
        writing = f"{name.rpartition('.')[0]}.output.dense"
    try:
        after = module.get_submodule(writing)
    except AttributeError:
        return None
    is_known = len(widths) == 1 and all(isinstance(own, nn.Linear) for own in layers)
    width = widths.pop() // n_parts if is_known else 0
    fits = isinstance(after, nn.Linear) and after.in_features == width and width % size == 0
    if not is_known or not fits or width < size:
        return None
    paths = tuple(f"{prefix}{own}" for own in reading)
    return Attention(name, width // size, size, paths, writing)


def _linear(
    before: nn.Linear, *, rows: Tensor | None = None, columns: Tensor | None = None
) -> nn.Linear:
    """Return a linear layer with some of its outputs, or some of its inputs."""
    weight, bias = before.weight.detach(), before.bias
    if rows is not None:
        weight = weight[rows.to(weight.device)]
        bias = None if bias is None else bias[rows.to(weight.device)]
    if columns is not None:
        weight = weight[:, columns.to(weight.device)]
    made = nn.Linear(
        weight.shape[1],
        weight.shape[0],
        bias=bias is not None,
        device=weight.device,
        dtype=weight.dtype,
    )
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None:
            made.bias.copy_(bias)
    return made
