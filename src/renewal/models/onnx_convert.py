"""Conversion to ONNX in a child process, where it can take too long or die alone."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
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
# How much later than its caller's limit a child stops by itself, had the caller died.
_GRACE_S = 10
_LONGEST_LAST_WORDS = 300


def convert(
    manifest: Manifest,
    artifact: bytes,
    *,
    trust: tuple[str, ...] = (),
    timeout_s: float = 120.0,
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
        _run(folder, timeout_s)
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


def _run(folder: Path, timeout_s: float) -> None:
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
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise Unavailable(
                _WHO,
                needs=f"a conversion within {timeout_s:g} s",
                came="none yet; its process was killed",
                todo="Allow more time, or use the native form.",
                timeout_s=timeout_s,
            ) from error
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
