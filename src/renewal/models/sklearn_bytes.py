"""scikit-learn estimators as bytes that hold no code: the skops format, read with care."""

from __future__ import annotations

import io
import json
import logging
import re
import struct
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import sklearn
import skops
from sklearn.exceptions import InconsistentVersionWarning

from renewal.core.errors import Invalid, Missing, Refused
from renewal.models.release import is_newer
from renewal.models.sklearn_bounds import check_bounds
from renewal.models.sklearn_skops import (
    UntrustedTypesFoundException,
    dumps,
    get_untrusted_types,
    loads,
)
from renewal.models.sklearn_trust import TRUSTED

_log = logging.getLogger(__name__)
_WHO = "SklearnAdapter.load"
_SCHEMA = "schema.json"
_DAY_ZERO = (1980, 1, 1, 0, 0, 0)
_ARRAY = re.compile(r"(\d+)\.(\w+)")
# How the header of an array of records begins, and what it says where bytes lie between fields.
_RECORDS, _BETWEEN = b"\x93NUMPY", b"('', '|V"
_HEADER_BYTES = 1024
# What reading a damaged or foreign archive can raise, in the zip, the JSON and the state.
_BROKEN = (
    AttributeError,
    BadZipFile,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_warning_filters = threading.Lock()


def to_bytes(estimator: Any) -> bytes:
    """Return a fitted estimator as a skops archive.

    The same fit gives the same bytes: skops names its parts by memory addresses, so they
    are numbered anew in the order in which they occur, and the archive carries no date. A
    step that is repeated after a crash therefore makes the same version, not a second one.

    Parameters
    ----------
    estimator : object
        Fitted; read and not changed.

    Raises
    ------
    Invalid
        When it holds something that the format cannot write, or that no other process
        could import: a lambda, a local class, a class of ``__main__``.

    Notes
    -----
    skops and one pass of deflate: about 0.1 s for a forest of 8 MB.
    """
    try:
        archive = dumps(estimator)
    except (TypeError, AttributeError, ValueError) as error:
        raise _not_writable(estimator, str(error).rstrip(".")) from error
    return _settled(archive, estimator)


def from_bytes(data: bytes, trust: tuple[str, ...] = ()) -> Any:
    """Return the estimator of a skops archive, if every type in it is trusted.

    Parameters
    ----------
    data : bytes
        As `to_bytes`, or skops itself, wrote them.
    trust : tuple of str
        Types that the operator allows beside the shipped list.

    Raises
    ------
    Invalid
        On bytes of another format, a damaged archive, indices out of bounds, or an archive
        of a newer scikit-learn or skops than the one installed.
    Refused
        On a type that is not trusted; ``fields["types"]`` names all of them.
    Missing
        When the module of a trusted type is not installed here.
    """
    schema = _schema(data)
    is_foreign_release = _check_releases(schema)
    try:
        estimator = _built(data, trust, quietly=is_foreign_release)
    except UntrustedTypesFoundException as error:
        types = sorted(set(get_untrusted_types(data=data)) - {*TRUSTED, *trust})
        raise _refused(types) from error
    except ImportError as error:
        raise Missing(
            _WHO,
            needs=f"the module {error.name!r}, in which a part of the model is defined",
            came="none that can be imported",
            todo="Install it here, or add its folder to PYTHONPATH.",
        ) from error
    except _BROKEN as error:
        raise _damaged(f"{type(error).__name__}: {error}") from error
    check_bounds(estimator)
    return estimator


def _built(data: bytes, trust: tuple[str, ...], *, quietly: bool) -> Any:
    trusted = [*TRUSTED, *trust]
    if not quietly:
        return loads(data, trusted=trusted)
    # scikit-learn warns of every part that another release wrote. The release is checked,
    # and said once in the log; the filters belong to the process, hence the lock.
    with _warning_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        return loads(data, trusted=trusted)


def _schema(data: bytes) -> dict[str, Any]:
    try:
        with ZipFile(io.BytesIO(data)) as archive:
            schema = json.loads(archive.read(_SCHEMA))
    except _BROKEN as error:
        raise _no_skops(data) from error
    if not isinstance(schema, dict):
        raise _no_skops(data)
    return schema


def _check_releases(schema: dict[str, Any]) -> bool:
    """Refuse newer libraries; say whether another scikit-learn wrote a part of it."""
    wrote_skops = schema.get("_skops_version")
    if isinstance(wrote_skops, str) and is_newer(wrote_skops, skops.__version__):
        raise _newer("skops", wrote_skops, skops.__version__)
    releases = set(_sklearn_releases(schema))
    for release in sorted(releases):
        if is_newer(release, sklearn.__version__):
            raise _newer("scikit-learn", release, sklearn.__version__)
    others = releases - {sklearn.__version__}
    if others:
        _log.info("a model of scikit-learn %s, read by %s", ", ".join(others), sklearn.__version__)
    return bool(others)


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every dictionary of a schema, parents first and in order."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting.extend(reversed(each.values()))
        elif isinstance(each, list):
            waiting.extend(reversed(each))


def _sklearn_releases(schema: dict[str, Any]) -> Iterator[str]:
    for node in _nodes(schema):
        written = node.get("_sklearn_version")
        if isinstance(written, dict) and isinstance(written.get("content"), str):
            yield written["content"].strip('"')


def _settled(archive: bytes, estimator: Any) -> bytes:
    """Write an archive again with names, order and dates that depend on its content alone."""
    with ZipFile(io.BytesIO(archive)) as found:
        parts = {name: found.read(name) for name in found.namelist()}
    schema = json.loads(parts.pop(_SCHEMA))
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    for node in _nodes(schema):
        _demand_importable(node, estimator)
        if node.get("__loader__") == "JsonNode":
            # Whether two equal texts are one object depends on the process, and no reader
            # can tell the difference.
            node.pop("__id__", None)
        elif isinstance(node.get("__id__"), int):
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
        written = node.get("file")
        if isinstance(written, str) and written in parts:
            files.setdefault(written, f"{len(files) + 1}{_suffix(written)}")
            node["file"] = files[written]
    target = io.BytesIO()
    with ZipFile(target, "w") as settled:
        text = json.dumps(schema, separators=(",", ":")).encode()
        for name, part in [(new, parts[old]) for old, new in files.items()] + [(_SCHEMA, text)]:
            entry = ZipInfo(name, date_time=_DAY_ZERO)
            fields = _fields_alone(part)
            settled.writestr(entry, fields, compress_type=ZIP_DEFLATED, compresslevel=1)
    return target.getvalue()


def _fields_alone(part: bytes) -> bytes:
    """Return an array without what lay in memory between the fields of its records.

    A node of a tree has seven such bytes, to which nobody ever writes.
    """
    if not part.startswith(_RECORDS) or _BETWEEN not in part[:_HEADER_BYTES]:
        return part
    records = np.load(io.BytesIO(part), allow_pickle=False)
    clean = np.zeros(records.shape, records.dtype)
    for name in records.dtype.names:
        clean[name] = records[name]
    target = io.BytesIO()
    np.save(target, clean, allow_pickle=False)
    return target.getvalue()


def _suffix(name: str) -> str:
    found = _ARRAY.fullmatch(name)
    return f".{found[2]}" if found else ""


def _demand_importable(node: dict[str, Any], estimator: Any) -> None:
    """Refuse a class or function that its own module does not hold under its own name."""
    module, name = node.get("__module__"), node.get("__class__")
    content = node.get("content")
    if node.get("__loader__") == "FunctionNode" and isinstance(content, dict):
        module, name = content.get("module_path"), content.get("function")
    if not isinstance(module, str) or not isinstance(name, str):
        return
    home = sys.modules.get(module)
    if module == "__main__" or (home is not None and not hasattr(home, name)):
        raise _not_writable(estimator, f"{module}.{name}, which no other process can import")


def _not_writable(estimator: Any, came: str) -> Invalid:
    return Invalid(
        "SklearnAdapter.dump",
        needs=f"a {type(estimator).__name__} that the skops format can write",
        came=came,
        todo="Define its own classes and functions by name in an importable module.",
    )


def _no_skops(data: bytes) -> Invalid:
    is_pickle = data[:1] == b"\x80"
    return Invalid(
        _WHO,
        needs="a model file in the skops format",
        came="a pickle" if is_pickle else f"{len(data):,} bytes of another format",
        todo=(
            "A pickle runs whatever code is in it: load it where you trust it, and write it "
            "with skops.io.dump."
            if is_pickle
            else "Write the model with skops.io.dump(estimator, 'model.skops')."
        ),
    )


def _damaged(came: str) -> Invalid:
    return Invalid(
        _WHO,
        needs="a whole model file in the skops format",
        came=came,
        todo="Write the file again, or take another version.",
    )


def _newer(library: str, wrote: str, installed: str) -> Invalid:
    return Invalid(
        _WHO,
        needs=f"{library} {wrote} or newer, which wrote the file",
        came=f"{library} {installed} installed",
        todo=f"Upgrade: pip install '{library}>={wrote}', or fit the model again here.",
        library=library,
        wrote=wrote,
        installed=installed,
    )


def _refused(types: list[str]) -> Refused:
    listed = ", ".join(f'"{name}"' for name in types)
    return Refused(
        _WHO,
        needs="a model of trusted types only",
        came=f"the types {', '.join(types)}",
        todo=f"Read their code; if you trust it, write trust = [{listed}] into renewal.toml.",
        types=tuple(types),
    )
