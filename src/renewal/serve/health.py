"""Health, metadata and configuration: what the protocol lets anybody ask, from memory."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as package_version
from typing import Any

import numpy as np

from renewal.core.errors import Unavailable
from renewal.serve.front import Request
from renewal.serve.http import NOT_READY, OK, Reply, json_reply, wrong_method
from renewal.serve.oip import input_metadata
from renewal.serve.oip_output import output_metadata
from renewal.serve.options import ServeOptions
from renewal.serve.slots import Generation, Loaded
from renewal.serve.works import Works

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
    "renewal_feedback",
)
_US = 1e6


def health_page(works: Works, request: Request) -> Reply | None:
    """Answer a GET of health, metadata or configuration; None where there is no such path.

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
    return reply if reply is None else only_get(request, reply)


def only_get(request: Request, reply: Reply) -> Reply:
    """Return a reply, or the refusal of a method that asks for more than to read."""
    if request.method not in {"GET", "HEAD"}:
        return wrong_method("GET", "HEAD")
    return reply


def server_metadata(works: Works) -> dict[str, Any]:
    """Describe the server: its name, its version, and the extensions that it speaks."""
    return {
        "name": "triton" if works.options.compat == "triton" else "renewal",
        "version": package_version("renewal"),
        "extensions": list(EXTENSIONS),
    }


def is_model_ready(works: Works, model: str, version: str | None) -> bool:
    """Say whether a model answers, or one version of it.

    Raises
    ------
    NotFound
        When there is no such model, or its plan has not loaded the version.
    """
    try:
        with works.slot(model).lease() as generation:
            if version is not None:
                generation.named(version)
    except Unavailable:
        return False
    return not works.is_draining


def model_metadata(model: str, generation: Generation, loaded: Loaded) -> dict[str, Any]:
    """Describe a model as the protocol does, by the version that answers or is named."""
    manifest = loaded.version.manifest
    metadata: dict[str, Any] = {
        "name": model,
        "versions": [str(number) for number in sorted(generation.by_number)],
        "platform": f"renewal_{manifest.adapter}",
        "inputs": input_metadata(loaded.interface),
        "outputs": _outputs(loaded),
    }
    if manifest.classes:
        # The order of the columns of `probability`.
        metadata["parameters"] = {"classes": list(manifest.classes)}
    if loaded.form != "native":
        metadata["parameters"] = {**metadata.get("parameters", {}), "form": loaded.form}
    return metadata


def model_config(
    model: str, generation: Generation, loaded: Loaded, options: ServeOptions
) -> dict[str, Any]:
    """Describe a model as Triton's ``config.pbtxt`` does, in JSON.

    Parameters
    ----------
    model : str
        Its name.
    generation : Generation
        The plan that it is served by.
    loaded : Loaded
        The version that answers or is named.
    options : ServeOptions
        How it is served.

    Notes
    -----
    Shapes leave out the rows, as there: a column of numbers is ``[1]``, reshaped to nothing.
    """
    batcher = loaded.batcher  # it knows what differs for this model
    config: dict[str, Any] = {
        "name": model,
        "platform": f"renewal_{loaded.version.manifest.adapter}",
        "backend": loaded.version.manifest.adapter,
        "version_policy": {"specific": {"versions": sorted(generation.by_number)}},
        "max_batch_size": batcher.max_batch_rows,
        "input": [
            {**_configured(each), "optional": each["name"] not in generation.needed}
            for each in input_metadata(loaded.interface)
        ],
        "output": [_configured(each) for each in _outputs(loaded)],
        "instance_group": [{"name": model, "kind": "KIND_CPU", "count": 1}],
        "default_model_filename": "",
        "parameters": {
            "version": {"string_value": loaded.version.name},
            "form": {"string_value": loaded.form},
        },
    }
    if batcher.can_batch:
        config["dynamic_batching"] = {
            "preferred_batch_size": [],
            "max_queue_delay_microseconds": 0,
            "preserve_ordering": True,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": round(options.timeout_s * _US),
                "allow_timeout_override": True,
                "max_queue_size": batcher.max_queue_rows,
            },
        }
    return config


def _health_reply(works: Works, parts: tuple[str, ...]) -> Reply | None:
    found = _SERVER_PAGES.get(parts)
    if found is not None:
        return found(works)
    match parts:
        case ("v2", "models", model, "versions", version, *rest):
            return _of_model(works, model, version, rest)
        case ("v2", "models", model, *rest):
            return _of_model(works, model, None, rest)
    return None


def _of_model(works: Works, model: str, version: str | None, rest: list[str]) -> Reply | None:
    if rest == ["ready"]:
        return _model_ready(works, model, version)
    if rest not in ([], ["config"]):
        return None
    with works.slot(model).lease() as generation:
        loaded = generation.first if version is None else generation.named(version)
        if rest:
            return json_reply(model_config(model, generation, loaded, works.options))
        return json_reply(model_metadata(model, generation, loaded))


def _ready(works: Works) -> Reply:
    slots = works.follower.slots
    is_ready = works.follower.is_ready and not works.is_draining
    body: dict[str, Any] = {"ready": is_ready, "live": True}
    failures = {name: slot.failure for name, slot in list(slots.items()) if slot.failure}
    if failures:
        body["failures"] = failures
    return json_reply(body, OK if is_ready else NOT_READY)


_SERVER_PAGES: dict[tuple[str, ...], Callable[[Works], Reply]] = {
    ("v2",): lambda works: json_reply(server_metadata(works)),
    ("v2", "health", "live"): lambda _works: json_reply({"live": True}),
    ("v2", "health", "ready"): _ready,
    ("v2", "models"): lambda works: json_reply({"models": sorted(works.follower.slots)}),
}


def _model_ready(works: Works, model: str, version: str | None) -> Reply:
    is_ready = is_model_ready(works, model, version)
    body: dict[str, Any] = {"name": model, "ready": is_ready}
    failure = works.slot(model).failure
    if failure:
        body["failure"] = failure
    return json_reply(body, OK if is_ready else NOT_READY)


def _outputs(loaded: Loaded) -> list[dict[str, Any]]:
    classes = loaded.version.manifest.classes
    n_scores = len(classes) or 1
    return output_metadata(loaded.task.outputs(np.full((1, n_scores), 1.0 / n_scores), classes))


def _configured(tensor: dict[str, Any]) -> dict[str, Any]:
    """Return a tensor of the metadata as a configuration writes it, without its rows."""
    datatype = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    shape = tensor["shape"][1:]
    found = {"name": tensor["name"], "data_type": f"TYPE_{datatype}", "dims": shape or [1]}
    return found if shape else {**found, "reshape": {"shape": []}}
