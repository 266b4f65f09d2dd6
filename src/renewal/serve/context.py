"""Whom the present work is for: model, version and request, for the lines of the log.

Set once where a request or a load begins, and read where a line is written, so that no verb
below has to be handed what it does not need. Context variables follow a task of an event loop;
a thread of a pool starts empty, and sets its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

MODEL: ContextVar[str | None] = ContextVar("renewal_model", default=None)
VERSION: ContextVar[str | None] = ContextVar("renewal_version", default=None)
REQUEST_ID: ContextVar[str | None] = ContextVar("renewal_request_id", default=None)

_VARIABLES = {"model": MODEL, "version": VERSION, "request_id": REQUEST_ID}


@contextmanager
def working_for(
    *, model: str | None = None, version: str | None = None, request_id: str | None = None
) -> Iterator[None]:
    """Put what is known beside every line that is logged inside.

    Parameters
    ----------
    model, version, request_id : str or None
        None leaves what is set.

    Examples
    --------
    >>> with working_for(model="flights"), working_for(version="v3"):
    ...     known()
    {'model': 'flights', 'version': 'v3'}
    >>> known()
    {}
    """
    given = {"model": model, "version": version, "request_id": request_id}
    marks = [
        (_VARIABLES[name], _VARIABLES[name].set(value))
        for name, value in given.items()
        if value is not None
    ]
    try:
        yield
    finally:
        for variable, mark in reversed(marks):
            variable.reset(mark)


def known() -> dict[str, str]:
    """Return what is set, by name."""
    found = {name: variable.get() for name, variable in _VARIABLES.items()}
    return {name: value for name, value in found.items() if value is not None}
