"""Predictions by the Open Inference Protocol, version 2, over HTTP."""

from __future__ import annotations

from renewal.core.errors import Invalid, RenewalError
from renewal.serve.answer_headers import answer_headers
from renewal.serve.bodies import encoded_body, plain_body
from renewal.serve.front import Headers, Request, Target
from renewal.serve.http import OK, Reply, reply_to
from renewal.serve.oip_binary import HEADER_LENGTH
from renewal.serve.oip_input import WHO
from renewal.serve.oip_output import ALL_BINARY, answer_bytes, check_wanted
from renewal.serve.oip_rows import OipRows, binary_rows, json_rows, parameters_of
from renewal.serve.outcome import Outcome
from renewal.serve.query import Query
from renewal.serve.works import Works

_ACCEPTS, _ENCODED = b"accept-encoding", b"content-encoding"
_OCTETS = b"application/octet-stream"
_US = 1e6


class OipFront:
    """``POST /v2/models/{m}[/versions/{v}]/infer``."""

    protocol = "v2"

    def match(self, path: tuple[str, ...]) -> Target | None:
        """Return whom a path names."""
        match path:
            case ("v2", "models", model, "infer"):
                return Target(model)
            case ("v2", "models", model, "versions", version, "infer"):
                return Target(model, version)
        return None

    def read(self, request: Request, target: Target, works: Works) -> Query:
        """Read a request: JSON, JSON and binary data, or one tensor and nothing else."""
        accepts, n_json, is_encoded = _said(request.headers)
        body = request.body
        if is_encoded:
            body = plain_body(request.headers, body, works.options.max_body_bytes)
        source = json_rows(body) if n_json is None else binary_rows(body, n_json)
        source.accept_encoding = accepts
        query = Query(model=target.model or "", source=source, pinned=target.pinned)
        asked = source.asked
        if asked is None:
            return query
        query.request_id = asked.id or None
        if asked.outputs:
            check_wanted(asked.outputs)
            source.wanted = asked.outputs
            query.wanted = [each.name for each in asked.outputs]
        if asked.parameters:
            read_parameters(query, source)
        return query

    def write(self, outcome: Outcome, request: Request, query: Query) -> Reply:
        """Write an answer, each output as the client wants it."""
        del request
        source = query.source
        assert isinstance(source, OipRows)  # as `read` made it
        headers = answer_headers(outcome)
        body, n_json = answer_bytes(outcome, source.wanted, all_binary=source.all_binary)
        if source.accept_encoding is not None:
            body, encoding = encoded_body(body, source.accept_encoding)
            if encoding is not None:
                headers[_ENCODED] = encoding
        if n_json is None:
            return Reply(OK, body, headers)
        headers[HEADER_LENGTH] = str(n_json).encode()
        return Reply(OK, body, headers, _OCTETS)

    def refuse(self, error: RenewalError) -> Reply:
        """Write an error."""
        return reply_to(error)


def _said(headers: Headers) -> tuple[bytes | None, bytes | None, bool]:
    """Return ``accept-encoding``, the length of the JSON, and whether the body is encoded."""
    accepts = n_json = None
    is_encoded = False
    for name, value in headers:
        if name == _ACCEPTS:
            accepts = value
        elif name == HEADER_LENGTH:
            n_json = value
        elif name == _ENCODED:
            is_encoded = True
    return accepts, n_json, is_encoded


def read_parameters(query: Query, source: OipRows) -> None:
    """Take the protocol's own parameters out; what is left says something of the rows."""
    parameters = dict(parameters_of(source))
    all_binary = parameters.pop(ALL_BINARY, False)
    if type(all_binary) is not bool:
        raise _bad_parameter(f"{ALL_BINARY} as true or false", all_binary)
    source.all_binary = all_binary
    timeout_us = parameters.pop("timeout", 0)
    if isinstance(timeout_us, str) and timeout_us.isascii() and timeout_us.isdigit():
        timeout_us = int(timeout_us[:18])
    if type(timeout_us) is not int or timeout_us < 0:
        raise _bad_parameter("timeout in microseconds", timeout_us)
    query.timeout_s = timeout_us / _US or None
    query.parameters = parameters or None


def _bad_parameter(needs: str, came: object) -> Invalid:
    return Invalid(
        WHO,
        needs=f"the parameter {needs}",
        came=repr(came)[:40],
        todo="Correct it, or leave it out.",
    )
