"""What a store is: bytes put once, found by their digest, verified when read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Store(Protocol):
    """Keeps bytes under their digest. Any thread and any process may call it at any time."""

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest; once it returns, a power cut loses nothing.

        Putting the same bytes again is free of harm: it mends a damaged object, and makes
        it young again for `Sweepable.delete`.

        Raises
        ------
        Unavailable
            When the bytes could not be written; nothing is half written.
        """
        ...

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest, verified.

        Raises
        ------
        NotFound
            When there are none.
        Corrupt
            When what is kept has another digest.
        """
        ...

    def renew(self, digest: str) -> bool:
        """Make an object young again for `Sweepable.delete`; return whether there is one.

        What `put` does for bytes that are there already, without the bytes: a base of two
        gigabytes is neither written down nor read. They are verified when they are read.
        """
        ...

    def digests(self) -> Iterator[str]:
        """Yield every digest that is kept, in order."""
        ...

    def delete(self, digest: str, *, older_than_s: float = 0.0) -> bool:
        """Delete an object unless it was put within the last `older_than_s` seconds."""
        ...


class Sweepable(Protocol):
    """What `sweep` needs of a store beside its reading and writing."""

    def digests(self) -> Iterator[str]:
        """Yield every digest that is kept, in order."""
        ...

    def delete(self, digest: str, *, older_than_s: float = 0.0) -> bool:
        """Delete an object unless it was put within the last `older_than_s` seconds."""
        ...

    def tidy(self, older_than_s: float) -> int:
        """Delete what writers that died left behind, and return how many pieces."""
        ...
