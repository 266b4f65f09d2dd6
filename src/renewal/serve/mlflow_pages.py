"""Health and version in the form of MLflow's scoring server.

::

    GET /ping · /health · /version
"""

from __future__ import annotations

from importlib.metadata import version as package_version

from renewal.serve.front import Request
from renewal.serve.health import only_get
from renewal.serve.http import NOT_READY, OK, Reply
from renewal.serve.works import Works


def mlflow_page(works: Works, request: Request) -> Reply | None:
    """Answer whether the server is ready, and its version; None where the path is another.

    Parameters
    ----------
    works : Works
        What it works with.
    request : Request
        What is asked.
    """
    match request.path:
        case ("ping",) | ("health",):
            is_ready = works.follower.is_ready and not works.is_draining
            reply = Reply(OK if is_ready else NOT_READY, b"\n")
        case ("version",):
            reply = Reply(OK, package_version("renewal").encode(), content_type=b"text/plain")
        case _:
            return None
    return only_get(request, reply)
