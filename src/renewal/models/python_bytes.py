"""Any Python object as bytes that hold no code: its import path, its parameters, its state.

A zip archive with ``header.json`` and one ``.npy`` a piece of the state, written without
pickle. The state is what ``to_bytes`` returns where the object has it, and else its attributes,
as far as they are arrays and plain values.
"""

from __future__ import annotations

import importlib
import io
import json
import zlib
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from renewal.core.errors import Invalid, NotFound, Refused

_FORMAT = "renewal.python.1"
_WHO = "PythonAdapter.load"
_HEADER = "header.json"
_OWN = "state.bin"
_DAY_ZERO = (1980, 1, 1, 0, 0, 0)
_MOST_BYTES = 1 << 31
_ATOMS = (type(None), bool, int, float, str)
_BROKEN = (
    AttributeError,
    BadZipFile,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    zlib.error,
)


def path_of(thing: Any) -> str:
    """Return the dotted import path of the class of an object.

    Examples
    --------
    >>> from fractions import Fraction
    >>> path_of(Fraction(1))
    'fractions.Fraction'
    """
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def to_bytes(thing: Any, facts: dict[str, Any]) -> bytes:
    """Return an object, and what is to be known of it, as an archive.

    Parameters
    ----------
    thing : object
        Read and not changed.
    facts : dict
        JSON values, kept beside it.

    Raises
    ------
    Invalid
        When another process could not import its class, or its state is neither plain nor
        written by its own ``to_bytes``.
    """
    _demand_importable(thing)
    header: dict[str, Any] = {"format": _FORMAT, "class": path_of(thing), "facts": facts}
    parts: dict[str, bytes] = {}
    if _has_own_format(thing):
        own = thing.to_bytes()
        if not isinstance(own, bytes):
            raise _not_plain(thing, "to_bytes()", own)
        parts[_OWN] = own
    else:
        header["state"] = _Writer(thing, parts).value(_state_of(thing), "its state")
    text = json.dumps(header, separators=(",", ":"), allow_nan=True).encode()
    n_bytes = len(text) + sum(map(len, parts.values()))
    if n_bytes > _MOST_BYTES:
        raise _not_plain(thing, f"its state of {n_bytes:,} bytes, more than 2 GiB,", thing)
    target = io.BytesIO()
    with ZipFile(target, "w") as archive:
        for name, part in ((_HEADER, text), *parts.items()):
            entry = ZipInfo(name, date_time=_DAY_ZERO)
            archive.writestr(entry, part, compress_type=ZIP_DEFLATED, compresslevel=1)
    return target.getvalue()


def from_bytes(data: bytes, trust: tuple[str, ...] = ()) -> tuple[Any, dict[str, Any]]:
    """Return the object in an archive, and what is known of it.

    Its class is imported, and so its module runs: only where the operator named it.

    Raises
    ------
    Invalid
        On bytes of another format, or damaged ones.
    Refused
        When its import path is not in `trust`.
    NotFound
        When nothing is there under its import path any more.
    """
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            # A small archive can unfold to terabytes.
            n_bytes = sum(each.file_size for each in archive.infolist())
            if n_bytes > _MOST_BYTES:
                raise foreign(data, f"{n_bytes:,} bytes, more than 2 GiB")
            header = json.loads(archive.read(_HEADER))
        path, facts = header["class"], header["facts"]
        is_ours = header["format"] == _FORMAT and isinstance(path, str)
    except _BROKEN as error:
        raise foreign(data, f"{type(error).__name__}: {error}") from error
    if not is_ours:
        raise foreign(data, "another header")
    if path not in trust:
        raise Refused(
            _WHO,
            needs="a class that the operator trusts: loading it runs its module",
            came=path,
            todo=f'Read its code; if you trust it, write trust = ["{path}"] into renewal.toml.',
            types=(path,),
        )
    kind = _imported(path)
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        if _OWN in parts:
            return kind.from_bytes(parts[_OWN]), facts
        made = kind.__new__(kind)
        state = _Reader(parts).value(header["state"])
        if hasattr(kind, "__setstate__"):
            made.__setstate__(state)
        else:
            made.__dict__.update(state)
    except _BROKEN as error:
        raise foreign(data, f"{type(error).__name__}: {error}") from error
    return made, facts


class _Writer:
    """Turns a state into JSON, with its arrays put aside."""

    def __init__(self, thing: Any, parts: dict[str, bytes]) -> None:
        self._thing, self._parts = thing, parts

    def value(self, value: Any, where: str) -> Any:
        if type(value) in _ATOMS:
            return value
        if isinstance(value, np.ndarray | np.generic):
            return [self._tag(value), self._array(value, where)]
        if type(value) is bytes:
            return ["b", self._array(np.frombuffer(value, np.uint8), where)]
        if type(value) in {list, tuple}:
            tag = "l" if type(value) is list else "t"
            return [tag, *(self.value(each, f"{where}[{i}]") for i, each in enumerate(value))]
        if type(value) is dict:
            pairs = [
                [self.value(key, f"a key of {where}"), self.value(each, f"{where}[{key!r}]")]
                for key, each in value.items()
            ]
            return ["d", *pairs]
        raise _not_plain(self._thing, where, value)

    def _tag(self, value: Any) -> str:
        return "n" if isinstance(value, np.generic) else "a"

    def _array(self, value: Any, where: str) -> str:
        if value.dtype.hasobject:
            raise _not_plain(self._thing, where, value)
        target = io.BytesIO()
        np.lib.format.write_array(target, np.asarray(value), allow_pickle=False)
        name = f"{len(self._parts) + 1}.npy"
        self._parts[name] = target.getvalue()
        return name


class _Reader:
    """Turns JSON and arrays back into a state."""

    def __init__(self, parts: dict[str, bytes]) -> None:
        self._parts = parts

    def value(self, written: Any) -> Any:
        if not isinstance(written, list):
            return written
        tag, *rest = written
        if tag in {"l", "t"}:
            values = [self.value(each) for each in rest]
            return values if tag == "l" else tuple(values)
        if tag == "d":
            return {self.value(key): self.value(value) for key, value in rest}
        array = np.lib.format.read_array(io.BytesIO(self._parts[rest[0]]), allow_pickle=False)
        if tag == "b":
            return array.tobytes()
        return {"a": array, "n": array[()]}[tag]


def _has_own_format(thing: Any) -> bool:
    kind = type(thing)
    return callable(getattr(kind, "to_bytes", None)) and callable(getattr(kind, "from_bytes", None))


def _state_of(thing: Any) -> Any:
    has_own = "__getstate__" in _names_of(type(thing))
    return thing.__getstate__() if has_own else dict(vars(thing))


def _names_of(kind: type) -> set[str]:
    """Return what a class and its bases define, without `object`."""
    return {name for each in kind.__mro__ if each is not object for name in vars(each)}


def _demand_importable(thing: Any) -> None:
    path = path_of(thing)
    is_local = type(thing).__module__ == "__main__" or "<" in path
    if is_local or _found(path) is not type(thing):
        raise Invalid(
            "PythonAdapter.dump",
            needs="a class that another process can import by its path",
            came=path,
            todo="Define it by name in an importable module.",
        )


def _found(path: str) -> Any:
    try:
        return _imported(path)
    except NotFound:
        return None


def _imported(path: str) -> Any:
    """Return a class by its path: the longest part of it that is a module, then attributes."""
    names = path.split(".")
    for split in range(len(names) - 1, 0, -1):
        module = ".".join(names[:split])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and module.startswith(error.name):
                continue
            raise _gone(path, f"{module} needs {error.name!r}, which is not installed") from error
        for name in names[split:]:
            found = getattr(found, name, None)
        if isinstance(found, type):
            return found
        raise _gone(path, f"no class {'.'.join(names[split:])} in {module}")
    raise _gone(path, f"no module {names[0]!r} that can be imported")


def _gone(path: str, came: str) -> NotFound:
    return NotFound(
        _WHO,
        needs=f"the class {path}, of which the model is",
        came=came,
        todo="Bring it back under this path, add its folder to PYTHONPATH, or take another "
        "version.",
        path=path,
    )


def _not_plain(thing: Any, where: str, value: Any) -> Invalid:
    name = type(thing).__qualname__
    return Invalid(
        "PythonAdapter.dump",
        needs=f"a {name} whose state is numbers, texts, lists, dictionaries and arrays",
        came=f"{where} of type {type(value).__module__}.{type(value).__qualname__}",
        todo=f"Give {name} a method to_bytes(self) -> bytes and a class method "
        "from_bytes(cls, data), or a __getstate__ of plain values.",
    )


def foreign(data: bytes, came: str) -> Invalid:
    """Return the error of bytes that this adapter did not write, or not like this."""
    is_pickle = data[:1] == b"\x80"
    return Invalid(
        _WHO,
        needs="a model that PythonAdapter wrote",
        came="a pickle, which runs whatever code is in it" if is_pickle else came,
        todo="Register the model again, or take another version.",
    )
