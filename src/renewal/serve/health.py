"""Health and metadata: what the protocol lets anybody ask, answered from memory."""

from __future__ import annotations

from importlib.metadata import version as package_version
from typing import Any

import numpy as np

from renewal.core.errors import Unavailable
from renewal.serve.front import Request
from renewal.serve.http import NOT_READY, OK, WRONG_METHOD, Reply, error_reply, json_reply
from renewal.serve.oip import input_metadata
from renewal.serve.oip_output import output_metadata
from renewal.serve.slots import Generation, Loaded
from renewal.serve.works import Works

EXTENSIONS = ("renewal_feedback",)


def health_page(works: Works, request: Request) -> Reply | None:
    """Answer a GET of health or metadata; None where there is no such path.

    Parameters
    ----------
    works : Works
        Its slots say what is loaded.
    request : Request
        What is asked.

    Raises
    ------
    NotFound, Unavailable
        When the path names a model or version that is not there, or not yet.
    """
    reply = _health_reply(works, request.path)
    if reply is not None and request.method not in {"GET", "HEAD"}:
        return error_reply(WRONG_METHOD, "use GET on this path", allow="GET")
    return reply


def _health_reply(works: Works, parts: tuple[str, ...]) -> Reply | None:
    match parts:
        case ("v2",):
            number = package_version("renewal")
            return json_reply(
                {"name": "renewal", "version": number, "extensions": list(EXTENSIONS)}
            )
        case ("v2", "health", "live"):
            return json_reply({"live": True})
        case ("v2", "health", "ready"):
            return _ready(works)
        case ("v2", "models"):
            return json_reply({"models": sorted(works.follower.slots)})
        case ("v2", "models", model, *rest):
            return _of_model(works, model, rest)
    return None


def _of_model(works: Works, model: str, rest: list[str]) -> Reply | None:
    match rest:
        case []:
            return _metadata(works, model, None)
        case ["ready"]:
            return _model_ready(works, model, None)
        case ["versions", version]:
            return _metadata(works, model, version)
        case ["versions", version, "ready"]:
            return _model_ready(works, model, version)
    return None


def _ready(works: Works) -> Reply:
    slots = works.follower.slots
    is_ready = works.follower.is_ready and not works.is_draining
    body: dict[str, Any] = {"ready": is_ready, "live": True}
    failures = {name: slot.failure for name, slot in list(slots.items()) if slot.failure}
    if failures:
        body["failures"] = failures
    return json_reply(body, OK if is_ready else NOT_READY)


def _model_ready(works: Works, model: str, version: str | None) -> Reply:
    slot = works.slot(model)
    body: dict[str, Any] = {"name": model}
    try:
        with slot.lease() as generation:
            if version is not None:
                generation.named(version)
        body["ready"] = not works.is_draining
    except Unavailable:
        body["ready"] = False
    if slot.failure:
        body["failure"] = slot.failure
    return json_reply(body, OK if body["ready"] else NOT_READY)


def _metadata(works: Works, model: str, version: str | None) -> Reply:
    with works.slot(model).lease() as generation:
        loaded = generation.first if version is None else generation.named(version)
        return json_reply(model_metadata(model, generation, loaded))


def model_metadata(model: str, generation: Generation, loaded: Loaded) -> dict[str, Any]:
    """Describe a model as the protocol does, by the version that answers or is named."""
    manifest = loaded.version.manifest
    scores = np.full((1, len(manifest.classes) or 1), 1.0 / (len(manifest.classes) or 1))
    example = loaded.task.outputs(scores, manifest.classes)
    metadata: dict[str, Any] = {
        "name": model,
        "versions": [str(number) for number in sorted(generation.by_number)],
        "platform": f"renewal_{manifest.adapter}",
        "inputs": input_metadata(loaded.interface),
        "outputs": output_metadata(example),
    }
    if manifest.classes:
        # The order of the columns of `probability`.
        metadata["parameters"] = {"classes": list(manifest.classes)}
    if loaded.form != "native":
        metadata["parameters"] = {**metadata.get("parameters", {}), "form": loaded.form}
    return metadata
