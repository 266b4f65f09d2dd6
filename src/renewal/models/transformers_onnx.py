"""A fitted text classifier as an ONNX graph, which is served with its tokenizer alone."""

from __future__ import annotations

import copy
from typing import cast

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.core.spec import Signature
from renewal.models.onnx_adapter import OnnxAdapter
from renewal.models.onnx_front import Front
from renewal.models.onnx_model import OnnxModel
from renewal.models.onnx_parts import Tokens
from renewal.models.torch_graph import OUTPUT, SIZES, Example, demand_equal, graph_of
from renewal.models.transformers import TransformersAdapter
from renewal.models.transformers_model import Fitted, TransformersModel, demand_fitted

_WHO = "transformers_onnx.export"
FREE = {0: "rows", 1: "tokens"}
# Of each kind that is served: short, none, empty, longer than any limit, and of other letters.
_TEXTS = ("when will my card arrive", None, "card", "", "a new one, please! " * 2000, "日本語 é 🙂",
          "why was I charged twice for it")  # fmt: skip


def export(
    estimator: TransformersModel, signature: Signature, *, rows: pa.Table | None = None
) -> OnnxModel:
    """Return a fitted text classifier as a graph that gives the same scores.

    The graph takes tokens and their mask, of any number of rows and tokens; columns, tokenizer
    and limit stand in the front. An addition (LoRA) is added to the weights first. `estimator`
    stays as it is.

    Parameters
    ----------
    estimator : TransformersModel
        Fitted.
    signature : Signature
        The columns that will be sent; its text columns among them.
    rows : pyarrow.Table or None
        A few rows on which network and graph are compared; None: texts that were made up.

    Returns
    -------
    OnnxModel
        Its scores are logits of the classes.

    Raises
    ------
    Invalid
        On a network that no exporter can write, or when **the export is not equal**: a score
        differs by more than 1e-4 on 1, 2 or 7 rows.

    Notes
    -----
    The graph holds the attention in plain operators: memory grows with the square of the
    number of tokens.
    """
    fitted = demand_fitted(estimator, who=_WHO)
    demand_columns(fitted, signature)
    tokens = tokens_of(fitted)
    front = Front((tokens,)).to_json()
    checked = checked_rows(fitted, rows)
    fed = tokens.feed(checked)
    examples = [Example(name, torch.from_numpy(each), FREE) for name, each in fed.items()]

    def made(graph: bytes) -> OnnxModel:
        return OnnxModel(graph, fitted.classes, OUTPUT, is_logits=True, front=front)

    def demand(graph: bytes) -> None:
        for size in SIZES:
            some = checked.take(np.arange(size) % checked.num_rows)
            expected = TransformersAdapter().predict(estimator, some)
            demand_equal(expected, OnnxAdapter().predict(made(graph), some), who=_WHO)

    module = _Logits(_bare(fitted)).cpu().eval()
    return made(graph_of(module, examples, demand=demand, who=_WHO))


class _Logits(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """A text classifier whose arguments and answer are plain tensors."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return logits of shape (n_rows, n_classes)."""
        ids, mask = tensors
        found: Tensor = self.module(input_ids=ids, attention_mask=mask).logits.float()
        return found


def _bare(fitted: Fitted) -> nn.Module:
    """Return a copy of the network, an addition added to its weights."""
    if fitted.lora is None:
        return copy.deepcopy(fitted.module)
    return cast("nn.Module", load_plugin("additions", "lora")().melted(fitted.module))


def tokens_of(fitted: Fitted) -> Tokens:
    """Return how the columns of a text classifier become its tokens."""
    limit = cast("dict[str, int]", fitted.tokenizer.truncation)
    return Tokens(
        "input_ids",
        "attention_mask",
        fitted.columns,
        fitted.tokenizer.to_str(),
        limit["max_length"],
        int(fitted.config.get("pad_token_id") or 0),
    )


def demand_columns(fitted: Fitted, signature: Signature) -> None:
    """Raise `Invalid` when a signature lacks one of its text columns."""
    missing = [name for name in fitted.columns if name not in signature.names]
    if missing:
        raise Invalid(
            _WHO,
            needs=f"a signature with the text columns {', '.join(fitted.columns)}",
            came=f"one without {', '.join(missing)}",
            todo="Hand in the signature of the version.",
            columns=missing,
        )


def checked_rows(fitted: Fitted, rows: pa.Table | None) -> pa.Table:
    """Return the rows to compare on: those given, and what they may not show besides."""
    texts = pa.array(_TEXTS, pa.string())
    drawn = pa.table(dict.fromkeys(fitted.columns, texts))
    if rows is None or not rows.num_rows:
        return drawn
    own = rows.select(list(fitted.columns)).cast(drawn.schema)
    return pa.concat_tables([own.slice(0, 3), drawn.slice(3)])
