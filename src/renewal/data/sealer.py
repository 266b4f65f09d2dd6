"""The sealer: moves segments of workers into the feed, each exactly once."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

from renewal.core.errors import Corrupt, Invalid, RenewalError, Unavailable
from renewal.data.feed import Feed
from renewal.data.segment import Segment, read_segment, segment_paths, sync_folder

# Rows and predictions: files of so many are as large as compaction makes them, and are left alone.
_COMMIT_ROWS = 200_000
_STEP_S = 0.02

_log = logging.getLogger(__name__)


class Lease(Protocol):
    """Who may work on a resource, as `renewal.registry.leases.Lease` keeps it."""

    def acquire(self) -> int:
        """Take the lease; raise `Unavailable` when somebody else holds it."""
        ...

    def renew(self) -> None:
        """Hold it for longer."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class Sealer:
    """Commits the segments of a folder to a feed and deletes each after its commit.

    Parameters
    ----------
    feed : Feed
        Where they go.
    folder : Path
        Where workers write them.
    lease : Lease
        Held while sealing, so that processes do not get in each other's way. That each
        segment is taken in once does not depend on it: the feed remembers their numbers.

    Notes
    -----
    Killed anywhere, the next call goes on: a segment that was committed and not deleted is
    recognized and deleted. A segment that the feed cannot take is put aside, under its
    name with ``.refused``, and named in the error that is raised once the others are in.
    """

    def __init__(self, feed: Feed, folder: Path, lease: Lease) -> None:
        self._feed = feed
        self._folder = folder
        self._lease = lease

    def seal(self, wait_s: float = 0.0) -> int:
        """Take in every segment that is there.

        Parameters
        ----------
        wait_s : float, seconds, default 0
            How long to wait while another process is sealing.

        Returns
        -------
        int
            Rows and predictions are in the feed when it returns; the number counts rows.
            0 when there are none, or while another process is sealing.

        Raises
        ------
        Corrupt, Invalid
            When a segment was put aside; the others were sealed.
        Conflict
            When the lease was lost meanwhile: its new holder goes on.
        """
        if not segment_paths(self._folder):
            return 0
        until_s = monotonic() + wait_s
        while True:
            try:
                self._lease.acquire()
            except Unavailable as error:
                if monotonic() < until_s:
                    sleep(_STEP_S)
                    continue
                _log.debug("another process seals %s: %s", self._folder, error)
                return 0
            break
        try:
            return self._seal_all()
        finally:
            self._lease.release()

    def _seal_all(self) -> int:
        n_rows = 0
        refused: list[RenewalError] = []
        for at, batch in enumerate(self._batches(refused)):
            if at:
                self._lease.renew()
            for part in self._committed(batch, refused):
                n_rows += part.rows.num_rows
                (self._folder / part.file_name).unlink(missing_ok=True)
        sync_folder(self._folder)
        if refused:
            raise refused[0]
        return n_rows

    def _batches(self, refused: list[RenewalError]) -> Iterator[list[Segment]]:
        """Yield segments, by worker and number, 100,000 rows with their predictions at a time."""
        batch: list[Segment] = []
        n_rows = 0
        for path in segment_paths(self._folder):
            try:
                segment = read_segment(path)
            except FileNotFoundError:
                continue
            except Corrupt as error:
                refused.append(error)
                self._put_aside(path.name)
                continue
            batch.append(segment)
            n_rows += segment.rows.num_rows + segment.predictions.num_rows
            if n_rows >= _COMMIT_ROWS:
                yield batch
                batch, n_rows = [], 0
        if batch:
            yield batch

    def _committed(
        self, batch: Sequence[Segment], refused: list[RenewalError]
    ) -> Iterator[Segment]:
        try:
            self._feed.commit(*batch)
        except Invalid as error:
            if len(batch) == 1:
                refused.append(error)
                self._put_aside(batch[0].file_name)
                return
            for segment in batch:
                yield from self._committed([segment], refused)
        else:
            yield from batch

    def _put_aside(self, file_name: str) -> None:
        path = self._folder / file_name
        path.rename(path.with_name(f"{file_name}.refused"))
