"""Status and metadata in the forms of TensorFlow Serving and of KServe V1.

::

    GET / · /v1/models · /v1/models/{m}[/versions/{number}|/labels/{alias}][/metadata]

Both protocols claim ``GET /v1/models/{m}``: the answer carries the keys of both.
"""

from __future__ import annotations

from typing import Any

from renewal.core.errors import Invalid, Unavailable
from renewal.serve.front import Request
from renewal.serve.health import model_metadata, only_get
from renewal.serve.http import (
    NOT_READY,
    OK,
    UNSUPPORTED,
    Reply,
    error_reply,
    json_reply,
    wrong_method,
)
from renewal.serve.slots import Loaded
from renewal.serve.v1_cells import WHO
from renewal.serve.v1_front import SIGNATURE_NAME, check_pinned, split_verb
from renewal.serve.works import Works

_NOT_OFFERED = ("classify", "explain", "regress")
_DTYPES = {
    "BOOL": "DT_BOOL",
    "BYTES": "DT_STRING",
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "INT64": "DT_INT64",
}


def v1_page(works: Works, request: Request) -> Reply | None:
    """Answer what V1 asks beside predictions; None where the path is none of V1.

    Parameters
    ----------
    works : Works
        Its slots say what is loaded.
    request : Request
        What is asked.

    Raises
    ------
    Invalid, NotFound, Unavailable
        On a path that is malformed, or that names what is not there, or not yet.
    """
    path = request.path
    if path and path[:2] != ("v1", "models"):
        return None
    named, verb = split_verb(path) if path else (path, "")
    if verb:
        return _verb(works, request, named, verb)
    reply = _answer(works, path)
    return reply if reply is None else only_get(request, reply)


def _answer(works: Works, path: tuple[str, ...]) -> Reply | None:
    match path:
        case ():
            return json_reply({"status": "alive"})
        case ("v1", "models"):
            return json_reply({"models": sorted(works.follower.slots)})
        case ("v1", "models", model, *rest):
            return _of_model(works, path, model, rest)
    return None


def _of_model(works: Works, path: tuple[str, ...], model: str, rest: list[str]) -> Reply | None:
    answer = _metadata if rest[-1:] == ["metadata"] else _status
    match rest[:-1] if answer is _metadata else rest:
        case []:
            return answer(works, model, None)
        case ["versions" | "labels", pinned]:
            check_pinned(path, pinned)
            return answer(works, model, pinned)
    return None


def _verb(works: Works, request: Request, named: tuple[str, ...], verb: str) -> Reply:
    if verb not in _NOT_OFFERED:
        raise Invalid(
            WHO,
            needs="a path such as /v1/models/NAME:predict",
            came=f"/{'/'.join(request.path)}",
            todo="Only `:predict` is offered.",
        )
    if request.method != "POST":
        return wrong_method("POST")
    works.slot(named[2])
    return error_reply(UNSUPPORTED, f"`:{verb}` is not offered: send rows to `:predict`")


def _status(works: Works, model: str, pinned: str | None) -> Reply:
    """Say which versions answer; TensorFlow Serving's document with KServe's two keys."""
    slot = works.slot(model)
    body: dict[str, Any] = {"name": model, "ready": False, "model_version_status": []}
    try:
        with slot.lease() as generation:
            named = None if pinned is None else generation.named(pinned).version.number
            numbers = sorted(generation.by_number, reverse=True) if named is None else [named]
        body["model_version_status"] = [_available(number) for number in numbers]
        body["ready"] = not works.is_draining
    except Unavailable:
        pass  # not ready, as the body says already
    if slot.failure:
        body["failure"] = slot.failure
    return json_reply(body, OK if body["ready"] else NOT_READY)


def _available(number: int) -> dict[str, Any]:
    return {
        "version": str(number),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }


def _metadata(works: Works, model: str, pinned: str | None) -> Reply:
    with works.slot(model).lease() as generation:
        loaded = generation.first if pinned is None else generation.named(pinned)
        described = model_metadata(model, generation, loaded)
    return json_reply(
        {
            "model_spec": _spec(model, loaded),
            "metadata": {"signature_def": _signatures(described)},
        }
    )


def _spec(model: str, loaded: Loaded) -> dict[str, str]:
    return {"name": model, "signature_name": "", "version": str(loaded.version.number)}


def _signatures(described: dict[str, Any]) -> dict[str, Any]:
    """Return the map of signatures as protobuf's JSON writes it; ours has one."""
    return {
        "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
        "signature_def": {
            SIGNATURE_NAME: {
                "inputs": {each["name"]: _tensor(each) for each in described["inputs"]},
                "outputs": {each["name"]: _tensor(each) for each in described["outputs"]},
                "method_name": "tensorflow/serving/predict",
                "defaults": {},
            }
        },
    }


def _tensor(described: dict[str, Any]) -> dict[str, Any]:
    # int64 is text in protobuf's JSON.
    sizes = [{"size": str(size), "name": ""} for size in described["shape"]]
    return {
        "dtype": _DTYPES[described["datatype"]],
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": f"{described['name']}:0",
    }
