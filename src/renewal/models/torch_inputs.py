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
from renewal.models.pillow_images import decoded

Tensors = tuple[Tensor, ...]

# Where the data's border notes the shape of a tensor column.
_SHAPE = b"renewal.shape"


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
        if _is_number(each.type):
            numbers[each.name] = _mean_and_spread(column, standardize=reading.standardize)
        elif pa.types.is_string(each.type) or pa.types.is_large_string(each.type):
            texts[each.name] = _most_common(column, reading.vocabulary)
        elif _shape_of(each) is not None:
            tensors[each.name] = _shape_of(each) or ()
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
    missing = [name for name in columns if name not in features.column_names]
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
    numbers = [_standardized(features[name], name, of, who) for name, of in inputs.numbers.items()]
    codes = [_codes(features[name], words) for name, words in inputs.texts.items()]
    if inputs.reading.texts == "one_hot":
        for words, code in zip(inputs.texts.values(), codes, strict=True):
            numbers += [(code == at + 1).astype(np.float32) for at in range(len(words))]
        codes = []
    made += [torch.from_numpy(np.stack(each, axis=1)) for each in (numbers, codes) if each]
    made += [
        torch.from_numpy(_whole(features[name], name, shape, who))
        for name, shape in inputs.tensors.items()
    ]
    made += [
        torch.from_numpy(_like(_pixels(features[name], inputs.reading, who), name, shape, who))
        for name, (shape, _, _) in inputs.images.items()
    ]
    return tuple(made)


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    )


def _doubles(column: pa.ChunkedArray) -> NDArray[np.float64]:
    if not _is_number(column.type) and not pa.types.is_null(column.type):
        raise pa.ArrowTypeError(f"a column of type {column.type} where numbers were")
    cast = pc.cast(column, pa.float64(), safe=False)
    found: NDArray[np.float64] = cast.to_numpy(zero_copy_only=False)
    return found


def _mean_and_spread(column: pa.ChunkedArray, *, standardize: bool) -> tuple[float, float]:
    values = _doubles(column)
    values = values[np.isfinite(values)]
    if not standardize or not len(values):
        return 0.0, 1.0
    mean, spread = float(values.mean()), float(values.std())
    return mean, (spread if spread > 0.0 and math.isfinite(spread) else 1.0)


def _standardized(
    column: pa.ChunkedArray, name: str, of: tuple[float, float], who: str
) -> NDArray[np.float32]:
    values = _doubles(column)
    mean, spread = of
    filled = np.where(np.isnan(values), mean, values)
    with np.errstate(over="ignore"):
        found: NDArray[np.float32] = ((filled - mean) / spread).astype(np.float32)
    if not np.isfinite(found).all():
        raise Invalid(
            who,
            needs="numbers that single precision can hold",
            came=f"{int((~np.isfinite(found)).sum())} infinite ones in the column {name!r}",
            todo="Remove or correct these rows.",
        )
    return found


def _most_common(column: pa.ChunkedArray, n_words: int) -> tuple[str, ...]:
    counts = pc.value_counts(column.drop_null()).to_pylist()
    counts.sort(key=lambda each: (-each["counts"], each["values"]))
    return tuple(sorted(each["values"] for each in counts[:n_words]))


def _codes(column: pa.ChunkedArray, words: Sequence[str]) -> NDArray[np.int64]:
    texts = pc.cast(column, pa.string())
    places = pc.index_in(texts, value_set=pa.array(words, pa.string()))
    found: NDArray[np.int64] = pc.fill_null(places, -1).to_numpy().astype(np.int64) + 1
    return found


def _shape_of(found: pa.Field) -> tuple[int, ...] | None:
    """Return the shape of one row of a tensor column; None where it is none."""
    noted = (found.metadata or {}).get(_SHAPE)
    if noted is not None:
        return tuple(json.loads(noted))
    if isinstance(found.type, pa.FixedShapeTensorType):
        return tuple(found.type.shape)
    sizes: list[int] = []
    kind = found.type
    while pa.types.is_fixed_size_list(kind):
        sizes.append(kind.list_size)
        kind = kind.value_type
    return tuple(sizes) if sizes else None


def _whole(
    column: pa.ChunkedArray, name: str, shape: tuple[int, ...], who: str
) -> NDArray[np.float32]:
    found = _storage(column)
    if found.null_count:
        raise Invalid(
            who,
            needs=f"a tensor in every row of the column {name!r}",
            came=f"{found.null_count} rows without one",
            todo="Leave these rows out.",
        )
    while pa.types.is_fixed_size_list(found.type) or pa.types.is_list(found.type):
        found = found.flatten()
    values = np.asarray(found.to_numpy(zero_copy_only=False), np.float32)
    if values.size != len(column) * math.prod(shape):
        raise _another_shape(who, name, shape, (values.size / max(1, len(column)),))
    # torch marks no memory read-only, and Arrow's is not to be written.
    return np.array(values.reshape(-1, *shape))


def _storage(column: pa.ChunkedArray) -> Any:
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], column.type)
    return whole.storage if isinstance(whole, pa.ExtensionArray) else whole


def _pixels(column: pa.ChunkedArray, reading: Reading, who: str) -> NDArray[np.uint8]:
    files = column.to_pylist()
    return decoded(files, channels=reading.channels, size=reading.images, who=who)


def _like(
    pixels: NDArray[np.uint8], name: str, shape: tuple[int, ...], who: str
) -> NDArray[np.uint8]:
    if len(pixels) and pixels.shape[1:] != shape:
        raise _another_shape(who, name, shape, pixels.shape[1:])
    return pixels.reshape(-1, *shape)


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


def _another_shape(who: str, name: str, shape: Sequence[Any], came: Sequence[Any]) -> Invalid:
    return Invalid(
        who,
        needs=f"rows of shape {tuple(shape)} in the column {name!r}",
        came=f"{tuple(came)}",
        todo="Hand in rows like those of the fit.",
    )
