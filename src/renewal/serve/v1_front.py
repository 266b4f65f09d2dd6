"""Predictions by the REST forms of TensorFlow Serving and of KServe V1, which are one.

::

    POST /v1/models/{m}[/versions/{number}|/labels/{alias}]:predict

The answer has the shape of the request: ``predictions``, one entry a row, for ``instances``;
``outputs``, by column, for ``inputs``. Where a model has one output, its name is left out. Who
answered, and the prediction id, stand in the headers and beside them in ``parameters``; where
several versions answered, ``versions`` says which one answered each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from renewal.core.errors import Invalid, RenewalError
from renewal.core.spec import Signature
from renewal.serve.answer_headers import answer_headers
from renewal.serve.bodies import plain_body
from renewal.serve.features import Features
from renewal.serve.front import Request, Target
from renewal.serve.http import OK, Reply, reply_to
from renewal.serve.oip import encode
from renewal.serve.outcome import BY_VERSION, Outcome
from renewal.serve.query import Query
from renewal.serve.v1_cells import WHO
from renewal.serve.v1_rows import decode_gaps, read_inputs, read_instances
from renewal.serve.works import Works

PREDICT = "predict"
SIGNATURE_NAME = "serving_default"


class V1Request(msgspec.Struct):
    """The body of a predict request; keys that it does not know are ignored."""

    instances: msgspec.Raw = msgspec.Raw()
    inputs: msgspec.Raw = msgspec.Raw()
    signature_name: str | None = None
    parameters: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(V1Request)


@dataclass(frozen=True, slots=True)
class V1Rows:
    """The rows of a predict request, as JSON."""

    data: msgspec.Raw
    is_by_column: bool

    def read(self, interface: Signature, needed: frozenset[str]) -> Features:
        """Return the rows in the columns of a model; see `renewal.serve.query.Source`."""
        read = read_inputs if self.is_by_column else read_instances
        return read(self.data, interface, needed)


class V1Front:
    """``POST /v1/models/{m}[/versions/{number}|/labels/{alias}]:predict``."""

    protocol = "v1"

    def match(self, path: tuple[str, ...]) -> Target | None:
        """Return whom a path names.

        Examples
        --------
        >>> V1Front().match(("v1", "models", "flights", "versions", "3:predict"))
        Target(model='flights', pinned='3')
        """
        if path[:2] != ("v1", "models"):
            return None
        named, verb = split_verb(path)
        if verb != PREDICT:
            return None
        match named:
            case ("v1", "models", model):
                return Target(model)
            case ("v1", "models", model, "versions" | "labels", pinned):
                return Target(model, pinned)
        return None

    def read(self, request: Request, target: Target, works: Works) -> Query:
        """Read a request."""
        check_pinned(request.path[:4], target.pinned)
        body = plain_body(request.headers, request.body, works.options.max_body_bytes)
        asked: V1Request = decode_gaps(body, _DECODER)
        if asked.signature_name not in {None, "", SIGNATURE_NAME}:
            raise Invalid(
                WHO,
                needs=f"the signature {SIGNATURE_NAME!r}, which is the only one",
                came=repr(asked.signature_name),
                todo="Leave `signature_name` out.",
            )
        return Query(
            model=target.model or "",
            source=_rows(asked),
            pinned=target.pinned,
            parameters=asked.parameters,
        )

    def write(self, outcome: Outcome, request: Request, query: Query) -> Reply:
        """Write an answer."""
        del request
        assert isinstance(query.source, V1Rows)
        columns = {
            name: array.tolist() for name, array in outcome.outputs.items() if name != BY_VERSION
        }
        body: dict[str, Any]
        if query.source.is_by_column:
            body = {"outputs": _only(columns) if len(columns) == 1 else columns}
        else:
            body = {"predictions": by_row(columns)}
        body["parameters"] = outcome.parameters
        if BY_VERSION in outcome.outputs:
            body["versions"] = outcome.outputs[BY_VERSION].tolist()
        return Reply(OK, encode(body), answer_headers(outcome))

    def refuse(self, error: RenewalError) -> Reply:
        """Write an error."""
        return reply_to(error)


def split_verb(path: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Split ``:verb`` from the end of a path; an empty verb where there is none.

    Examples
    --------
    >>> split_verb(("v1", "models", "flights:predict"))
    (('v1', 'models', 'flights'), 'predict')
    """
    last, _, verb = path[-1].rpartition(":")
    return ((*path[:-1], last), verb) if last else (path, "")


def check_pinned(path: tuple[str, ...], pinned: str | None) -> None:
    """Refuse a version that is no number, and a label that is one.

    Raises
    ------
    Invalid
        As TensorFlow Serving does: labels and versions have paths of their own.
    """
    if pinned is None:
        return
    is_number = pinned.isascii() and pinned.isdigit()
    if is_number != (path[3] == "versions"):
        raise Invalid(
            WHO,
            needs="/versions/NUMBER or /labels/ALIAS",
            came=f"/{path[3]}/{pinned}",
            todo="GET /v1/models/NAME lists the versions that are loaded.",
        )


def by_row(columns: dict[str, list[Any]]) -> list[Any]:
    """Return one entry a row: an object by output name, or the value of the only output.

    Examples
    --------
    >>> by_row({"label": ["late"], "probability": [[0.2, 0.8]]})
    [{'label': 'late', 'probability': [0.2, 0.8]}]
    >>> by_row({"value": [1.5, 2.5]})
    [1.5, 2.5]
    """
    if len(columns) == 1:
        return _only(columns)
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _only(columns: dict[str, list[Any]]) -> list[Any]:
    return next(iter(columns.values()))


def _rows(asked: V1Request) -> V1Rows:
    has_instances, has_inputs = (bool(bytes(each)) for each in (asked.instances, asked.inputs))
    if has_instances == has_inputs:
        raise Invalid(
            WHO,
            needs="either `instances`, by row, or `inputs`, by column",
            came="both" if has_inputs else "neither",
            todo='Send {"instances": [{"COLUMN": VALUE, ...}, ...]}.',
        )
    return V1Rows(asked.inputs if has_inputs else asked.instances, has_inputs)
