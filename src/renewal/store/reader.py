"""An object read in pieces: of a model of a gigabyte, never more than one piece is in memory."""

from __future__ import annotations

from io import SEEK_END, BytesIO
from typing import BinaryIO, Self

from blake3 import blake3

from renewal.core.errors import Corrupt
from renewal.store.contract import Store

_PIECE = 1 << 20


class Reader:
    """The bytes of an object, in order; `finish` says whether they were the right ones.

    Parameters
    ----------
    file : binary file
        Of the object; closed by `close`.
    digest : str
        What its bytes should have.

    Attributes
    ----------
    n_bytes : int
        Of the whole object.

    Examples
    --------
    >>> from renewal.store.digest import digest
    >>> with Reader(BytesIO(b"weights"), digest(b"weights")) as reader:
    ...     reader.read(2), reader.finish(), reader.read(2)
    (b'we', None, b'')
    """

    def __init__(self, file: BinaryIO, digest: str) -> None:
        self._file = file
        self._digest = digest
        self._hash = blake3()
        self.n_bytes = file.seek(0, SEEK_END)
        file.seek(0)

    def read(self, n_bytes: int = _PIECE) -> bytes:
        """Return the next bytes, fewer at the end; what they say is not verified yet."""
        piece = self._file.read(n_bytes)
        self._hash.update(piece)
        return piece

    def finish(self) -> None:
        """Read what is left, and raise `Corrupt` where the whole has another digest."""
        while self.read():
            pass
        found = self._hash.hexdigest()
        if found != self._digest:
            raise Corrupt(
                "Reader.finish",
                needs=f"bytes of digest {self._digest}",
                came=f"{self.n_bytes} bytes of digest {found}",
                todo="Restore the object from a copy, or roll back to another version.",
                digest=self._digest,
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


def read_object(store: Store, digest: str) -> Reader:
    """Return a reader of an object.

    Parameters
    ----------
    store : Store
        One that has `open_object` (`LocalStore`) hands out a file; of another, the whole is
        read at once.
    digest : str
        64 hexadecimal digits.

    Raises
    ------
    NotFound, Unavailable, Invalid
        As the store says.
    """
    opened = getattr(store, "open_object", None)
    file = BytesIO(store.get(digest)) if opened is None else opened(digest)
    return Reader(file, digest)
