"""Records as JSON values and back, exactly; and the digest that names a manifest.

JSON has no instant, no duration and no NaN, and a verdict, a specification or a strategy's
options may hold each of them. They are written as an object with one key::

    timedelta(days=1)    {"$us": 86400000000}
    datetime(...)        {"$at": "2013-01-01T00:00:00+00:00"}
    float("nan")         {"$float": "nan"}

so that they come back as what they were, also where the field's type is ``Any``. A key of
a user's own mapping that starts with ``$`` gets one more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from renewal.core.clock import aware
from renewal.core.errors import Invalid
from renewal.core.version import Manifest
from renewal.store.digest import digest

T = TypeVar("T")

_MICROSECOND = timedelta(microseconds=1)
_UNTAG: Mapping[str, Callable[[Any], Any]] = {
    "$us": lambda us: us * _MICROSECOND,
    "$at": datetime.fromisoformat,
    "$float": float,
}
_SEQUENCES = (tuple, list, Sequence)
_MAPPINGS = (dict, Mapping)


def to_plain(value: Any) -> Any:
    """Return a value as JSON values: None, bool, int, float, str, list and dict of str.

    Parameters
    ----------
    value : object
        A frozen record, a mapping with text keys, a sequence, an instant, a duration, a
        number (NumPy's too), a text, a truth value or None, nested in any way.

    Returns
    -------
    object
        Finite floats only, so every SQL database and every JSON reader takes it.

    Raises
    ------
    Invalid
        When something in it has no JSON form; the message says where.

    Examples
    --------
    >>> to_plain({"window": timedelta(days=1), "gain": float("nan"), "shape": (2, 3)})
    {'window': {'$us': 86400000000}, 'gain': {'$float': 'nan'}, 'shape': [2, 3]}
    """
    return _plain(value, "value")


def from_plain(kind: type[T], plain: Any) -> T:
    """Return what `to_plain` was given, as a value of the type `kind`.

    Parameters
    ----------
    kind : type
        A dataclass, or any type that its fields may have: unions, literals, tuples,
        mappings, ``Any``.
    plain : object
        JSON values.

    Returns
    -------
    object
        Equal to what was written, but for lists in ``Any`` fields that were tuples.

    Raises
    ------
    Invalid
        When `plain` does not fit: a field is missing or unknown, or has another type.

    Notes
    -----
    A field that is missing takes its default, so a record may grow; one that is unknown is
    an error, because dropping what a newer library wrote would change the record.

    Examples
    --------
    >>> from_plain(tuple[timedelta, float], [{"$us": 1000000}, 2])
    (datetime.timedelta(seconds=1), 2.0)
    """
    return cast("T", _build(kind, _untagged(plain), getattr(kind, "__name__", str(kind))))


def canonical(plain: Any) -> bytes:
    """Return the canonical JSON of plain values: sorted keys, no spaces, ASCII.

    Examples
    --------
    >>> canonical({"b": 1, "a": [0.5, None]})
    b'{"a":[0.5,null],"b":1}'
    """
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def manifest_plain(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as the JSON values that are stored, and whose digest is its id.

    Notes
    -----
    What was added to manifests later is left out while it is empty, so that no id of a
    version that is already registered changes.
    """
    plain: dict[str, Any] = to_plain(manifest)
    if not plain["parts"]:
        del plain["parts"]
    for field in plain["signature"]["fields"]:
        if not field["shape"]:
            del field["shape"]
    return plain


def manifest_digest(manifest: Manifest) -> str:
    """Return the id of the version that a manifest describes.

    Parameters
    ----------
    manifest : Manifest
        What the version is.

    Returns
    -------
    str
        BLAKE3 of the canonical JSON of `manifest_plain`, 64 hexadecimal digits: the same on
        every machine, and another one as soon as anything in the manifest is.
    """
    return digest(canonical(manifest_plain(manifest)))


def _plain(value: Any, where: str) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), f"{where}.{f.name}") for f in fields(value)}
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(each, f"{where}[{key!r}]") for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each, f"{where}[{at}]") for at, each in enumerate(value)]
    for kind, write in _LEAVES:
        if isinstance(value, kind):
            return write(value, where)
    if callable(getattr(value, "tolist", None)):  # NumPy's numbers and arrays
        return _plain(value.tolist(), where)
    raise Invalid(
        f"to_plain, {where}",
        needs="a JSON value, an instant, a duration or a record of them",
        came=f"{type(value).__qualname__} {value!r:.80}",
        todo="Name it by a text or a number instead.",
    )


def _plain_float(value: float, _where: str) -> Any:
    return float(value) if math.isfinite(value) else {"$float": str(float(value))}


def _plain_instant(value: datetime, where: str) -> Any:
    return {"$at": aware(value, who=where).isoformat()}


# bool before int, whose subclass it is; the calls strip subclasses such as numpy.str_.
_LEAVES: tuple[tuple[type, Callable[[Any, str], Any]], ...] = (
    (NoneType, lambda _value, _where: None),
    (bool, lambda value, _where: value),
    (str, lambda value, _where: str(value)),
    (int, lambda value, _where: int(value)),
    (float, _plain_float),
    (timedelta, lambda value, _where: {"$us": value // _MICROSECOND}),
    (datetime, _plain_instant),
)


def _key(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise Invalid(
            f"to_plain, {where}",
            needs="text as the keys of a mapping",
            came=f"the key {key!r}",
            todo="Write the keys as text; JSON has no others.",
        )
    return "$" + key if key.startswith("$") else str(key)


def _untagged(plain: Any) -> Any:
    if isinstance(plain, list | tuple):
        return [_untagged(each) for each in plain]
    if not isinstance(plain, Mapping):
        return plain
    if len(plain) == 1:
        ((key, value),) = plain.items()
        if key in _UNTAG:
            return _UNTAG[key](value)
    return {
        key.removeprefix("$") if key.startswith("$$") else key: _untagged(value)
        for key, value in plain.items()
    }


def _build(kind: Any, value: Any, where: str) -> Any:
    """Make `value` one of the type `kind`; the heart of `from_plain`."""
    origin = get_origin(kind) or kind
    if origin in (Union, UnionType):
        return _build_union(kind, value, where)
    if isinstance(value, Mapping) and isinstance(kind, type) and is_dataclass(kind):
        return _build_record(kind, value, where)
    if isinstance(value, Mapping) and origin in _MAPPINGS:
        of = (get_args(kind) or (str, Any))[1]
        return {key: _build(of, each, f"{where}[{key!r}]") for key, each in value.items()}
    if isinstance(value, list) and origin in _SEQUENCES:
        return _build_sequence(origin, get_args(kind), value, where)
    return _build_leaf(kind, value, where)


def _build_leaf(kind: Any, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if get_origin(kind) is Literal:
        fits = any(value == each and type(value) is type(each) for each in get_args(kind))
    else:
        fits = kind in (Any, object, type(value)) or (kind is None and value is None)
    if not fits:
        raise _misfit(kind, value, where)
    return value


def _build_union(kind: Any, value: Any, where: str) -> Any:
    # The exact type first: an int is also a fine float, but it was written as an int.
    options = sorted(get_args(kind), key=lambda option: type(value) is not option)
    for option in options:
        try:
            return _build(option, value, where)
        except Invalid:
            continue
    raise _misfit(kind, value, where)


def _build_record(kind: type, value: Mapping[str, Any], where: str) -> Any:
    hints, declared = _fields(kind)
    unknown = sorted(set(value) - set(declared))
    missing = [
        name
        for name, field in declared.items()
        if name not in value and field.default is MISSING and field.default_factory is MISSING
    ]
    if unknown or missing:
        raise Invalid(
            f"from_plain, {where}",
            needs=f"the fields {', '.join(declared)}",
            came=f"unknown {unknown}, missing {missing}",
            todo="Upgrade renewal if a newer version wrote it.",
        )
    return kind(
        **{name: _build(hints[name], each, f"{where}.{name}") for name, each in value.items()}
    )


def _build_sequence(origin: Any, of: tuple[Any, ...], value: list[Any], where: str) -> Any:
    if origin is list or not of or of[-1] is Ellipsis or origin is Sequence:
        kinds = [of[0] if of else Any] * len(value)
    elif len(of) == len(value):
        kinds = list(of)
    else:
        raise _misfit(of, value, where)
    built = [
        _build(kind, each, f"{where}[{at}]")
        for at, (kind, each) in enumerate(zip(kinds, value, strict=True))
    ]
    return built if origin is list else tuple(built)


@cache
def _fields(kind: type) -> tuple[dict[str, Any], dict[str, Field[Any]]]:
    return get_type_hints(kind), {field.name: field for field in fields(cast("Any", kind))}


def _misfit(kind: Any, value: Any, where: str) -> Invalid:
    return Invalid(
        f"from_plain, {where}",
        needs=getattr(kind, "__name__", str(kind)) if isinstance(kind, type) else str(kind),
        came=f"{type(value).__name__} {value!r:.80}",
        todo="Check where it was written, and by which version.",
    )
