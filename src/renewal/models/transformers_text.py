"""Texts as numbers: which columns are read, a tokenizer as JSON, and padded batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from torch import Tensor

from renewal.core.errors import Invalid
from renewal.models.tokenizers_front import is_text
from renewal.models.tokenizers_front import padded as padded_rows

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_SMALLEST = len(SPECIAL) + 256


def text_columns(features: pa.Table, asked: tuple[str, ...], *, who: str) -> tuple[str, ...]:
    """Return the columns that a model reads: those asked for, or all where all are text.

    Raises
    ------
    Invalid
        When nobody asked and some column is no text: it would be passed over in silence.
    """
    if asked:
        return asked
    others = [each.name for each in features.schema if not is_text(each.type)]
    if others or not features.column_names:
        raise Invalid(
            who,
            needs="to know which columns are its text",
            came=f"also columns of other kinds: {', '.join(others)}" if others else "no column",
            todo="Name the text columns: TransformersModel(..., columns=('text',)).",
        )
    return tuple(features.column_names)


def trained_tokenizer(texts: Iterable[str], n_tokens: int) -> str:
    """Return a byte-level BPE tokenizer that was trained on some texts, as JSON.

    Bytes, because then there is no text that it cannot write down; BPE, because the trainer
    of WordPiece gives other tokens each time it runs on the same texts.

    Parameters
    ----------
    texts : iterable of str
        Training rows alone.
    n_tokens : int >= 260
        The most tokens that it may have: 256 bytes, 4 special ones, and merged ones.

    Raises
    ------
    Invalid
        When `n_tokens` leaves no room for the bytes.
    """
    if n_tokens < _SMALLEST:
        raise Invalid(
            "TransformersAdapter.fit",
            needs=f"a vocab_size of at least {_SMALLEST} to train a tokenizer",
            came=str(n_tokens),
            todo="Raise vocab_size in the config, or hand in a tokenizer.",
        )
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))  # noqa: S106  # a token of text
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=n_tokens,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return str(tokenizer.to_str())


def padded(tokens: Sequence[Sequence[int]], pad: int) -> dict[str, Tensor]:
    """Return rows of tokens as one batch of tensors; see `tokenizers_front.padded`."""
    return {name: torch.from_numpy(each) for name, each in padded_rows(tokens, pad).items()}
