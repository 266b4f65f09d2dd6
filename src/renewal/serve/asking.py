"""What all HTTP ways to a prediction share: a request becomes a query, an error a reply."""

from __future__ import annotations

import logging

from renewal.core.errors import RenewalError
from renewal.serve.front import Front, Request, Target
from renewal.serve.guard import NOT_YET, Need
from renewal.serve.http import FAILED, SLOW, TOO_LARGE, Reply, TooLargeError, error_reply, reply_to
from renewal.serve.query import Query
from renewal.serve.works import Works

_LOG = logging.getLogger("renewal.serve")


def query_of(works: Works, front: Front, target: Target, request: Request) -> Query:
    """Read a prediction request.

    Raises
    ------
    RenewalError
        What is wrong with it, or that it is not allowed.
    """
    demand_entry(works, request, "predict", target.model or NOT_YET)
    query = front.read(request, target, works)
    if target.model is None:
        demand_entry(works, request, "predict", query.model)
    sticky = request.header(works.sticky_header)
    if sticky:
        query.sticky = sticky.decode("latin-1")
    return query


def demand_entry(works: Works, request: Request, need: Need, model: str | None) -> None:
    """Raise what the guard says of a request, where it says something.

    Raises
    ------
    Refused
        When its token does not reach as far, or it has none and needs one.
    """
    error = works.guard.check(request.headers, need, model)
    if error is not None:
        raise error


def refusal(works: Works, request: Request, error: Exception, front: Front | None) -> Reply:
    """Return the reply to an error: the request border, where the worker lives on.

    Parameters
    ----------
    works : Works
        Its limits are named.
    request : Request
        What was asked.
    error : Exception
        What came of it.
    front : Front or None
        Whose form the reply has; None: that of V2.
    """
    if isinstance(error, RenewalError):
        return reply_to(error) if front is None else front.refuse(error)
    if isinstance(error, TooLargeError):
        limit = works.options.max_body_bytes
        return error_reply(TOO_LARGE, f"the body is larger than {limit} bytes: send it in parts")
    if isinstance(error, TimeoutError):
        return error_reply(SLOW, f"the body was not complete after {works.options.timeout_s:g} s")
    _LOG.error("request failed path=/%s", "/".join(request.path), exc_info=error)
    return error_reply(FAILED, f"internal error: {type(error).__name__}")
