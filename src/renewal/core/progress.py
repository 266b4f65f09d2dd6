"""How far long work has come: told by whoever works, heard by whoever started it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One word on how far a piece of work has come.

    Parameters
    ----------
    text : str
        What is being done, such as ``epoch 3 of 10, loss 0.41``.
    share : float in [0, 1] or None
        How much of it is done; None where nobody can tell.
    """

    text: str
    share: float | None = None


Hear = Callable[[Progress], None]


def _hear_nothing(_said: Progress) -> None:
    """Throw a word away."""


_hear: ContextVar[Hear] = ContextVar("renewal_progress", default=_hear_nothing)


def tell_progress(text: str, share: float | None = None) -> None:
    """Say how far the work of this context has come; nobody need listen.

    An engine carries what is said in its workers to whoever started them. Cheap enough for
    every step of a training loop: an engine passes on a few words a second and drops others.

    Parameters
    ----------
    text : str
        What is being done.
    share : float in [0, 1] or None
        How much of it is done.

    Examples
    --------
    >>> heard = []
    >>> with hearing(heard.append):
    ...     tell_progress("half way", 0.5)
    >>> heard
    [Progress(text='half way', share=0.5)]
    """
    _hear.get()(Progress(text, share))


@contextmanager
def hearing(hear: Hear) -> Iterator[None]:
    """Hear what is told inside the block, on this thread and in what it starts by context.

    Parameters
    ----------
    hear : callable
        Called with each `Progress`; it must be quick and must not raise.
    """
    token = _hear.set(hear)
    try:
        yield
    finally:
        _hear.reset(token)
