"""The statistics extension: what every version has answered since the server started.

Counted over all workers, but for the time of the last request and the sizes of batches, which
are those of the worker that is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from typing import Any

from renewal.serve.front import Request
from renewal.serve.health import only_get
from renewal.serve.http import Reply, json_reply
from renewal.serve.slots import Loaded
from renewal.serve.status import Counts, Labels, added
from renewal.serve.works import Works

_NS = 1e9
_NOTHING = {"count": 0, "ns": 0}


@dataclass(slots=True)
class _Sums:
    """What a version has answered, over all arms."""

    n_rows: float = 0.0
    n_requests: float = 0.0
    total_s: float = 0.0
    n_failed: float = 0.0
    failed_s: float = 0.0
    n_batches: float = 0.0
    predict_s: float = 0.0
    last_ms: int = 0
    batches: dict[int, tuple[int, float]] = field(default_factory=dict)


def statistics_page(works: Works, request: Request) -> Awaitable[Reply] | None:
    """Answer ``GET /v2/models[/{m}[/versions/{v}]]/stats``; None where the path is another.

    Parameters
    ----------
    works : Works
        Whose counters.
    request : Request
        What is asked.
    """
    match request.path:
        case ("v2", "models", "stats"):
            found = model_statistics(works, None, None)
        case ("v2", "models", model, "stats"):
            found = model_statistics(works, model, None)
        case ("v2", "models", model, "versions", version, "stats"):
            found = model_statistics(works, model, version)
        case _:
            return None
    return _reply(request, found)


async def model_statistics(
    works: Works, model: str | None, version: str | None
) -> dict[str, list[dict[str, Any]]]:
    """Return the statistics of the loaded versions in the shape that Triton gives them.

    Parameters
    ----------
    works : Works
        Whose counters.
    model, version : str or None
        Of which model and version; None: of all.

    Raises
    ------
    NotFound, Unavailable
        When the model or version is not there, or not loaded.

    Notes
    -----
    ``compute_infer`` is the time in the runtime, and ``queue`` the rest of a request's time:
    reading it, waiting for its turn, and writing. Rows of one batch share its time.
    """
    loop = asyncio.get_running_loop()
    counts = await loop.run_in_executor(None, _counts, works)
    return {
        "model_stats": [
            _entry(name, loaded, _summed(works, counts, name, loaded))
            for name, loaded in _versions(works, model, version)
        ]
    }


async def _reply(request: Request, found: Any) -> Reply:
    return only_get(request, json_reply(await found))


def _counts(works: Works) -> Counts:
    """Return the counts of all workers; reads their files, so not on the loop."""
    mine = works.reporter.write()
    workers, ended = works.run.read()
    return added([ended.counts, *(each.counts for each in workers or [mine])])


def _versions(works: Works, model: str | None, version: str | None) -> Iterator[tuple[str, Loaded]]:
    if model is not None:
        with works.slot(model).lease() as generation:
            if version is not None:
                yield model, generation.named(version)
                return
            for _number, loaded in sorted(generation.by_number.items()):
                yield model, loaded
        return
    for name, slot in sorted(works.follower.slots.copy().items()):
        found = slot.generation
        for _number, loaded in sorted(found.by_number.items()) if found is not None else ():
            yield name, loaded


def _summed(works: Works, counts: Counts, model: str, loaded: Loaded) -> _Sums:
    key = (model, loaded.version.name)
    sums = _Sums(last_ms=works.counters.last_ms(model, loaded.number))
    for values in _of(counts, "rows", key):
        sums.n_rows += values[0]
    for values in _of(counts, "request_seconds", key):
        sums.n_requests += sum(values[:-1])
        sums.total_s += values[-1]
    for values in _of(counts, "failed_requests", key):
        sums.n_failed += values[0]
        sums.failed_s += values[1]
    for values in _of(counts, "batch_rows", key):
        sums.n_batches += sum(values[:-1])
    for values in _of(counts, "predict_seconds", key):
        sums.predict_s += values[0]
    stats = loaded.batcher.stats
    seconds = stats.seconds.copy()
    sums.batches = {n: (times, seconds.get(n, 0.0)) for n, times in stats.sizes.copy().items()}
    return sums


def _of(counts: Counts, family: str, key: Labels) -> Iterator[list[float]]:
    return (values for labels, values in counts.get(family, ()) if labels[:2] == key)


def _entry(model: str, loaded: Loaded, sums: _Sums) -> dict[str, Any]:
    n_good = sums.n_requests - sums.n_failed
    good_s = max(0.0, sums.total_s - sums.failed_s)
    infer_s = min(sums.predict_s, good_s)
    return {
        "name": model,
        "version": loaded.number,
        "last_inference": sums.last_ms,
        "inference_count": round(sums.n_rows),
        "execution_count": round(sums.n_batches),
        "inference_stats": {
            "success": _duration(n_good, good_s),
            "fail": _duration(sums.n_failed, sums.failed_s),
            "queue": _duration(n_good, good_s - infer_s),
            "compute_input": _NOTHING,
            "compute_infer": _duration(n_good, infer_s),
            "compute_output": _NOTHING,
            "cache_hit": _NOTHING,
            "cache_miss": _NOTHING,
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": n_rows,
                "compute_input": _NOTHING,
                "compute_infer": _duration(times, seconds),
                "compute_output": _NOTHING,
            }
            for n_rows, (times, seconds) in sorted(sums.batches.items())
        ],
        "memory_usage": [],
    }


def _duration(count: float, seconds: float) -> dict[str, int]:
    return {"count": round(count), "ns": round(seconds * _NS)}
