"""The OpenAPI page: what the server can be asked over HTTP, for programs and for people.

::

    GET /openapi.json · /docs

Each protocol describes its paths in a table of its own, as `Operation`; what every path shares,
such as its errors and the scope of its token, is added here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

from renewal.serve.front import Request
from renewal.serve.health import only_get
from renewal.serve.http import OK, Reply
from renewal.serve.needs import scope_of
from renewal.serve.oip import encode
from renewal.serve.openapi_operation import BLANK, JSON, NEVER, Operation
from renewal.serve.openapi_schemas import SCHEMAS
from renewal.serve.openapi_v1 import V1_OPERATIONS
from renewal.serve.openapi_v2 import V2_OPERATIONS
from renewal.serve.works import Works

OPERATIONS: tuple[Operation, ...] = (
    *V2_OPERATIONS,
    *V1_OPERATIONS,
    Operation("GET", "/openapi.json", "page", "This page, for programs", "Page"),
    Operation("GET", "/docs", "page", "This page, for people", "", kind="text/html; charset=utf-8"),
)

TAGS = {
    "predict": "Predictions by the Open Inference Protocol, version 2.",
    "health": "Whether the server and its models answer, and what they are.",
    "feedback": "Labels, which arrive later, and belong to a prediction or to a row's key.",
    "operate": "Loading and unloading, and what was counted.",
    "v1": "TensorFlow Serving's REST form and KServe's V1, which are one.",
    "mlflow": "MLflow's scoring server.",
    "page": "What you read.",
}
_ERRORS = {
    400: "The request is wrong; the text says what is needed and what came.",
    401: "The server needs a token, and there is none, or it does not know it.",
    403: "The token does not reach as far.",
    404: "There is no such model, version or alias here.",
    405: "The path takes another method.",
    409: "Somebody was first: read again.",
    413: "The body is larger than the server takes.",
    415: "The body is of another content type or encoding.",
    429: "The queue of the model is full.",
    500: "The version raised on rows that its signature allows.",
    501: "Not offered.",
    503: "Not now: nothing is loaded yet, or the server is on its way out.",
    504: "The request has waited longer than it, or the server, allows.",
}
_BEFORE = frozenset({405, 413})
_HEADERS_OF_ERROR = {
    401: {"WWW-Authenticate": ("Always `Bearer`.", "string")},
    405: {"Allow": ("The methods that the path takes.", "string")},
    429: {"Retry-After": ("Seconds.", "integer")},
    503: {"Retry-After": ("Seconds, where it is known.", "integer")},
}
_HEADERS_OF_ANSWER = {
    "X-Renewal-Version": ("Who answered, such as `v3`; `mixed` where several did.", "string"),
    "X-Renewal-Arm": ("The arm of the plan; `pinned` where the URL names the version.", "string"),
    "X-Renewal-Prediction-Id": ("Of the request; row i is labelled as `{id}-{i}`.", "string"),
}
_OF_A_PATH = {
    "model": ("The name of a model.", "flights"),
    "version": ("The number of a version, such as 3 or v3; in V2 an alias, too.", "1"),
    "label": ("An alias of the registry.", "champion"),
}
_PAGE = Path(__file__).with_name("openapi_page.html")


def openapi_page(works: Works, request: Request) -> Reply | None:
    """Answer with the page, for programs or for people; None where the path is another.

    Parameters
    ----------
    works : Works
        Of the server; the page is the same for all.
    request : Request
        What is asked.
    """
    del works
    match request.path:
        case ("openapi.json",):
            return only_get(request, Reply(OK, _document_bytes()))
        case ("docs",):
            kind = b"text/html; charset=utf-8"
            return only_get(request, Reply(OK, _page_bytes(), content_type=kind))
    return None


def document() -> dict[str, Any]:
    """Return the page as OpenAPI 3.1.

    Examples
    --------
    >>> found = document()
    >>> found["openapi"], sorted(found["paths"]["/ping"])
    ('3.1.0', ['get'])
    """
    paths: dict[str, dict[str, Any]] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _described(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Renewal",
            "version": package_version("renewal"),
            "summary": "Predictions by models that are kept up to date.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        # The first: a server without tokens asks for none.
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


@lru_cache(maxsize=1)
def _document_bytes() -> bytes:
    return encode(document())


@lru_cache(maxsize=1)
def _page_bytes() -> bytes:
    return _PAGE.read_bytes()


def _described(operation: Operation) -> dict[str, Any]:
    need = scope_of(operation.method, tuple(part for part in operation.path.split("/") if part))
    told = {None: "Needs no token.", "any": "Needs a token of any scope, where tokens are in use."}
    needs = told.get(need, f"Needs the scope `{need}`, where tokens are in use.")
    found: dict[str, Any] = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": f"{operation.text} {needs}".strip(),
        "operationId": operation.name,
        "parameters": list(_parameters(operation)),
        "responses": _responses(operation, is_open=need is None),
    }
    if need is None:
        found["security"] = []
    if operation.asks:
        body: dict[str, Any] = {"schema": _reference(operation.asks)}
        if operation.example is not None:
            body["examples"] = {"example": {"value": operation.example}}
        content = {JSON: body, **operation.other_bodies}
        found["requestBody"] = {"required": operation.needs_body, "content": content}
    return found


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name, (text, example) in _OF_A_PATH.items():
        if f"{{{name}}}" in operation.path:
            schema = {"type": "string", "minLength": 1}
            yield {
                "name": name, "in": "path", "required": True, "description": text,
                "schema": schema, "example": example,
            }  # fmt: skip
    for name, text in operation.query.items():
        yield {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
    if operation.predicts:
        text = "Requests with one value are answered by one arm; the server may name it otherwise."
        schema = {"type": "string"}
        yield {"name": "X-Renewal-Sticky", "in": "header", "description": text, "schema": schema}


def _responses(operation: Operation, *, is_open: bool) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if operation.answers != NEVER:
        responses["200"] = _good(operation)
    statuses = {*operation.statuses, 405, *(() if is_open else (401, 403))}
    if "{model}" in operation.path:
        statuses |= {404}
    if operation.method == "POST":
        statuses |= {400, 413}
    if operation.predicts:
        statuses |= {404, 415, 429, 500, 503, 504}
    for status in sorted(statuses):
        responses[str(status)] = _refused(operation, status)
    return responses


def _good(operation: Operation) -> dict[str, Any]:
    media: dict[str, Any] = {"schema": {"type": "string"}}
    if operation.answers:
        media = {} if operation.answers == BLANK else {"schema": _reference(operation.answers)}
    content = {operation.kind: media, **operation.other_answers}
    good: dict[str, Any] = {"description": operation.answered or "Done.", "content": content}
    if operation.predicts:
        good["headers"] = _headers(_HEADERS_OF_ANSWER)
    return good


def _refused(operation: Operation, status: int) -> dict[str, Any]:
    # What is refused before a protocol has read it has the form of V2.
    error = "Error" if status in _BEFORE else operation.error
    content = operation.errors.get(status, {JSON: {"schema": _reference(error)}})
    found: dict[str, Any] = {"description": _ERRORS[status], "content": content}
    if status in _HEADERS_OF_ERROR:
        found["headers"] = _headers(_HEADERS_OF_ERROR[status])
    return found


def _headers(named: dict[str, tuple[str, str]]) -> dict[str, Any]:
    return {
        name: {"description": text, "schema": {"type": kind}}
        for name, (text, kind) in named.items()
    }


def _reference(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}
