"""Predictions by the form of MLflow's scoring server: ``POST /invocations``.

Its URL names no model. It is the only one of the server, or the one that ``?model=``, the header
``x-renewal-model`` or ``params`` name, in this order; ``?version=`` or ``params`` may name a
version or an alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from renewal.core.errors import Invalid, RenewalError
from renewal.serve.answer_headers import answer_headers
from renewal.serve.bodies import plain_body
from renewal.serve.front import Request, Target
from renewal.serve.http import (
    BAD,
    FULL,
    LATE,
    MISSING,
    NO_TOKEN,
    NOT_READY,
    OK,
    SLOW,
    TOO_LARGE,
    UNSUPPORTED,
    WRONG_ENCODING,
    Reply,
    reply_to,
)
from renewal.serve.mlflow_rows import WHO, CsvRows, JsonRows, read_body
from renewal.serve.oip import encode
from renewal.serve.outcome import BY_VERSION, Outcome
from renewal.serve.query import Query
from renewal.serve.works import Works

MODEL = b"x-renewal-model"
_JSON, _CSV = "application/json", "text/csv"
CODES = {
    BAD: "BAD_REQUEST",
    NO_TOKEN: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    MISSING: "RESOURCE_DOES_NOT_EXIST",
    SLOW: "DEADLINE_EXCEEDED",
    409: "RESOURCE_CONFLICT",
    TOO_LARGE: "REQUEST_LIMIT_EXCEEDED",
    WRONG_ENCODING: "BAD_REQUEST",
    FULL: "REQUEST_LIMIT_EXCEEDED",
    UNSUPPORTED: "NOT_IMPLEMENTED",
    NOT_READY: "TEMPORARILY_UNAVAILABLE",
    LATE: "DEADLINE_EXCEEDED",
}
# As scikit-learn names its methods, and the output of ours that each gives.
_METHODS = {"predict": "label", "predict_proba": "probability"}


class MlflowFront:
    """``POST /invocations``."""

    protocol = "mlflow"

    def match(self, path: tuple[str, ...]) -> Target | None:
        """Return whom a path names: nobody, where it is the right one."""
        return Target(None) if path == ("invocations",) else None

    def read(self, request: Request, target: Target, works: Works) -> Query:
        """Read a request."""
        del target
        kind = _content_type(request)
        body = plain_body(request.headers, request.body, works.options.max_body_bytes)
        source: JsonRows | CsvRows
        params: dict[str, Any]
        if kind == _CSV:
            source, params = CsvRows(body), {}
        else:
            source, params = read_body(body)
        _method(params)
        version = request.query.get("version") or params.get("version")
        return Query(
            model=_model(request, params, works),
            source=source,
            pinned=None if version is None else str(version),
            parameters=params,
        )

    def write(self, outcome: Outcome, request: Request, query: Query) -> Reply:
        """Write an answer in the shape of MLflow's scikit-learn flavour."""
        del request
        outputs = outcome.outputs
        name = _METHODS[_method(query.parameters or {})]
        if name not in outputs and name == "label":
            name = next(iter(outputs))  # a regression's only output
        if name not in outputs:
            return self.refuse(_no_probability(outcome))
        body: dict[str, Any] = {
            "predictions": outputs[name].tolist(),
            "parameters": outcome.parameters,
        }
        if BY_VERSION in outputs:
            body["versions"] = outputs[BY_VERSION].tolist()
        return Reply(OK, encode(body), answer_headers(outcome))

    def refuse(self, error: RenewalError) -> Reply:
        """Write an error."""
        plain = reply_to(error)
        if error.fields.get("content_type") is not None:
            return Reply(WRONG_ENCODING, str(error).encode(), content_type=b"text/plain")
        code = CODES.get(plain.status, "INTERNAL_ERROR")
        body = encode({"error_code": code, "message": str(error)})
        return Reply(plain.status, body, plain.headers)


def _content_type(request: Request) -> str:
    """Return what the body is; refuse it where MLflow's own server does."""
    text = (request.header(b"content-type") or b"").decode("latin-1")
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    given = dict(_pair(each) for each in parameters if each)
    charset = given.pop("charset", "utf-8")
    if kind not in {_JSON, _CSV} or given or charset not in {"utf-8", "utf8"}:
        raise Invalid(
            WHO,
            needs=f"the content type {_JSON} or {_CSV}, in UTF-8 and without other parameters",
            came=repr(text) if text else "none",
            todo="Set the header Content-Type.",
            content_type=text,
        )
    return kind


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip().strip('"')


def _model(request: Request, params: Mapping[str, Any], works: Works) -> str:
    named = request.query.get("model") or request.header(MODEL) or params.get("model")
    if isinstance(named, bytes):
        return named.decode("latin-1")
    if named is not None:
        return str(named)
    models = sorted(works.follower.slots)
    if len(models) == 1:
        return models[0]
    raise Invalid(
        WHO,
        needs="the name of a model, for this server has several" if models else "a model",
        came=f"none; there are {', '.join(models) or 'none yet'}",
        todo="Send it as ?model=NAME, in the header x-renewal-model or among `params`.",
    )


def _method(params: Mapping[str, Any]) -> str:
    method = params.get("predict_method", "predict")
    if isinstance(method, str) and method in _METHODS:
        return method
    raise Invalid(
        WHO,
        needs=f"a `predict_method` among {', '.join(_METHODS)}",
        came=repr(method),
        todo="Leave it out for the predicted labels or values.",
    )


def _no_probability(outcome: Outcome) -> Invalid:
    return Invalid(
        WHO,
        needs="a classifier for the `predict_method` 'predict_proba'",
        came=f"the model {outcome.model!r}, whose outputs are {', '.join(outcome.outputs)}",
        todo="Leave `predict_method` out.",
    )
