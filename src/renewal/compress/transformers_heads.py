"""Attention heads that matter least, cut out: the layers around them really get smaller.

References
----------
.. [1] Michel, Levy, Neubig (2019). Are sixteen heads really better than one? NeurIPS.
       https://arxiv.org/abs/1905.10650
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import torch
from torch import nn

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.torch_attention import (
    Attention,
    attentions_of,
    keep_heads,
    without_head,
)
from renewal.compress.torch_forms import Opened, apart, open_form, unfit, why_closed
from renewal.core.errors import Invalid
from renewal.models.torch_inputs import Tensors

_WHO = "prune.heads"
_UNKNOWN = "no attention whose heads are known, or a single head in each"
# Rows times heads that the ranking may cost, and the fewest rows that say anything.
_ROWS_OF_HEADS, _FEWEST_ROWS = 8_192, 16
_MOST_LEVELS = 10
# A cut network and one whose heads were silenced sum in another order.
_NEAR = 1e-3


@dataclass(frozen=True, slots=True)
class HeadsOptions:
    """How many heads go, and by how many rows they are ranked.

    Parameters
    ----------
    share : float in (0, 1), default 0.25
        Of all heads, so many are cut out; one of each attention stays.
    max_rows : int >= 1, rows, default 256
        Training rows that rank the heads, at most.
    """

    share: float = 0.25
    max_rows: int = 256

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        if not 0.0 < self.share < 1.0 or self.max_rows < 1:
            raise Invalid(
                _WHO,
                needs="0 < share < 1 and max_rows >= 1",
                came=f"share={self.share}, max_rows={self.max_rows}",
                todo="Correct the options.",
            )


class PruneHeads:
    r"""Cuts out the attention heads without which the network's answers change least.

    Each head is silenced in turn, and its importance is the divergence KL(whole \| without
    it) of the scores over a few training rows; numbers: the mean squared gap. Queries, keys,
    values and what is read of them lose the rows and columns of a head, so that bytes and
    multiplications fall alike.

    Notes
    -----
    Costs one forward pass of the rows for each head, at most 8,192 rows of passes in all, and
    at least 16 for a head. Heads are ranked one by one: several that say the same are all
    thought dispensable, so that much more than half of them should go in two steps with a
    recovery between. The feed-forward layers beside them usually hold two thirds of the
    weights: `prune.neurons` and `factorize.svd` take those.

    Examples
    --------
    A quarter of the heads, then a short training::

        prune.heads:share=0.25 > recover.distil
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    Options: ClassVar[type[Any]] = HeadsOptions
    knob: ClassVar[str | None] = "share"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return why no head can be cut out."""
        closed = why_closed(form)
        if closed is not None:
            return closed
        if not len(material.train):
            return "there is no row by which heads could be ranked"
        module = _module(form)
        if not any(each.n_heads > 1 for each in attentions_of(module)):
            return f"{type(module).__name__} has {_UNKNOWN}"
        return None

    def levels(self, form: Form, material: Material) -> tuple[HeadsOptions, ...]:  # noqa: ARG002  # rows change no level
        """Return shares from a single head up to all but one of each attention."""
        found = attentions_of(_module(form))
        n_heads = sum(each.n_heads for each in found)
        n_spare = n_heads - len(found)
        if n_spare < 1:
            return ()
        n_levels = min(_MOST_LEVELS, n_spare)
        counts = sorted({round(n_spare * (at + 1) / n_levels) for at in range(n_levels)})
        return tuple(HeadsOptions(share=round(count / n_heads, 6)) for count in counts)

    def apply(self, form: Form, options: HeadsOptions, material: Material, *, seed: int) -> Form:
        """Return the form without some of its heads.

        Raises
        ------
        Invalid
            When no head is known, or the network without them does not answer as it does
            with them silenced: its code reads their number elsewhere.
        """
        reason = self.why_not(form, material)
        if reason is not None:
            raise unfit(_WHO, "a network with several attention heads, and rows", reason)
        opened = open_form(form, who=_WHO)
        found = attentions_of(opened.module)
        tensors = _shown(opened, found, options, material, seed)
        gone = _least(opened, found, tensors, options.share)
        silenced = _silenced(opened, found, gone, tensors)
        for attention, lost in zip(found, gone, strict=True):
            if lost:
                kept = [head for head in range(attention.n_heads) if head not in lost]
                keep_heads(opened.module, attention, kept)
        made = opened.closed(opened.module, tensors)
        gap = float((opened.outputs(opened.module, tensors) - silenced).abs().max())
        if not gap <= _NEAR * max(1.0, float(silenced.abs().max())):
            raise unfit(
                _WHO, "a network that answers as it does with its heads silenced", f"{gap:.2g}"
            )
        return made


def _module(form: Form) -> nn.Module:
    """Return a form's network to look at; with an addition, a copy that it is melted into."""
    fitted = form.estimator.fitted
    own: nn.Module = fitted.module
    return own if fitted.lora is None else open_form(form, who=_WHO).module


def _shown(
    opened: Opened, found: list[Attention], options: HeadsOptions, material: Material, seed: int
) -> Tensors:
    """Return the rows that rank the heads."""
    n_heads = sum(each.n_heads for each in found)
    most = max(_FEWEST_ROWS, int(_ROWS_OF_HEADS * material.effort) // n_heads)
    places = material.few(min(most, options.max_rows), seed=seed)
    return opened.tensors(material.train.features.take(pa.array(places)))


def _least(
    opened: Opened, found: list[Attention], tensors: Tensors, share: float
) -> list[set[int]]:
    """Return, for each attention, the heads that go: those that matter least of all."""
    # In double precision a head that says nothing has no divergence at all.
    whole = opened.outputs(opened.module, tensors).double()
    is_regression = not opened.form.classes
    ranked = []
    for place, attention in enumerate(found):
        for head in range(attention.n_heads if attention.n_heads > 1 else 0):
            with without_head(opened.module, attention, [head]):
                without = opened.outputs(opened.module, tensors).double()
            ranked.append((apart(without, whole, is_regression=is_regression), place, head))
    n_gone = round(share * sum(each.n_heads for each in found))
    gone: list[set[int]] = [set() for _ in found]
    for _, place, head in sorted(ranked):
        spare = len(gone[place]) < found[place].n_heads - 1
        if spare and sum(map(len, gone)) < n_gone:
            gone[place].add(head)
    return gone


def _silenced(
    opened: Opened, found: list[Attention], gone: list[set[int]], tensors: Tensors
) -> torch.Tensor:
    """Return what the network says with the heads silenced that will go."""
    if not found:
        return opened.outputs(opened.module, tensors)
    with without_head(opened.module, found[0], sorted(gone[0])):
        return _silenced(opened, found[1:], gone[1:], tensors)
