"""Texts as numbers: which columns are read, a tokenizer as JSON, and padded batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from torch import Tensor

from renewal.core.errors import Invalid

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_SMALLEST = len(SPECIAL) + 256


def texts_of(features: pa.Table, columns: tuple[str, ...], *, who: str) -> list[str]:
    r"""Return one text a row: the columns joined by line breaks; a null is an empty text.

    Parameters
    ----------
    features : pyarrow.Table
        Rows.
    columns : tuple of str
        Which of its columns are text.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        On a column that is missing or holds no text.

    Examples
    --------
    >>> rows = pa.table({"title": ["late card", None], "body": ["where is it?", "hello"]})
    >>> [text.split("\n") for text in texts_of(rows, ("title", "body"), who="demo")]
    [['late card', 'where is it?'], ['', 'hello']]
    """
    wrong = [name for name in columns if name not in features.column_names]
    kinds = [features.schema.field(name).type for name in columns if name not in wrong]
    if wrong or any(not _is_text(kind) and not pa.types.is_null(kind) for kind in kinds):
        raise Invalid(
            who,
            needs=f"the text columns {', '.join(columns)}",
            came=", ".join(f"{each.name}: {each.type}" for each in features.schema),
            todo="Send every text column of the signature as strings.",
            columns=wrong,
        )
    each_column = [
        ["" if text is None else text for text in features[name].to_pylist()] for name in columns
    ]
    return ["\n".join(parts) for parts in zip(*each_column, strict=True)]


def text_columns(features: pa.Table, asked: tuple[str, ...], *, who: str) -> tuple[str, ...]:
    """Return the columns that a model reads: those asked for, or all where all are text.

    Raises
    ------
    Invalid
        When nobody asked and some column is no text: it would be passed over in silence.
    """
    if asked:
        return asked
    others = [each.name for each in features.schema if not _is_text(each.type)]
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


def loaded_tokenizer(text: str, max_length: int, *, who: str) -> Tokenizer:
    """Return the tokenizer in a JSON text, cutting at `max_length` tokens and padding nothing.

    Raises
    ------
    Invalid
        When the text is no tokenizer of the library `tokenizers`.
    """
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:
        if type(error) is not Exception:  # the library raises the bare class
            raise
        raise Invalid(
            who,
            needs="a tokenizer.json of the library tokenizers",
            came=f"{text[:20]!r} ({error})",
            todo="Save it with Tokenizer.save or with a fast tokenizer's save_pretrained.",
        ) from error
    # The library takes a limit that has no room for one token, and then cuts nothing.
    n_marks = tokenizer.num_special_tokens_to_add(is_pair=False)
    if max_length <= n_marks:
        raise Invalid(
            who,
            needs=f"a max_length above the {n_marks} marks that the tokenizer sets",
            came=str(max_length),
            todo="Raise max_length.",
        )
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    return tokenizer


def encoded(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each text."""
    return [each.ids for each in tokenizer.encode_batch_fast(list(texts))]


def padded(tokens: Sequence[Sequence[int]], pad: int) -> dict[str, Tensor]:
    """Return rows of tokens as one batch, as long as its longest row.

    Examples
    --------
    >>> padded([[5, 6], [7]], pad=0)["attention_mask"].tolist()
    [[1, 1], [1, 0]]
    """
    # A text may have no token at all; a row of nothing but padding would be divided by zero.
    longest = max(1, *map(len, tokens))
    ids = torch.full((len(tokens), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(tokens), longest), dtype=torch.long)
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = torch.tensor(each, dtype=torch.long)
        mask[row, : max(1, len(each))] = 1
    return {"input_ids": ids, "attention_mask": mask}


def by_length(tokens: Sequence[Sequence[int]], batch: int) -> list[NDArray[np.intp]]:
    """Return the rows of each batch, short texts together, so that little is padded.

    Examples
    --------
    >>> [each.tolist() for each in by_length([[1, 2, 3], [1], [1, 2]], 2)]
    [[1, 2], [0]]
    """
    order = np.argsort([len(each) for each in tokens], kind="stable")
    return [order[at : at + batch] for at in range(0, len(order), batch)]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
