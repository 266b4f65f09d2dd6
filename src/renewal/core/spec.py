"""What a user says once about a model, and the columns that its requests carry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from math import prod
from typing import Literal

from renewal.core.errors import Invalid

Kind = Literal["float", "int", "bool", "string", "bytes", "tensor"]
Label = str | int | float | bool

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Field:
    """One input column of a model.

    Parameters
    ----------
    name : str
        As in the training data and in requests.
    kind : {"float", "int", "bool", "string", "bytes", "tensor"}
        ``float`` and ``int`` are 64 bits wide, ``bytes`` is anything as it lies in a file
        (an image, a sound), ``tensor`` an array of float32 with the same shape in every row.
    nullable : bool, default True
        Whether a row may leave it out (null, or NaN in a float column).
    shape : tuple of int >= 1, default ()
        Of one row's tensor, without the rows: ``(3, 32, 32)``. Only a tensor has one.

    Raises
    ------
    Invalid
        On a tensor without a shape, or a shape of anything else.

    Examples
    --------
    >>> Field("pixels", "tensor", shape=(3, 32, 32)).n_values
    3072
    """

    name: str
    kind: Kind
    nullable: bool = True
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a tensor that has no shape, and a shape of what is no tensor."""
        is_tensor = self.kind == "tensor"
        if is_tensor != bool(self.shape) or any(size < 1 for size in self.shape):
            raise Invalid(
                f"Field {self.name!r}",
                needs="a shape of sizes from 1 on" if is_tensor else f"no shape for a {self.kind}",
                came=f"the shape {self.shape}",
                todo="Give the shape of one row, such as (3, 32, 32), to a tensor alone.",
                column=self.name,
            )

    @property
    def n_values(self) -> int:
        """How many numbers one row of the column holds: 1, but for a tensor."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Signature:
    """The input columns of a model, in the order of its training data."""

    fields: tuple[Field, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The column names, in order."""
        return tuple(field.name for field in self.fields)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a user says once about a model: its task and the meaning of its columns.

    Parameters
    ----------
    name : str
        1 to 128 letters, digits, ``_``, ``.`` or ``-``; it is part of paths and URLs.
    task : str
        A registered task: ``binary``, ``multiclass`` or ``regression``.
    target : str
        The label column of training data.
    key : str or None
        The column that names a row (join, dedup). None: the hash of the feature row.
    time : str or None
        The event-time column. None: rows are timeless and roles are drawn by hash.
    group : str or None
        The column that fixes a row's role; None: the key.
    block : timedelta or str or None
        The unit of independent evidence: a stretch of event time, or a column name.
        None: a day where there is a time, else the group.
    sticky : str or None
        The column by which traffic is split; None: the key.
    label_delay : timedelta, default 0
        How long after the event its label usually arrives; the gate's embargo.
    attributes : tuple of str, default ()
        Columns that are kept beside the rows for slices and groups, such as ``sex``, which
        the guards may need and the model must not see.

    Notes
    -----
    `key`, `time`, `target`, `group`, `sticky` and `attributes` columns are not inputs of the
    model.

    Examples
    --------
    >>> spec = ModelSpec("loans", "binary", "repaid", key="loan", attributes=("sex",))
    >>> sorted(spec.not_inputs)
    ['loan', 'repaid', 'sex']
    """

    name: str
    task: str
    target: str
    key: str | None = None
    time: str | None = None
    group: str | None = None
    block: timedelta | str | None = None
    sticky: str | None = None
    label_delay: timedelta = timedelta(0)
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a name that could not be part of a URL, and a column with two meanings."""
        if not _NAME.fullmatch(self.name):
            raise Invalid(
                "ModelSpec",
                needs="a name of 1 to 128 letters, digits, '_', '.' or '-'",
                came=repr(self.name),
                todo="Choose a plain name; it is part of paths and URLs.",
            )
        own = set(self.attributes)
        if "" in own or len(own) < len(self.attributes) or own & self._roles:
            raise Invalid(
                "ModelSpec",
                needs="attributes that are columns, each once and of no other meaning",
                came=repr(self.attributes),
                todo="Leave out the key, time, target, group, sticky and block columns; "
                "copy a column that is needed as both.",
            )

    @property
    def not_inputs(self) -> frozenset[str]:
        """Columns of the user's tables that are never inputs of the model."""
        return self._roles | frozenset(self.attributes)

    @property
    def _roles(self) -> frozenset[str]:
        block = self.block if isinstance(self.block, str) else None
        named = (self.key, self.time, self.target, self.group, self.sticky, block)
        return frozenset(name for name in named if name is not None)
