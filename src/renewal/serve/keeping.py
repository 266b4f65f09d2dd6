"""What a swap has replaced: kept warm for a while, or drained until its requests are answered."""

from __future__ import annotations

import logging
from collections.abc import Collection
from time import monotonic

from renewal.core.errors import Unavailable
from renewal.serve.slots import Generation, Loaded

_LOG = logging.getLogger("renewal.serve")


class Kept:
    """Versions that a slot served before and that stay in memory, to be taken back at once.

    Parameters
    ----------
    keep_s : float, seconds
        For how long; 0 keeps nothing.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._until_s: dict[str, float] = {}
        self._loaded: dict[str, Loaded] = {}

    def __contains__(self, version_id: object) -> bool:
        """Say whether a version is warm."""
        return version_id in self._loaded

    def replaced(self, before: Generation, now: Collection[str]) -> None:
        """Take a hold on what a generation serves no more.

        Parameters
        ----------
        before : Generation
            What is being replaced; still held by its slot.
        now : collection of str
            Version ids of what replaces it.
        """
        if self._keep_s <= 0:
            return
        for version_id, loaded in before.loaded.items():
            if version_id not in now and version_id not in self._loaded and loaded.share():
                self._loaded[version_id] = loaded
                self._until_s[version_id] = monotonic() + self._keep_s

    def take(self, version_id: str) -> Loaded | None:
        """Hand a warm version over with its hold; None where it is not warm."""
        self._until_s.pop(version_id, None)
        return self._loaded.pop(version_id, None)

    def let_go(self, but: Collection[str] = ()) -> None:
        """Let go of everything, but of some versions."""
        for version_id in [each for each in self._loaded if each not in but]:
            self._release(version_id)

    def expire(self) -> None:
        """Let go of what has been warm for long enough."""
        now_s = monotonic()
        for version_id in [each for each, until_s in self._until_s.items() if until_s < now_s]:
            self._release(version_id)

    def _release(self, version_id: str) -> None:
        loaded = self.take(version_id)
        if loaded is not None:
            loaded.release()


class Drains:
    """Generations that were replaced and whose requests are not all answered.

    Not safe by itself: one thread at a time, as with `Kept`; `Placing` holds a lock.

    Parameters
    ----------
    drain_s : float, seconds
        After which what is left of them is answered with an error.
    """

    def __init__(self, drain_s: float) -> None:
        self._drain_s = drain_s
        self._due: list[tuple[float, Generation]] = []

    def add(self, generation: Generation) -> None:
        """Watch a generation that its slot has let go of."""
        if not generation.is_gone:
            self._due.append((monotonic() + self._drain_s, generation))

    def check(self) -> None:
        """End what has taken too long."""
        now_s = monotonic()
        left = []
        for due_s, generation in self._due:
            if generation.is_gone:
                continue
            if now_s < due_s:
                left.append((due_s, generation))
                continue
            _LOG.error(
                "drain ended early model=%s plan=%d: requests are answered 503",
                generation.plan.model,
                generation.seq,
            )
            generation.abandon(
                Unavailable(
                    f"model {generation.plan.model!r}",
                    needs=f"an answer within {self._drain_s:g} s of the swap",
                    came="none yet",
                    todo="Send it again: another version answers by now.",
                    retry_after_s=1.0,
                )
            )
        self._due = left
