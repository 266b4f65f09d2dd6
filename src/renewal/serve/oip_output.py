"""Answers of the protocol: named arrays as JSON tensors, or as bytes after the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from renewal.core.errors import Invalid
from renewal.core.spec import Label
from renewal.serve.oip_binary import BINARY_SIZE, bytes_of
from renewal.serve.oip_input import WHO, Wanted
from renewal.serve.outcome import Outcome

ALL_BINARY = "binary_data_output"
BINARY, _CLASSES, _SHARED = "binary_data", "classification", "shared_memory_region"
_MOST_CLASSES = 2**31 - 1
_ENCODER = msgspec.json.Encoder()
_DATATYPES = {"f": "FP64", "i": "INT64", "u": "INT64", "b": "BOOL"}


def answer_bytes(
    outcome: Outcome, wanted: Sequence[Wanted] | None = None, *, all_binary: bool = False
) -> tuple[bytes, int | None]:
    """Write an outcome.

    Parameters
    ----------
    outcome : Outcome
        What the request came to.
    wanted : sequence of Wanted or None
        How the client wants each output, checked; None: all alike.
    all_binary : bool, default False
        Whether outputs of which `wanted` says nothing are binary.

    Returns
    -------
    body : bytes
        JSON, and the binary outputs after it.
    n_json : int or None
        How long the JSON is; None: it is the whole body.

    Raises
    ------
    Invalid
        When classes are wanted of an output that holds no numbers.

    Examples
    --------
    >>> answer = Outcome("m", "v1", "1", "champion", "P", "R", {"x": np.array([0.5])}, (), 1)
    >>> body, n_json = answer_bytes(answer, all_binary=True)
    >>> len(body) - n_json
    8
    """
    if not wanted and not all_binary:
        return _json(outcome, output_tensors(outcome.outputs)), None
    parts: list[bytes] = []
    asked = {each.name: each.parameters or {} for each in wanted or ()}
    outputs = [
        _tensor(name, array, asked.get(name, {}), all_binary, outcome.classes, parts)
        for name, array in outcome.outputs.items()
    ]
    body = _json(outcome, outputs)
    return (b"".join((body, *parts)), len(body)) if parts else (body, None)


def check_wanted(wanted: Sequence[Wanted]) -> None:
    """Check what a client says of the outputs that it wants.

    Raises
    ------
    Invalid
        On a wrong type, and on shared memory, which is not offered.
    """
    for each in wanted:
        said = each.parameters
        if not said:
            continue
        if type(said.get(BINARY, False)) is not bool:
            raise _bad_output(each.name, f"{BINARY} as true or false", repr(said[BINARY])[:40])
        n_classes = said.get(_CLASSES, 0)
        if type(n_classes) is not int or not 0 <= n_classes <= _MOST_CLASSES:
            raise _bad_output(each.name, f"{_CLASSES} as a number", repr(n_classes)[:40])
        if _SHARED in said:
            raise _bad_output(each.name, "no shared memory, which is not offered", repr(_SHARED))


def output_tensors(outputs: Mapping[str, np.ndarray[Any, Any]]) -> list[dict[str, Any]]:
    """Write named arrays as the protocol's output tensors, in JSON.

    Parameters
    ----------
    outputs : mapping of str to array
        Each of shape (n,) or (n, k).

    Examples
    --------
    >>> output_tensors({"label": np.array(["late"])})
    [{'name': 'label', 'datatype': 'BYTES', 'shape': (1,), 'data': ['late']}]
    """
    return [
        {
            "name": name,
            "datatype": datatype_of(array),
            "shape": array.shape,
            "data": array.ravel().tolist(),
        }
        for name, array in outputs.items()
    ]


def output_metadata(outputs: Mapping[str, np.ndarray[Any, Any]]) -> list[dict[str, Any]]:
    """Describe the outputs of a model from an example of them."""
    return [
        {"name": name, "datatype": datatype_of(array), "shape": [-1, *array.shape[1:]]}
        for name, array in outputs.items()
    ]


def datatype_of(array: np.ndarray[Any, Any]) -> str:
    """Return the datatype in which an array is written; labels may travel as objects.

    Examples
    --------
    >>> datatype_of(np.array([True])), datatype_of(np.array(["late"], dtype=object))
    ('BOOL', 'BYTES')
    """
    kind = array.dtype.kind
    if kind == "O" and array.size:
        kind = np.asarray(array.ravel()[:1].tolist()).dtype.kind
    return _DATATYPES.get(kind, "BYTES")


def _json(outcome: Outcome, outputs: list[dict[str, Any]]) -> bytes:
    return _ENCODER.encode(
        {
            "model_name": outcome.model,
            "model_version": outcome.number,
            "id": outcome.request_id,
            "parameters": outcome.parameters,
            "outputs": outputs,
        }
    )


def _tensor(  # noqa: PLR0917  # one output, how it is wanted, and where its bytes go
    name: str,
    array: np.ndarray[Any, Any],
    said: Mapping[str, Any],
    all_binary: bool,  # noqa: FBT001  # the default of the request
    classes: Sequence[Label],
    parts: list[bytes],
) -> dict[str, Any]:
    """Return an output as the client wants it; bytes are added to `parts`."""
    array = as_wanted(name, array, said, classes)
    datatype = datatype_of(array)
    found: dict[str, Any] = {"name": name, "datatype": datatype, "shape": array.shape}
    if said.get(BINARY, all_binary):
        parts.append(bytes_of(array, datatype))
        found["parameters"] = {BINARY_SIZE: len(parts[-1])}
    else:
        found["data"] = array.ravel().tolist()
    return found


def as_wanted(
    name: str, array: np.ndarray[Any, Any], said: Mapping[str, Any], classes: Sequence[Label]
) -> np.ndarray[Any, Any]:
    """Return an output as its parameters ask for it.

    ``classification``: the largest scores of each row as texts ``score:index:label``, the best
    first.

    Raises
    ------
    Invalid
        When the output holds no numbers to be put in an order.
    """
    n_classes = said.get(_CLASSES)
    if not n_classes:
        return array
    if array.dtype.kind not in "fiu":
        raise _bad_output(name, "numbers, to be put in an order", datatype_of(array))
    rows = array.reshape(len(array), -1)
    # Of equal scores the first, as everywhere.
    best = np.argsort(-rows, axis=1, kind="stable")[:, :n_classes]
    named = [f":{label}" for label in classes] if len(classes) == rows.shape[1] else None
    texts = [
        [f"{row[at]:f}:{at}{named[at] if named else ''}" for at in order]
        for row, order in zip(rows.tolist(), best.tolist(), strict=True)
    ]
    return np.array(texts, dtype=object)


def _bad_output(name: str, needs: str, came: str) -> Invalid:
    return Invalid(
        WHO,
        needs=f"for output {name!r} {needs}",
        came=came,
        todo="Ask for it as the protocol's binary data or classification extension says.",
    )
