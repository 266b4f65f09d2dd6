"""The verbs of the inference service that are no prediction: health, metadata, the repository.

What they say is worked out where REST's pages work it out, and written as messages here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict

from renewal.core.errors import Invalid
from renewal.serve.grpc_messages import INFERENCE, verb_messages
from renewal.serve.health import is_model_ready, model_config, model_metadata, server_metadata
from renewal.serve.repository import load_model, repository_index, unload_model
from renewal.serve.slots import Generation, Loaded
from renewal.serve.statistics import model_statistics
from renewal.serve.works import Works

Page = Callable[[Works, Any], Any]
"""From a request to its answer, both messages; a coroutine where it has to wait."""

_ANSWERS: Mapping[str, Any] = {name: kinds[1] for name, kinds in verb_messages(INFERENCE).items()}


def _answer(verb: str, **said: Any) -> Any:
    """Return the answer of a verb; what REST says and the message does not know is left out."""
    return ParseDict(said, _ANSWERS[verb](), ignore_unknown_fields=True)


def _live(_works: Works, _asked: Any) -> Any:
    return _answer("ServerLive", live=True)


def _ready(works: Works, _asked: Any) -> Any:
    return _answer("ServerReady", ready=works.follower.is_ready and not works.is_draining)


def _model_ready(works: Works, asked: Any) -> Any:
    return _answer("ModelReady", ready=is_model_ready(works, asked.name, asked.version or None))


def _metadata(works: Works, _asked: Any) -> Any:
    return _answer("ServerMetadata", **server_metadata(works))


def _model_metadata(works: Works, asked: Any) -> Any:
    with works.slot(asked.name).lease() as generation:
        loaded = _named(generation, asked.version)
        return _answer("ModelMetadata", **model_metadata(asked.name, generation, loaded))


def _model_config(works: Works, asked: Any) -> Any:
    with works.slot(asked.name).lease() as generation:
        loaded = _named(generation, asked.version)
        config = model_config(asked.name, generation, loaded, works.options)
        return _answer("ModelConfig", config=config)


async def _statistics(works: Works, asked: Any) -> Any:
    found = await model_statistics(works, asked.name or None, asked.version or None)
    return _answer("ModelStatistics", **found)


def _index(works: Works, asked: Any) -> Any:
    return _answer("RepositoryIndex", models=repository_index(works, only_ready=asked.ready))


async def _load(works: Works, asked: Any) -> Any:
    model, is_kserve = _model_of(asked)
    await load_model(works, model, dict(asked.parameters))
    said = {"model_name": model, "isLoaded": True} if is_kserve else {}
    return _answer("RepositoryModelLoad", **said)


async def _unload(works: Works, asked: Any) -> Any:
    model, is_kserve = _model_of(asked)
    await unload_model(works, model)
    said = {"model_name": model, "isUnloaded": True} if is_kserve else {}
    return _answer("RepositoryModelUnload", **said)


def _model_of(asked: Any) -> tuple[str, bool]:
    """Return the model to load or unload, and whether the request has KServe's form.

    There the model is field 1, which is Triton's repository; and there is one repository.
    """
    model = asked.model_name or asked.repository_name
    if not model:
        raise Invalid(
            "the repository",
            needs="the name of a model",
            came="none",
            todo="Name one of RepositoryIndex.",
        )
    return model, not asked.model_name


def _named(generation: Generation, version: str) -> Loaded:
    """Return the version that a request names, or else the one that answers most."""
    return generation.named(version) if version else generation.first


PAGES: Mapping[str, Page] = {
    "ServerLive": _live,
    "ServerReady": _ready,
    "ModelReady": _model_ready,
    "ServerMetadata": _metadata,
    "ModelMetadata": _model_metadata,
    "ModelConfig": _model_config,
    "ModelStatistics": _statistics,
    "RepositoryIndex": _index,
    "RepositoryModelLoad": _load,
    "RepositoryModelUnload": _unload,
}
"""By verb."""
