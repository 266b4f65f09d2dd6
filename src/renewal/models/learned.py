"""What a training found out about itself, told to whoever started it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_told: ContextVar[dict[str, Any] | None] = ContextVar("renewal_learned", default=None)


def tell_learned(**facts: Any) -> None:
    """Say what a finished training found, JSON values; nobody need listen.

    An adapter's verbs return estimators alone. How many epochs were worth their time must be
    known all the same, where the training is done again without rows to watch.

    Parameters
    ----------
    **facts
        Such as ``best_epoch``.
    """
    told = _told.get()
    if told is not None:
        told.update(facts)


@contextmanager
def learned_facts() -> Iterator[dict[str, Any]]:
    """Collect what trainings inside the block tell; the last word on each fact counts.

    Examples
    --------
    >>> with learned_facts() as facts:
    ...     tell_learned(best_epoch=3)
    >>> facts
    {'best_epoch': 3}
    """
    facts: dict[str, Any] = {}
    token = _told.set(facts)
    try:
        yield facts
    finally:
        _told.reset(token)
