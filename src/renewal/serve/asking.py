"""What all HTTP ways to a prediction share: a request becomes a query, an error a reply."""

from __future__ import annotations

import logging

from renewal.core.errors import Failed, Invalid, RenewalError
from renewal.serve.front import Front, Request, Target
from renewal.serve.guard import NOT_YET, Need
from renewal.serve.http import Reply, reply_to
from renewal.serve.query import Query
from renewal.serve.routing import LONGEST
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
        if len(sticky) > LONGEST:
            raise Invalid(
                f"the header {works.options.sticky_header!r}",
                needs=f"at most {LONGEST:,} characters",
                came=f"{len(sticky):,}",
                todo="Send what names the user or the session.",
            )
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


def too_slow(limit_s: float) -> Invalid:
    """Return the error of a body that was not complete in time."""
    return Invalid(
        "the server",
        needs=f"the whole body within {limit_s:g} s",
        came="a part of it",
        todo="Send fewer rows a request.",
        reason="slow",
    )


def refusal(request: Request, error: Exception, front: Front | None) -> Reply:
    """Return the reply to an error: the request border, where the worker lives on.

    Parameters
    ----------
    request : Request
        What was asked.
    error : Exception
        What came of it; what is none of ours is logged.
    front : Front or None
        Whose form the reply has; None: that of V2.
    """
    if not isinstance(error, RenewalError):
        # Quoted: a client may have put line ends into its path.
        _LOG.error("request failed path=%r", "/" + "/".join(request.path), exc_info=error)
        error = Failed(
            "the server",
            needs="to answer without an error of its own",
            came=f"an internal error: {type(error).__name__}",
            todo="See the server's log.",
        )
    return reply_to(error) if front is None else front.refuse(error)
