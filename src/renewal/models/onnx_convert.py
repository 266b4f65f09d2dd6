"""Conversion to ONNX in a child process, where it can take too much or die alone."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from renewal.core import errors
from renewal.core.errors import Missing, RenewalError, Unavailable
from renewal.core.version import Manifest

_WHO = "onnx_convert.convert"
_PROGRAM = "renewal.models.onnx_graph"
_PACKAGES = ("onnx", "onnxruntime", "skl2onnx")
# What a compiled form depends on beside the version itself, by adapter; others have none. This
# package is among it: how it converts, and what it compares, may change with a release.
_DEPENDS = {
    "sklearn": ("renewal", *_PACKAGES, "scikit-learn"),
    "lightgbm": ("renewal", *_PACKAGES, "onnxmltools", "lightgbm"),
    "xgboost": ("renewal", *_PACKAGES, "onnxmltools", "xgboost"),
}
# One library comes under two names.
_ALSO = {"xgboost": "xgboost-cpu"}
_MEMORY_BYTES = 2 * 1024**3
_LOOK_S = 0.02
# How much later than its caller's limit a child stops by itself, had the caller died.
_GRACE_S = 10
_LONGEST_LAST_WORDS = 300


@cache
def compile_key(adapter: str) -> str | None:
    """Return what decides about the compiled forms of an adapter's versions, in one line.

    Parameters
    ----------
    adapter : str
        Its registered name.

    Returns
    -------
    str or None
        Packages with their versions: with another of any of them, what was once found equal
        must be found equal again. None where the adapter's versions have no compiled form,
        or a package is not installed.

    Examples
    --------
    >>> compile_key("torch") is None
    True
    """
    if adapter not in _DEPENDS:
        return None
    found = [(name, _version(name)) for name in _DEPENDS[adapter]]
    if any(each is None for _, each in found):
        return None
    return " ".join(f"{name} {each}" for name, each in found)


def _version(package: str) -> str | None:
    for name in (package, _ALSO.get(package, package)):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def convert(
    manifest: Manifest,
    artifact: bytes,
    *,
    trust: tuple[str, ...] = (),
    timeout_s: float = 120.0,
    memory_bytes: int = _MEMORY_BYTES,
) -> bytes:
    """Return the model of a version as ONNX bytes; see `onnx_graph.onnx_graph` for their form.

    The child loads the bytes through the version's own adapter, under the same trust. What
    it gives back is read as data and never unpickled.

    Parameters
    ----------
    manifest : Manifest
        Names the adapter and the columns.
    artifact : bytes
        What the store holds under `manifest.artifact`, verified.
    trust : tuple of str
        Own classes that the operator allows.
    timeout_s : float, seconds, default 120
        After this the child is killed, and every process that it started.
    memory_bytes : int, default 2 GiB
        What the child may hold resident, its libraries (about 250 MB) included, before it
        is killed likewise; looked at every 20 ms where the system tells it (Linux).

    Returns
    -------
    bytes
        A graph that ONNX Runtime has loaded once.

    Raises
    ------
    Invalid
        When the model cannot be converted, with the converter's reason.
    Refused
        When the bytes hold a type that is not trusted.
    Unavailable
        When the time is over, or the child was killed.
    Missing
        When a package of the extra ``compile`` is not installed.

    Notes
    -----
    About 3 s for the child to start and import, then 10 ms for most models; one transformer
    of scikit-learn takes minutes. The environment of the fit is not checked here but by
    `renewal.models.load.check_environment`.
    """
    _demand_packages()
    with TemporaryDirectory(prefix="renewal-onnx-") as name:
        folder = Path(name)
        (folder / "artifact").write_bytes(artifact)
        (folder / "request.json").write_text(_request(manifest, trust, timeout_s), encoding="utf-8")
        _run(folder, timeout_s, memory_bytes)
        if (folder / "model.onnx").exists():
            return (folder / "model.onnx").read_bytes()
        raise _told(json.loads((folder / "error.json").read_text(encoding="utf-8")))


def _demand_packages() -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise Missing(
            _WHO,
            needs=f"the packages {', '.join(_PACKAGES)}",
            came=f"no {' and no '.join(missing)}",
            todo="Install the extra: pip install 'renewal[compile]'.",
            packages=missing,
        )


def _request(manifest: Manifest, trust: tuple[str, ...], timeout_s: float) -> str:
    return json.dumps(
        {
            "adapter": manifest.adapter,
            "fields": [
                [field.name, field.kind, field.nullable] for field in manifest.signature.fields
            ],
            "trust": trust,
            "alarm_s": math.ceil(timeout_s) + _GRACE_S,
        }
    )


def _run(folder: Path, timeout_s: float, memory_bytes: int) -> None:
    """Run the child to its end; raise `Unavailable` when there is no answer to read."""
    # Own classes that this process can import, the child can too.
    paths = os.pathsep.join(path or os.curdir for path in sys.path)
    with (folder / "words").open("wb") as words:
        child = subprocess.Popen(  # noqa: S603  # this Python and a module of this package
            [sys.executable, "-m", _PROGRAM, str(folder)],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
        try:
            code = _watched(child, timeout_s, memory_bytes)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if code != 0:
        last = (folder / "words").read_text(encoding="utf-8", errors="replace")
        raise Unavailable(
            _WHO,
            needs="an answer of the converting process",
            came=f"exit status {code}: {' '.join(last.split())[-_LONGEST_LAST_WORDS:]}",
            todo="Use the native form; a negative status is the signal that ended it.",
            status=code,
        )


def _watched(child: subprocess.Popen[bytes], timeout_s: float, memory_bytes: int) -> int:
    """Return the exit status of a child that keeps both limits."""
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            return child.wait(_LOOK_S)
        except subprocess.TimeoutExpired as error:
            held_bytes = _resident_bytes(child.pid)
            if held_bytes > memory_bytes:
                raise Unavailable(
                    _WHO,
                    needs=f"a conversion within {memory_bytes / 1e6:,.0f} MB",
                    came=f"{held_bytes / 1e6:,.0f} MB; its process was killed",
                    todo="Allow more memory, or use the native form.",
                    memory_bytes=memory_bytes,
                ) from error
            if time.monotonic() > until_s:
                raise Unavailable(
                    _WHO,
                    needs=f"a conversion within {timeout_s:g} s",
                    came="none yet; its process was killed",
                    todo="Allow more time, or use the native form.",
                    timeout_s=timeout_s,
                ) from error


def _resident_bytes(pid: int) -> int:
    """Return what a process holds in memory; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * resource.getpagesize()


def _told(answer: dict[str, Any]) -> RenewalError:
    """Build the error that the child met; only families of the house are built."""
    kind = getattr(errors, answer["kind"])
    assert isinstance(kind, type), "the child names a class of core.errors"
    assert issubclass(kind, RenewalError), "the child names an error of the house"
    fields = {
        name: value
        for name, value in answer["fields"].items()
        if name not in {"who", "needs", "came", "todo"}
    }
    return kind(
        answer["who"],
        needs=answer["needs"],
        came=answer["came"],
        todo=answer["todo"],
        **fields,
    )
