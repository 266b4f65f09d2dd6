"""The run folder: what the worker processes of one server tell each other, in small files.

::

    run/                    in the home; one folder a running server
      .lock                 held while folders are made and swept
      01JD.../              named by the start of the server
        .lock               held as long as the server lives: who can take it, finds it dead
        0-01JD....json      a worker: its state, its counts; replaced each second
        ended.json          the counts of workers that are gone
        unloaded/flights    a model that somebody has unloaded

A file is replaced whole, by rename, so that a reader never sees half of one.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from renewal.core.errors import Unavailable
from renewal.core.ids import new_id
from renewal.serve.status import (
    Ended,
    WorkerStatus,
    added,
    decode_ended,
    decode_status,
    encode_status,
)

_LOG = logging.getLogger("renewal.serve")
_LOCK, _UNLOADED, _ENDED, _JSON = ".lock", "unloaded", "ended.json", ".json"
# A reader may have listed the files just before one of these was counted among the ended.
_REMEMBERED_ENDED = 64
_LOOK_S = 0.05


class RunFolder:
    """What the workers of one server share; without a folder, what one process keeps to itself.

    Parameters
    ----------
    root : Path or None, default None
        The folder ``run`` of the home; None keeps everything in memory.

    Examples
    --------
    >>> run = RunFolder()
    >>> run.set_unloaded("flights", True)
    >>> sorted(run.unloaded())
    ['flights']
    """

    def __init__(self, root: Path | None = None) -> None:
        self.worker = 0
        self.shares_port = False
        self.listens_late = False
        self.waits_for_first = False
        self.path: Path | None = None
        self._root = root
        self._name = ""
        self._lock: int | None = None
        self._unloaded: frozenset[str] = frozenset()
        self._is_hurried = threading.Event()
        self._last: tuple[list[WorkerStatus], Ended] = ([], Ended())

    @classmethod
    def joined(
        cls, path: Path, worker: int, *, listens_late: bool, waits_for_first: bool = False
    ) -> Self:
        """Return the folder of a server as one of its worker processes sees it.

        Parameters
        ----------
        path : Path
            As the process that started the worker has opened it.
        worker : int
            Its number among the workers, from 0.
        listens_late : bool
            Whether it takes connections only once its models are loaded: others are there to
            take them meanwhile.
        waits_for_first : bool, default False
            Whether it then waits for the first worker, which listens while it is not ready.
        """
        run = cls(path.parent)
        run.path, run.worker = path, worker
        run.shares_port, run.listens_late = True, listens_late
        run.waits_for_first = waits_for_first
        run._name = _new_name(worker)
        run.refresh()
        return run

    def open(self, *, is_needed: bool = True) -> None:
        """Make the folder, and sweep those that dead servers have left.

        Parameters
        ----------
        is_needed : bool, default True
            Whether it is an error when that is not possible, or a warning in the log.

        Raises
        ------
        Unavailable
            When the home does not take it.
        """
        if self._root is None or self.path is not None:
            return
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with _held(self._root / _LOCK):
                _sweep(self._root)
                path = self._root / new_id()
                (path / _UNLOADED).mkdir(parents=True)
                self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            failure = Unavailable(
                "renewal serve",
                needs=f"to write in {self._root}",
                came=str(error),
                todo="Make room, or give the server the right to write there.",
            )
            if is_needed:
                raise failure from error
            _LOG.warning("nobody can see what this server does: %s", failure)
            return
        self.path, self._name = path, _new_name(self.worker)

    def close(self) -> None:
        """Remove the folder, where this process has made it; calling it twice does no harm."""
        if self._lock is not None and self.path is not None:
            self._last = read_run(self.path)
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock, self.path = None, None

    def set_unloaded(self, model: str, is_unloaded: bool) -> None:  # noqa: FBT001  # a state, as its name says
        """Say that a model is unloaded, or is no longer: every worker hears of it.

        Parameters
        ----------
        model : str
            A model of the registry.
        is_unloaded : bool
            Whether the server stops answering for it.
        """
        if self.path is None:
            changed = {model} if is_unloaded else set()
            self._unloaded = (self._unloaded - {model}) | changed
            return
        mark = self.path / _UNLOADED / model
        if is_unloaded:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)
        self.refresh()

    def unloaded(self) -> frozenset[str]:
        """Return the models that are unloaded, as `refresh` has read them last; no disk access."""
        return self._unloaded

    def refresh(self) -> None:
        """Read what other workers have set; the server does so several times a second."""
        if self.path is not None:
            with suppress(FileNotFoundError):
                self._unloaded = frozenset(each.name for each in (self.path / _UNLOADED).iterdir())

    def await_first(self) -> None:
        """Wait until the first worker is ready, or was started again and listens late itself.

        Where one worker says that it is ready, no other must be there that is not: the next
        connection would be dealt to it. `hurry` ends the waiting.
        """
        while self.waits_for_first and not self._is_hurried.is_set():
            first = next((each for each in self.read()[0] if each.worker == 0), None)
            if first is not None and (first.has_started or first.listens_late):
                return
            self._is_hurried.wait(_LOOK_S)

    def hurry(self) -> None:
        """Wait for nobody any more: the server is on its way out."""
        self._is_hurried.set()

    def write(self, status: WorkerStatus) -> None:
        """Replace this worker's file.

        Raises
        ------
        OSError
            When the disk does not take it.
        """
        if self.path is not None:
            _replace(self.path / f"{self._name}{_JSON}", encode_status(status))

    def read(self) -> tuple[list[WorkerStatus], Ended]:
        """Return the state of every worker, and the counts of those that are gone.

        Once closed, as they were at the end.
        """
        if self.path is None:
            return self._last
        return read_run(self.path)

    def retire(self, pid: int) -> None:
        """Count what a dead worker did among the ended, and remove its file.

        Parameters
        ----------
        pid : int
            Its process.
        """
        if self.path is None:
            return
        for name, status in _workers(self.path):
            if status.pid != pid:
                continue
            ended = _ended(self.path)
            names = [*ended.names, name][-_REMEMBERED_ENDED:]
            counts = added([ended.counts, status.counts])
            _replace(self.path / _ENDED, encode_status(Ended(names, counts)))
            (self.path / name).unlink(missing_ok=True)


def running(root: Path) -> list[Path]:
    """Return the folders of the servers that run, the oldest first.

    Parameters
    ----------
    root : Path
        The folder ``run`` of a home; it need not exist.
    """
    if not root.is_dir():
        return []
    return [path for path in sorted(root.iterdir()) if path.is_dir() and not _is_dead(path)]


def read_run(path: Path) -> tuple[list[WorkerStatus], Ended]:
    """Return the state of every worker of a server, by number, and the counts of those gone.

    Parameters
    ----------
    path : Path
        One of `running`.
    """
    # The ended come last: a worker that is retired meanwhile is in both, and counted once;
    # the other way round it might be in neither, and a counter would go back.
    found = _workers(path)
    ended = _ended(path)
    gone = set(ended.names)
    alive = [status for name, status in found if name not in gone]
    return sorted(alive, key=lambda status: status.worker), ended


def _workers(path: Path) -> list[tuple[str, WorkerStatus]]:
    found = []
    for each in sorted(path.glob(f"*{_JSON}")):
        if each.name == _ENDED:
            continue
        with suppress(FileNotFoundError):
            status = decode_status(each.read_bytes())
            if status is None:
                _LOG.warning("not a worker's state, left out: %s", each)
            else:
                found.append((each.name, status))
    return found


def _ended(path: Path) -> Ended:
    try:
        return decode_ended((path / _ENDED).read_bytes())
    except FileNotFoundError:
        return Ended()


def _new_name(worker: int) -> str:
    return f"{worker}-{new_id()}"


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _held(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(root: Path) -> None:
    """Remove what dead servers left; under the root's lock, so that none is just being made."""
    for path in root.iterdir():
        if path.is_dir() and _is_dead(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_dead(path: Path) -> bool:
    """Whether nobody holds the folder's lock; the kernel lets go of it when its holder dies."""
    try:
        handle = os.open(path / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
