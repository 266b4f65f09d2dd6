"""Texts as numbers, with the tokenizer alone: columns joined, cut into tokens, padded.

No library that trains is imported here, so that a graph is served by its tokenizer alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import Tokenizer

from renewal.core.errors import Invalid


def is_text(kind: pa.DataType) -> bool:
    """Say whether a column of this type is read as texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


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
    if wrong or any(not is_text(kind) and not pa.types.is_null(kind) for kind in kinds):
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


def padded(tokens: Sequence[Sequence[int]], pad: int) -> dict[str, NDArray[np.int64]]:
    """Return rows of tokens as one batch, as long as its longest row.

    Examples
    --------
    >>> padded([[5, 6], [7]], pad=0)["attention_mask"].tolist()
    [[1, 1], [1, 0]]
    """
    # A text may have no token at all; a row of nothing but padding would be divided by zero.
    longest = max(1, *map(len, tokens))
    ids = np.full((len(tokens), longest), pad, np.int64)
    mask = np.zeros((len(tokens), longest), np.int64)
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = each
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
