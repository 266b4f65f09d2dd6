"""The model repository extension: what there is, and loading and unloading by hand.

The repository is the registry: loading serves what the registry says of a model, and takes no
files. Unloading is of this server, all of its workers, and lasts until the model is loaded
again or the server ends; requests under way are answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import msgspec

from renewal.core.errors import Invalid, NotFound, Unavailable
from renewal.serve.front import Request
from renewal.serve.http import Reply, json_reply, wrong_method
from renewal.serve.oip import decode_json
from renewal.serve.slots import Slot
from renewal.serve.works import Works

_STEP_S = 0.01
# A client gives up long before; a load that takes longer goes on without it.
_LOAD_S = 600.0
_UNLOAD_S = 60.0
# Workers tell each other once a second what they serve.
_AGREE_S = 5.0
_AGREE_STEP_S = 0.1
_FILE = "file:"


class IndexRequest(msgspec.Struct):
    """The body of a request for the index."""

    ready: bool = False


class LoadRequest(msgspec.Struct):
    """The body of a request to load or unload."""

    parameters: dict[str, Any] | None = None


_INDEX = msgspec.json.Decoder(IndexRequest)
_LOAD = msgspec.json.Decoder(LoadRequest)


def repository_page(works: Works, request: Request) -> Reply | Awaitable[Reply] | None:
    """Answer ``POST /v2/repository/...``; None where the path is another.

    Parameters
    ----------
    works : Works
        Its follower loads and unloads.
    request : Request
        What is asked.

    Raises
    ------
    Invalid
        On a body of another form.
    """
    match request.path:
        case ("v2", "repository", "index"):
            if request.method == "POST":
                asked = decode_json(request.body or b"{}", _INDEX, who="index")
                return json_reply(repository_index(works, only_ready=asked.ready))
        case ("v2", "repository", "models", model, "load" | "unload" as verb):
            if request.method == "POST":
                asked = decode_json(request.body or b"{}", _LOAD, who=verb)
                work = _loaded if verb == "load" else _unloaded
                return work(works, model, asked.parameters or {})
        case _:
            return None
    return wrong_method("POST")


def repository_index(works: Works, *, only_ready: bool = False) -> list[dict[str, str]]:
    """Return every model with its loaded versions, or why it has none.

    Parameters
    ----------
    works : Works
        Its slots.
    only_ready : bool, default False
        Leave out what does not answer.
    """
    found: list[dict[str, str]] = []
    for model, slot in sorted(works.follower.slots.copy().items()):
        generation = slot.generation
        if generation is not None:
            found += [
                {"name": model, "version": str(number), "state": "READY", "reason": ""}
                for number in sorted(generation.by_number)
            ]
        elif not only_ready:
            state, reason = _state(works, slot)
            found.append({"name": model, "version": "", "state": state, "reason": reason})
    return found


async def load_model(works: Works, model: str, parameters: dict[str, Any]) -> None:
    """Serve a model as the registry says, now; return once it answers.

    Parameters
    ----------
    works : Works
        Its follower loads.
    model : str
        A model of the registry; one that was just made is found, too.
    parameters : dict
        Those that are not known are ignored; files are refused.

    Raises
    ------
    Invalid
        Of files: what is served comes from the registry.
    NotFound
        Of an unknown model, or one without a version.
    Unavailable
        When it does not load; the message says why.
    """
    who = f"failed to load {model!r}: the server"
    if any(name.startswith(_FILE) for name in parameters):
        raise Invalid(
            who,
            needs="a model of its registry",
            came="files of a model",
            todo="Register a version and promote it; it is then loaded by itself.",
        )
    follower = works.follower
    if model not in follower.slots:
        await _looked(works, None)
    slot = _known(works, model, who)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(works.feedback_pool, works.run.set_unloaded, model, False)
    await _looked(works, model)
    await _until(lambda: not follower.is_loading(model), _LOAD_S, who, "to load within")
    if slot.failure:
        raise Unavailable(
            who,
            needs="its newest plan to load",
            came=slot.failure,
            todo="See the server's log; what it served before goes on.",
            retry_after_s=1.0,
        )
    if slot.generation is None and not slot.is_unloaded:
        raise NotFound(
            who,
            needs="a version of the model",
            came="none that the registry wants served",
            todo="Train or register one first.",
        )
    await _agreed(works, lambda plan_seq: plan_seq != _NONE, model)


async def unload_model(works: Works, model: str) -> None:
    """Stop answering for a model; return once nothing new is let in.

    Raises
    ------
    NotFound
        Of an unknown model.
    """
    who = f"failed to unload {model!r}: the server"
    slot = _known(works, model, who)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(works.feedback_pool, works.run.set_unloaded, model, True)
    works.follower.wake()
    await _until(lambda: slot.generation is None, _UNLOAD_S, who, "to let go of it within")
    await _agreed(works, lambda plan_seq: plan_seq == _NONE, model)


# What a worker says of a model of which it has nothing loaded.
_NONE = -1


async def _loaded(works: Works, model: str, parameters: dict[str, Any]) -> Reply:
    await load_model(works, model, parameters)
    # Triton sends nothing and its clients read nothing; KServe sends this.
    return json_reply({"name": model, "load": True})


async def _unloaded(works: Works, model: str, parameters: dict[str, Any]) -> Reply:
    del parameters
    await unload_model(works, model)
    return json_reply({"name": model, "unload": True})


def _state(works: Works, slot: Slot) -> tuple[str, str]:
    """Return the state of a model of which nothing is loaded, and why that is so."""
    if slot.is_unloaded:
        return "UNAVAILABLE", "unloaded"
    if slot.failure:
        return "UNAVAILABLE", slot.failure
    if works.follower.is_loading(slot.spec.name):
        return "LOADING", ""
    return "UNAVAILABLE", "no version is to be served"


def _known(works: Works, model: str, who: str) -> Slot:
    try:
        return works.slot(model)
    except NotFound as error:
        raise NotFound(who, needs=error.needs, came=error.came, todo=error.todo) from error


async def _looked(works: Works, model: str | None) -> None:
    """Wait until the follower has looked at the registry from beginning to end."""
    follower = works.follower
    # The look that is under way may have begun before what is to be seen.
    enough = follower.n_polls + 2
    until_s = monotonic() + _UNLOAD_S
    while follower.n_polls < enough and monotonic() < until_s:
        follower.wake(model)
        await asyncio.sleep(_STEP_S)


async def _until(is_done: Callable[[], bool], limit_s: float, who: str, needs: str) -> None:
    until_s = monotonic() + limit_s
    while not is_done():
        if monotonic() > until_s:
            raise Unavailable(
                who,
                needs=f"{needs} {limit_s:g} s",
                came="no end of it",
                todo="It goes on; ask again whether the model is ready.",
                retry_after_s=1.0,
            )
        await asyncio.sleep(_STEP_S)


async def _agreed(works: Works, is_so: Callable[[int], bool], model: str) -> None:
    """Wait until every worker serves the model, or does not; those that are late follow."""
    if works.run.path is None:
        return
    loop = asyncio.get_running_loop()
    until_s = monotonic() + _AGREE_S
    while monotonic() < until_s:
        await loop.run_in_executor(None, works.reporter.write)
        workers, _ended = await loop.run_in_executor(None, works.run.read)
        said = [each.models[model].plan_seq for each in workers if model in each.models]
        if all(is_so(plan_seq) for plan_seq in said):
            return
        await asyncio.sleep(_AGREE_STEP_S)
