"""Columns as tensors: what a network is handed, learned once and used for every row."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from renewal.core.errors import Invalid
from renewal.models.columns import (
    codes,
    doubles,
    is_number,
    like,
    one_hot,
    shape_of,
    standardized,
    whole,
)
from renewal.models.pillow_images import decoded

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """How columns become tensors.

    The network is called with the numbers as one float tensor of shape (n, n_columns), the
    texts as one whole-number tensor of codes, and each tensor column and each image column as
    a tensor of its own, in this order; what a table does not have is left out.

    Parameters
    ----------
    standardize : bool, default True
        Whether numbers, and the channels of images, are brought to mean 0 and spread 1 of the
        training rows. Tensor columns are handed over as they are.
    texts : {"codes", "one_hot"}, default "codes"
        Texts as codes from 1 up, for an `Embedding` of `vocabulary` + 1; or as columns of 0
        and 1 behind the numbers. An unseen or missing text is 0, or all zeros.
    vocabulary : int >= 1, default 255
        At most so many texts of a column are known, the most frequent ones.
    images : tuple of (int, int) or None, pixels
        Height and width to which images are scaled; None: all have one size.
    channels : {1, 3}, default 3
        Gray images or colored ones.
    prepare : str or None
        Import path of a function of one's own, ``"shop.nets:prepare"``, that is given the
        Arrow table and returns a tensor or a tuple of them, n rows first; then nothing else
        of this applies.
    """

    standardize: bool = True
    texts: Literal["codes", "one_hot"] = "codes"
    vocabulary: int = 255
    images: tuple[int, int] | None = None
    channels: Literal[1, 3] = 3
    prepare: str | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a fit remembers of its columns; JSON values only.

    Parameters
    ----------
    reading : Reading
        The user's choices.
    numbers : mapping of str to (float, float)
        Mean and spread of each column of numbers, or 0 and 1; a gap becomes the mean.
    texts : mapping of str to tuple of str
        The known texts of each column.
    tensors : mapping of str to tuple of int
        Shape of each tensor column.
    images : mapping of str to tuple
        Shape, means and spreads of the channels of each column of images, in [0, 1].
    """

    reading: Reading
    numbers: Mapping[str, tuple[float, float]]
    texts: Mapping[str, tuple[str, ...]]
    tensors: Mapping[str, tuple[int, ...]]
    images: Mapping[str, tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; `inputs_of_json` reads them."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        # A mapping has no order in sorted JSON, and the order of columns is the network's.
        for name in ("numbers", "texts", "tensors", "images"):
            plain[name] = list(plain[name].items())
        return plain


def inputs_of_json(plain: Mapping[str, Any]) -> Inputs:
    """Read what `Inputs.to_json` wrote."""
    reading = dict(plain["reading"])
    if reading["images"] is not None:
        reading["images"] = tuple(reading["images"])
    return Inputs(
        Reading(**reading),
        {name: (mean, spread) for name, (mean, spread) in plain["numbers"]},
        {name: tuple(words) for name, words in plain["texts"]},
        {name: tuple(shape) for name, shape in plain["tensors"]},
        {name: (tuple(s), tuple(m), tuple(d)) for name, (s, m, d) in plain["images"]},
    )


def learn_inputs(features: pa.Table, reading: Reading, *, who: str) -> Inputs:
    """Return what the training rows say of their columns.

    Raises
    ------
    Invalid
        On a column of a type that no tensor is made of, such as an instant.

    Examples
    --------
    >>> rows = pa.table({"hour": [6.0, 10.0], "carrier": ["UA", "AA"]})
    >>> found = learn_inputs(rows, Reading(), who="demo")
    >>> dict(found.numbers), dict(found.texts)
    ({'hour': (8.0, 2.0)}, {'carrier': ('AA', 'UA')})
    >>> [each.tolist() for each in tensors_of(found, rows, who="demo")]
    [[[-1.0], [1.0]], [[2], [1]]]
    """
    numbers: dict[str, tuple[float, float]] = {}
    texts: dict[str, tuple[str, ...]] = {}
    tensors: dict[str, tuple[int, ...]] = {}
    images: dict[str, Any] = {}
    for each in features.schema if reading.prepare is None else ():
        column = features[each.name]
        if is_number(each.type):
            numbers[each.name] = _mean_and_spread(column, standardize=reading.standardize)
        elif pa.types.is_string(each.type) or pa.types.is_large_string(each.type):
            texts[each.name] = _most_common(column, reading.vocabulary)
        elif shape_of(each) is not None:
            tensors[each.name] = shape_of(each) or ()
        elif pa.types.is_binary(each.type) or pa.types.is_large_binary(each.type):
            images[each.name] = _channels(_pixels(column, reading, who), reading.standardize)
        else:
            raise Invalid(
                who,
                needs="columns of numbers, texts, tensors or images",
                came=f"{each.name!r} of type {each.type}",
                todo="Convert it, or hand in a function of your own: Reading(prepare=...).",
            )
    return Inputs(reading, numbers, texts, tensors, images)


def tensors_of(
    inputs: Inputs,
    features: pa.Table,
    *,
    who: str,
    prepare: Callable[[pa.Table], Any] | None = None,
) -> Tensors:
    """Return rows as tensors on the CPU, images still as bytes; see `finished`.

    Parameters
    ----------
    inputs : Inputs
        Of the fit.
    features : pyarrow.Table
        Any order of columns, and more of them than are needed.
    who : str
        The verb that asks, for the message.
    prepare : callable or None
        The function behind `Reading.prepare`.

    Raises
    ------
    Invalid
        On a missing column, one of another type or shape, or a value that is no number.

    Notes
    -----
    All rows lie in memory at once: 4 bytes a number, 1 a channel of a pixel.
    """
    if prepare is not None:
        made = prepare(features)
        return _prepared(made if isinstance(made, tuple | list) else (made,), len(features), who)
    columns = [*inputs.numbers, *inputs.texts, *inputs.tensors, *inputs.images]
    there = set(features.column_names)
    missing = [name for name in columns if name not in there]
    if missing:
        raise Invalid(
            who,
            needs=f"the columns {', '.join(columns)}",
            came=f"none called {', '.join(map(repr, missing))}",
            todo="Hand in every column of the fit.",
            columns=missing,
        )
    try:
        return _tensors(inputs, features, who)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise Invalid(
            who,
            needs="columns of the types of the fit",
            came=str(error),
            todo="Compare the rows with those of the fit: their columns, types and gaps.",
        ) from error


def finished(inputs: Inputs, tensors: Tensors) -> Tensors:
    """Return tensors as the network takes them: images as floats, standardized.

    Done batch by batch on the device of the tensors, so that images are kept as bytes.
    """
    if not inputs.images:
        return tensors
    first = len(tensors) - len(inputs.images)
    made = list(tensors[:first])
    for pixels, (_, means, spreads) in zip(tensors[first:], inputs.images.values(), strict=True):
        shape = (1, -1, 1, 1)
        mean = torch.tensor(means, dtype=torch.float32, device=pixels.device).view(shape)
        scale = torch.tensor(spreads, dtype=torch.float32, device=pixels.device).view(shape)
        made.append((pixels.float() / 255.0 - mean) / scale)
    return tuple(made)


def _tensors(inputs: Inputs, features: pa.Table, who: str) -> Tensors:
    made: list[Tensor] = []
    known = [(name, *of) for name, of in inputs.numbers.items()]
    numbers = [standardized(features, known, who=who)] if known else []
    texts = [codes(features[name], words) for name, words in inputs.texts.items()]
    if inputs.reading.texts == "one_hot":
        for words, code in zip(inputs.texts.values(), texts, strict=True):
            numbers += [each[:, np.newaxis] for each in one_hot(code, len(words))]
        texts = []
    made += [torch.from_numpy(np.concatenate(numbers, axis=1))] if numbers else []
    made += [torch.from_numpy(np.stack(texts, axis=1))] if texts else []
    made += [
        torch.from_numpy(whole(features[name], name, shape, who=who))
        for name, shape in inputs.tensors.items()
    ]
    made += [
        torch.from_numpy(like(_pixels(features[name], inputs.reading, who), name, shape, who=who))
        for name, (shape, _, _) in inputs.images.items()
    ]
    return tuple(made)


def _mean_and_spread(column: pa.ChunkedArray, *, standardize: bool) -> tuple[float, float]:
    values = doubles(column)
    values = values[np.isfinite(values)]
    if not standardize or not len(values):
        return 0.0, 1.0
    mean, spread = float(values.mean()), float(values.std())
    return mean, (spread if spread > 0.0 and math.isfinite(spread) else 1.0)


def _most_common(column: pa.ChunkedArray, n_words: int) -> tuple[str, ...]:
    counts = pc.value_counts(column.drop_null()).to_pylist()
    counts.sort(key=lambda each: (-each["counts"], each["values"]))
    return tuple(sorted(each["values"] for each in counts[:n_words]))


def _pixels(column: pa.ChunkedArray, reading: Reading, who: str) -> NDArray[np.uint8]:
    files = column.to_pylist()
    return decoded(files, channels=reading.channels, size=reading.images, who=who)


def _channels(pixels: NDArray[np.uint8], standardize: bool) -> Any:  # noqa: FBT001  # private, one caller
    """Return shape, means and spreads; exact, from how often each of 256 values comes."""
    shape = pixels.shape[1:]
    if not standardize or not len(pixels):
        return shape, (0.0,) * shape[0], (1.0,) * shape[0]
    levels = np.arange(256) / 255.0
    means, spreads = [], []
    for channel in range(shape[0]):
        counts = np.bincount(pixels[:, channel].ravel(), minlength=256)
        share = counts / counts.sum()
        mean = float(share @ levels)
        spread = float(np.sqrt(share @ (levels - mean) ** 2))
        means.append(mean)
        spreads.append(spread if spread > 0.0 else 1.0)
    return shape, tuple(means), tuple(spreads)


def _prepared(made: Sequence[Any], n_rows: int, who: str) -> Tensors:
    if all(isinstance(each, Tensor) and each.shape[:1] == (n_rows,) for each in made):
        return tuple(each.detach().cpu() for each in made)
    raise Invalid(
        who,
        needs=f"tensors with {n_rows} rows from the function prepare",
        came=", ".join(
            f"shape {tuple(each.shape)}" if isinstance(each, Tensor) else type(each).__name__
            for each in made
        ),
        todo="Return a tensor, or a tuple of them, with one entry for each row of the table.",
    )
