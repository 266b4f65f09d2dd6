"""Parts of a front: some columns, and the input of a graph that they become."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.core.errors import Missing
from renewal.models.columns import codes, like, one_hot, standardized, whole

Feed = dict[str, NDArray[Any]]

_WHO = "OnnxAdapter.predict"
# Texts that go through a graph at once.
_BATCH_OF_TEXTS = 64


class Part(Protocol):
    """Some columns, and the input that they become."""

    kind: ClassVar[str]

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of its columns."""
        ...

    def feed(self, features: pa.Table) -> Feed:
        """Return what goes into its inputs, a row of each for each row of the table."""
        ...

    def ready(self) -> None:
        """Load what it needs, so that no request waits for it."""
        ...


@dataclass(frozen=True)
class Numbers:
    """Columns of numbers side by side, and a column of 0 and 1 for each known text.

    Parameters
    ----------
    input : str
        The input of the graph, float32 of shape (n_rows, n_columns).
    columns : tuple of (str, float, float)
        Name, mean and spread of each column; a gap becomes the mean.
    one_hot : tuple of (str, tuple of str), default ()
        Name and known texts of each column of texts; any other text is all zeros.
    """

    kind: ClassVar[str] = "numbers"
    input: str
    columns: tuple[tuple[str, float, float], ...]
    one_hot: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of its columns."""
        return (*(each[0] for each in self.columns), *(each[0] for each in self.one_hot))

    def feed(self, features: pa.Table) -> Feed:
        """Return one array, float32."""
        made = [standardized(features, self.columns, who=_WHO)] if self.columns else []
        for name, words in self.one_hot:
            made += [
                each[:, np.newaxis] for each in one_hot(codes(features[name], words), len(words))
            ]
        return {self.input: made[0] if len(made) == 1 else np.concatenate(made, axis=1)}

    def ready(self) -> None:
        """Need nothing."""


@dataclass(frozen=True)
class Codes:
    """Columns of texts side by side, each text as its place among the known ones from 1 up.

    Parameters
    ----------
    input : str
        The input of the graph, int64 of shape (n_rows, n_columns).
    columns : tuple of (str, tuple of str)
        Name and known texts of each column; any other text is 0.
    """

    kind: ClassVar[str] = "codes"
    input: str
    columns: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(name for name, _ in self.columns)

    def feed(self, features: pa.Table) -> Feed:
        """Return one array, int64."""
        made = [codes(features[name], words) for name, words in self.columns]
        return {self.input: np.stack(made, axis=1)}

    def ready(self) -> None:
        """Need nothing."""


@dataclass(frozen=True)
class TensorColumn:
    """A column of tensors of one shape.

    Parameters
    ----------
    input : str
        The input of the graph, float32 of shape (n_rows, *shape).
    column : str
        Its name.
    shape : tuple of int
        Of one row.
    """

    kind: ClassVar[str] = "tensor"
    input: str
    column: str
    shape: tuple[int, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The name of its column."""
        return (self.column,)

    def feed(self, features: pa.Table) -> Feed:
        """Return one array, float32."""
        return {self.input: whole(features[self.column], self.column, self.shape, who=_WHO)}

    def ready(self) -> None:
        """Need nothing."""


@dataclass(frozen=True)
class ImageColumn:
    """A column of image files; the graph itself brings their bytes to mean 0 and spread 1.

    Parameters
    ----------
    input : str
        The input of the graph, uint8 of shape (n_rows, *shape).
    column : str
        Its name.
    shape : tuple of (int, int, int)
        Channels, height and width.
    size : tuple of (int, int) or None, pixels
        Height and width to which images are scaled; None: they must have that size.
    """

    kind: ClassVar[str] = "image"
    input: str
    column: str
    shape: tuple[int, int, int]
    size: tuple[int, int] | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """The name of its column."""
        return (self.column,)

    def feed(self, features: pa.Table) -> Feed:
        """Return one array, uint8."""
        files = features[self.column].to_pylist()
        pixels = _loaded("pillow_images").decoded(
            files, channels=self.shape[0], size=self.size, who=_WHO
        )
        return {self.input: like(pixels, self.column, self.shape, who=_WHO)}

    def ready(self) -> None:
        """Load Pillow."""
        _loaded("pillow_images")


@dataclass(frozen=True)
class Tokens:
    """Columns of texts, joined by line breaks and cut into tokens.

    Parameters
    ----------
    ids, mask : str
        The inputs of the graph, int64 of shape (n_rows, n_tokens): the tokens, and which of
        them are more than padding.
    columns : tuple of str
        Their names, in the order in which they are joined.
    tokenizer : str
        A ``tokenizer.json``.
    max_length : int, tokens
        Longer texts are cut.
    pad : int
        The token of padding.
    """

    kind: ClassVar[str] = "tokens"
    ids: str
    mask: str
    columns: tuple[str, ...]
    tokenizer: str
    max_length: int
    pad: int

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of its columns."""
        return self.columns

    def encoded(self, features: pa.Table) -> list[list[int]]:
        """Return the tokens of each row, none of them padding."""
        front, tokenizer = self._ready()
        found: list[list[int]] = front.encoded(
            tokenizer, front.texts_of(features, self.columns, who=_WHO)
        )
        return found

    def padded(self, tokens: Sequence[Sequence[int]]) -> Feed:
        """Return tokens and mask as long as the longest row."""
        made = _loaded("tokenizers_front").padded(tokens, self.pad)
        return {self.ids: made["input_ids"], self.mask: made["attention_mask"]}

    def batches(self, tokens: Sequence[Sequence[int]]) -> list[NDArray[np.intp]]:
        """Return the rows of each batch, texts of like length together."""
        found: list[NDArray[np.intp]] = _loaded("tokenizers_front").by_length(
            tokens, _BATCH_OF_TEXTS
        )
        return found

    def feed(self, features: pa.Table) -> Feed:
        """Return two arrays, int64."""
        return self.padded(self.encoded(features))

    def ready(self) -> None:
        """Load the tokenizer."""
        self._ready()

    def _ready(self) -> Any:
        found = self.__dict__.get("_tokenizer")
        front = _loaded("tokenizers_front")
        if found is None:
            found = front.loaded_tokenizer(self.tokenizer, self.max_length, who=_WHO)
            self.__dict__["_tokenizer"] = found
        return front, found


def _loaded(name: str) -> Any:
    """Import a sibling that needs a package which most graphs do not need."""
    try:
        return importlib.import_module(f"renewal.models.{name}")
    except ModuleNotFoundError as error:
        package = name.partition("_")[0]
        raise Missing(
            _WHO,
            needs=f"the package {package!r}, which reads a column of this graph",
            came=f"none installed ({error})",
            todo=f"Install it: pip install {package}.",
        ) from error
