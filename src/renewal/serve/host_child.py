"""The process of one version: it loads it, answers for it, and ends with its server.

It is forked by a keeper (`renewal.engine.keeper`) that has loaded what versions need, and runs
no line of the script that is serving. The first message is an `Order`, all others are rows.
"""

from __future__ import annotations

import os
import pickle
import random
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.core.errors import Failed, RenewalError
from renewal.core.spec import Signature
from renewal.core.version import Manifest
from renewal.data.frame import schema_of
from renewal.engine import line as lines
from renewal.engine.crew import loaded_here
from renewal.engine.packing import pack_error
from renewal.engine.worker import move, prepare
from renewal.models.contract import Runtime
from renewal.models.load import load_runtime
from renewal.serve import host_wire as wire
from renewal.serve.features import table_of
from renewal.serve.host_errors import out_of_memory
from renewal.serve.host_system import keep_memory, show_as
from renewal.store.contract import Store

_FLOAT = pa.float64()


@dataclass(frozen=True, slots=True)
class Order:
    """What the process of a version is told first; it pickles.

    Parameters
    ----------
    manifest : Manifest
        Of the version.
    store : Store
        Opened again where it arrives: a `LocalStore` travels as its path.
    trust : tuple of str
        Own classes that it may load.
    who : str
        The version, for messages: ``v3 of model 'flights'``.
    name : str
        The version, for lists: ``v3``.
    environment : mapping of str to str
        What of the server's environment is the project's own, such as ``RENEWAL_DEVICE``.
    """

    manifest: Manifest
    store: Store
    trust: tuple[str, ...]
    who: str
    name: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ready:
    """What it says when the version is loaded.

    Parameters
    ----------
    pid : int
        Of the process.
    modules : list of str
        What of the usual libraries it had to load: the next process finds them loaded.
    """

    pid: int
    modules: list[str]


def host(line: socket.socket, _pulse: int, _memory_bytes: int | None) -> None:
    """Load the version that is ordered and answer for it, until the server lets it go."""
    prepare()
    keep_memory()
    random.seed()
    there = set(loaded_here())
    sent = lines.receive(line)
    if sent is None:
        return
    # The order itself comes packed: it may name modules that are found only from `path`.
    who, folder, path, packed = sent
    try:
        move(folder, path)
        order: Order = pickle.loads(packed)  # noqa: S301  # our own server wrote it
        os.environ.update(order.environment)
        _show(order)
        runtime = load_runtime(order.manifest, order.store, order.trust)
    except BaseException as error:  # noqa: BLE001  # the plug-in border: the server is told, even of sys.exit
        _send_error(line, error, who, needs="to be loaded")
        return
    ready = Ready(os.getpid(), [name for name in loaded_here() if name not in there])
    body = pickle.dumps(ready)
    wire.send(line, (wire.READY, len(body), 0, body), None)
    while (asked := wire.receive(line, None)) is not None:
        _answer(line, runtime, order, asked)


def _answer(
    line: socket.socket, runtime: Runtime, order: Order, asked: tuple[int, int, int, memoryview]
) -> None:
    kind, n_rows, n_columns, body = asked
    try:
        if kind == wire.MATRIX:
            matrix = wire.matrix_of(body, n_rows, n_columns)
            table = _table_of(order.manifest.signature, matrix)
        else:
            with pa.ipc.open_stream(pa.py_buffer(body)) as stream:
                table = stream.read_all()
        scores = _scores(runtime.predict(table))
    except BaseException as error:  # noqa: BLE001  # the plug-in border: a version may raise anything, even sys.exit
        _send_error(line, error, order.who, needs="rows that it can score")
        return
    n_rows, n_scores = scores.shape
    wire.send(line, (wire.SCORES, n_rows, n_scores, wire.bytes_of(scores)), None)


def _table_of(signature: Signature, matrix: np.ndarray[Any, Any]) -> pa.Table:
    """Return a matrix as a table; one without gaps in a third of the time."""
    if np.isnan(matrix).any():
        return table_of(signature, matrix)
    n_rows = len(matrix)
    n_bytes = n_rows * matrix.itemsize
    columns = pa.py_buffer(np.ascontiguousarray(matrix.T))
    arrays = [
        pa.Array.from_buffers(_FLOAT, n_rows, [None, columns.slice(at * n_bytes, n_bytes)], 0)
        for at in range(matrix.shape[1])
    ]
    return pa.Table.from_arrays(arrays, schema=schema_of(signature))


def _scores(found: Any) -> np.ndarray[Any, Any]:
    scores = np.ascontiguousarray(found, dtype=np.float64)
    if np.ndim(found) != 2:
        message = f"scores of shape {np.shape(found)}, not (rows, scores)"
        raise ValueError(message)
    return scores


def _send_error(line: socket.socket, error: BaseException, who: str, *, needs: str) -> None:
    told: BaseException = error
    if any(isinstance(each, MemoryError) for each in (error, error.__cause__)):
        told = out_of_memory(who, f"{type(error).__name__}: {error}")
    elif not isinstance(error, RenewalError):
        told = Failed(
            who,
            needs=needs,
            came=f"{type(error).__name__}: {error}",
            todo="See the server's log; roll the version back if it goes on.",
        )
    if told is not error:
        told.__cause__ = error
    body = pack_error(told, who)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    wire.send(line, (wire.ERROR, len(body), 0, body), None)


def _show(order: Order) -> None:
    manifest = order.manifest
    title = f"renewal: {order.name} of model {manifest.model} ({manifest.adapter})"
    show_as(title, f"renewal {order.name}")
