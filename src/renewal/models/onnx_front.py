"""How the columns of a signature become the inputs of a graph that was exported from a network.

A network learns more than weights: the mean and the spread of its numbers, the texts that it
knows, the size of its images, its tokenizer. The graph cannot say that, so it stands beside it
as JSON. The arithmetic is that of the library that trained the network; the library itself is
not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.onnx_parts import (
    Codes,
    Feed,
    ImageColumn,
    Numbers,
    Part,
    TensorColumn,
    Tokens,
)

_WHO = "OnnxAdapter.predict"
_FORMAT = 1
# Rows that go through a graph at once: images unfold to many numbers.
_BATCH = 512
_WRONG_TYPE = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError)
_MALFORMED = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)


_KINDS: dict[str, Any] = {
    each.kind: each for each in (Numbers, Codes, TensorColumn, ImageColumn, Tokens)
}


@dataclass(frozen=True)
class Front:
    """All inputs of a graph.

    Parameters
    ----------
    parts : tuple of Numbers, Codes, TensorColumn, ImageColumn or Tokens
        At most one of them `Tokens`.

    Examples
    --------
    >>> numbers = Numbers("numbers", (("hour", 8.0, 2.0),))
    >>> front = Front((numbers, Codes("codes", (("by", ("UA",)),))))
    >>> rows = pa.table({"by": ["UA", "XX"], "hour": [6.0, None]})
    >>> {name: each.tolist() for name, each in front.feed(rows).items()}
    {'numbers': [[-1.0], [0.0]], 'codes': [[1], [0]]}
    >>> front_of(front.to_json()) == front
    True
    """

    parts: tuple[Part, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of all columns that it reads."""
        return tuple(name for part in self.parts for name in part.reads)

    def feed(self, features: pa.Table) -> Feed:
        """Return what goes into each input, in one batch.

        Parameters
        ----------
        features : pyarrow.Table
            Any order of columns, and more of them than are needed.

        Raises
        ------
        Invalid
            On a missing column, one of another type or shape, or a value that is no number.
        Missing
            When Pillow or tokenizers is needed and not installed.
        """
        self._demand(features)
        return _fed(self.parts, features)

    def batches(self, features: pa.Table) -> Iterator[tuple[NDArray[np.intp], Feed]]:
        """Yield batches of rows, as their places in the table, with their feeds.

        Texts of like length go together, so that little is padded.
        """
        self._demand(features)
        texts = [part for part in self.parts if isinstance(part, Tokens)]
        if not texts:
            for start in range(0, features.num_rows, _BATCH):
                rows = features.slice(start, _BATCH)
                yield np.arange(start, start + rows.num_rows), _fed(self.parts, rows)
            return
        others = [part for part in self.parts if part is not texts[0]]
        tokens = texts[0].encoded(features)
        for at in texts[0].batches(tokens):
            made = texts[0].padded([tokens[row] for row in at])
            yield at, made | (_fed(others, features.take(at)) if others else {})

    def ready(self) -> None:
        """Load what it needs, so that no request waits for it."""
        for part in self.parts:
            part.ready()

    def to_json(self) -> str:
        """Return it as JSON text; `front_of` reads it. Equal fronts give equal texts."""
        plain = [{"kind": each.kind} | _plain(each) for each in self.parts]
        said = {"format": _FORMAT, "parts": plain}
        return json.dumps(said, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def _demand(self, features: pa.Table) -> None:
        there = set(features.column_names)
        missing = [name for name in self.reads if name not in there]
        if missing:
            raise Invalid(
                _WHO,
                needs=f"the columns {', '.join(self.reads)}",
                came=f"none called {', '.join(map(repr, missing))}",
                todo="Hand in every column of the fit.",
                columns=missing,
            )


def front_of(text: str) -> Front:
    """Read what `Front.to_json` wrote.

    Raises
    ------
    Invalid
        On another text.
    """
    try:
        said = json.loads(text)
        parts = tuple(_part(each) for each in said["parts"])
        names = [name for part in parts for name in part.reads]
        form = said["format"]
    except _MALFORMED as error:
        raise _foreign(text, f"{type(error).__name__}: {error}") from error
    n_texts = sum(isinstance(each, Tokens) for each in parts)
    if form != _FORMAT or n_texts > 1 or not names:
        raise _foreign(text, f"{len(parts)} parts of the format {form!r}")
    if not all(isinstance(name, str) for name in names):
        raise _foreign(text, f"the columns {names}")
    return Front(parts)


def _part(said: dict[str, Any]) -> Part:
    rest = {name: each for name, each in said.items() if name != "kind"}
    if isinstance(rest.get("tokenizer"), dict):
        rest["tokenizer"] = _compact(rest["tokenizer"])
    found: Part = _KINDS[said["kind"]](**{name: _frozen(each) for name, each in rest.items()})
    return found


def _foreign(text: str, came: str) -> Invalid:
    return Invalid(
        "OnnxModel",
        needs=f"a front of the format {_FORMAT}, as Renewal writes it",
        came=f"{text[:40]!r} ({came})",
        todo="Export the network again.",
    )


def _plain(part: Any) -> dict[str, Any]:
    plain = asdict(part)
    if "tokenizer" in plain:  # JSON in JSON would double every quote
        plain["tokenizer"] = json.loads(plain["tokenizer"])
    return plain


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _fed(parts: Sequence[Part], features: pa.Table) -> Feed:
    try:
        made: Feed = {}
        for part in parts:
            made |= part.feed(features)
    except _WRONG_TYPE as error:
        raise Invalid(
            _WHO,
            needs="columns of the types of the fit",
            came=str(error),
            todo="Compare the rows with those of the fit: their columns, types and gaps.",
        ) from error
    return made
