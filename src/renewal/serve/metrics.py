"""The page ``GET /metrics``: what all workers have counted, for Prometheus."""

from __future__ import annotations

import asyncio
from importlib import import_module

from renewal.serve.front import Request
from renewal.serve.http import OK, Reply, wrong_method
from renewal.serve.works import Works

_PATH = ("metrics",)


def metrics_page(works: Works, request: Request) -> Reply | asyncio.Future[Reply] | None:
    """Answer a scrape; None where the path is another.

    Parameters
    ----------
    works : Works
        Of the worker that is asked; it answers for all.
    request : Request
        Its header ``accept`` chooses between the text form of Prometheus and OpenMetrics.
    """
    if request.path != _PATH:
        return None
    if request.method not in {"GET", "HEAD"}:
        return wrong_method("GET", "HEAD")
    accept = (request.header(b"accept") or b"").decode("latin-1")
    # Reading files and writing text takes milliseconds, which the loop does not have.
    return asyncio.get_running_loop().run_in_executor(None, _scraped, works, accept)


def _scraped(works: Works, accept: str) -> Reply:
    # This worker's file first: the next scrape may be answered by another worker, and must
    # not find less than what is said here.
    mine = works.reporter.write()
    workers, ended = works.run.read()
    found = import_module("renewal.serve.prometheus_metrics").exposition(
        accept, workers or [mine], ended
    )
    body, kind = found
    return Reply(OK, body, content_type=kind)
