"""A store in a folder: one file an object, whole or not at all.

::

    objects/af/1349b9f5f9...      an object: read-only, named by its digest
    objects/af/.tmp-<random>      a write under way, or what a killed writer left of one
    objects/.lock                 held for microseconds, see `LocalStore.delete`

The order of a write is what makes it crash-safe: temporary file in the same folder, fsync
of the file, rename, fsync of the folder. Before the rename there is no object; after the
last fsync there is one for good.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from renewal.core.errors import Corrupt, Invalid, NotFound, Unavailable
from renewal.store.digest import digest as digest_of
from renewal.store.digest import is_digest

_TEMPORARY = ".tmp-"
_READ_ONLY = 0o444
_SHARD_DIGITS = 2


class LocalStore:
    """Keep objects as files of a folder on a local disk.

    Parameters
    ----------
    path : Path or str
        The folder; made where it is missing.

    Raises
    ------
    Unavailable
        When the folder cannot be made.

    Notes
    -----
    A put costs three fsyncs, a get one read and one BLAKE3 pass. Any number of processes of
    one host may share the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = LocalStore(folder)
    ...     name = store.put(b"weights")
    ...     name[:8], store.get(name), list(store.digests()) == [name]
    ('3edc5c4a', b'weights', True)
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            with _when_unwritable(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                _fsync_folder(self.path.parent)

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest; once it returns, a power cut loses nothing.

        Parameters
        ----------
        data : bytes
            Any length.

        Returns
        -------
        str
            Its digest.

        Raises
        ------
        Unavailable
            When the disk is full or the folder is not writable; nothing is half written.
        """
        name = digest_of(data)
        path = self._path(name)
        with _when_unwritable(path):
            if not self._is_kept(path, name):
                self._write(path, data)
        return name

    def get(self, digest: str) -> bytes:
        """Return the bytes of a digest, verified.

        Parameters
        ----------
        digest : str
            64 hexadecimal digits.

        Returns
        -------
        bytes
            What was put.

        Raises
        ------
        NotFound
            When there is no such object.
        Corrupt
            When the file is truncated or altered; the error names its path.
        Invalid
            When `digest` has not the form of one.
        """
        path = self._path(digest)
        with _when_unreadable(path, digest):
            data = path.read_bytes()
        found = digest_of(data)
        if found != digest:
            raise Corrupt(
                "LocalStore.get",
                needs=f"bytes of digest {digest} in {path}",
                came=f"{len(data)} bytes of digest {found}",
                todo="Restore the file from a copy, or roll back to another version.",
                digest=digest,
                path=str(path),
            )
        return data

    def open_object(self, digest: str) -> BinaryIO:
        """Return the file of an object, opened; whoever reads it has to verify it.

        See `renewal.store.reader.Reader`. Raises `NotFound` and `Invalid` as `get` does.
        """
        path = self._path(digest)
        with _when_unreadable(path, digest):
            return cast("BinaryIO", path.open("rb", buffering=0))

    def renew(self, digest: str) -> bool:
        """Make an object young again, so that no sweep takes it; return whether there is one.

        Parameters
        ----------
        digest : str
            64 hexadecimal digits.
        """
        path = self._path(digest)
        with _when_unwritable(path):
            return self._renewed(path)

    def digests(self) -> Iterator[str]:
        """Yield every digest that is kept, in order; temporary files are none."""
        for shard in sorted(self.path.iterdir()):
            if len(shard.name) == _SHARD_DIGITS and shard.is_dir():
                for file in sorted(shard.iterdir()):
                    name = shard.name + file.name
                    if is_digest(name):
                        yield name

    def delete(self, digest: str, *, older_than_s: float = 0.0) -> bool:
        """Delete an object unless it was put within the last `older_than_s` seconds.

        Age is looked at and the file removed under a lock that `put` shares, so an object
        that somebody puts again at this moment is either seen to be young or written anew.

        Parameters
        ----------
        digest : str
            64 hexadecimal digits.
        older_than_s : float, seconds, default 0
            Longer than the longest pause between a put and the row that refers to it.

        Returns
        -------
        bool
            Whether there was one to delete.
        """
        path = self._path(digest)
        with _when_unwritable(path), self._locked(fcntl.LOCK_EX):
            return _unlink_older(path, older_than_s)

    def tidy(self, older_than_s: float) -> int:
        """Delete temporary files that killed writers left, and return how many.

        Parameters
        ----------
        older_than_s : float, seconds
            Longer than the longest write.

        Returns
        -------
        int
            Files deleted.
        """
        with _when_unwritable(self.path):
            left = self.path.glob(f"*/{_TEMPORARY}*")
            return sum(_unlink_older(path, older_than_s) for path in left)

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise Invalid(
                "LocalStore",
                needs="a digest of 64 lower-case hexadecimal digits",
                came=repr(digest),
                todo="Hand in what put returned.",
            )
        return self.path / digest[:_SHARD_DIGITS] / digest[_SHARD_DIGITS:]

    def _is_kept(self, path: Path, name: str) -> bool:
        """Make an object young again and return whether its bytes are whole."""
        # Young by now, so no sweep takes it while it is read.
        return self._renewed(path) and digest_of(path.read_bytes()) == name

    def _renewed(self, path: Path) -> bool:
        with self._locked(fcntl.LOCK_SH):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
        return True

    def _write(self, path: Path, data: bytes) -> None:
        if not path.parent.is_dir():
            path.parent.mkdir(exist_ok=True)
        # Also where another process made it just now: its fsync may be still to come.
        _fsync_folder(self.path)
        temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _READ_ONLY)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with self._locked(fcntl.LOCK_SH):
                temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _fsync_folder(path.parent)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)


def _unlink_older(path: Path, older_than_s: float) -> bool:
    try:
        if time.time() - path.stat().st_mtime < older_than_s:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _fsync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _when_unreadable(path: Path, digest: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(
            "LocalStore.get",
            needs=f"the object {digest}",
            came=f"no file {path}",
            todo="Restore it from a copy of the store, or roll back to another version.",
            digest=digest,
        ) from error
    except OSError as error:
        raise Unavailable(
            "LocalStore.get",
            needs=f"to read {path}",
            came=str(error),
            todo="Check the disk and the permissions of the folder.",
            digest=digest,
        ) from error


@contextmanager
def _when_unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            "LocalStore",
            needs=f"to write under {path.parent}",
            came=str(error),
            todo="Free space on the disk or mend the folder's permissions, then try again.",
            path=str(path),
        ) from error
