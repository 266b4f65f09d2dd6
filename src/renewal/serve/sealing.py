"""Sealing what was logged: a thread that commits the segments of all workers to the feeds.

Every worker has one; a lease lets one of them seal a model at a time, and the feed remembers
what it has taken in, so that a worker that dies in the midst loses and doubles nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from renewal.core.errors import RenewalError
from renewal.data.feed import Feed
from renewal.data.sealer import Sealer
from renewal.registry.db import Database
from renewal.registry.leases import Lease, holder_name

_LOG = logging.getLogger("renewal.serve")
# After so many rows it is sealed at once: a commit of as many takes about 0.3 s, and makes files of
# the size that compaction aims at, which need no second writing.
_ROWS = 100_000
_LOOK_S = 0.5
_TTL_S = 30.0


class Sealing:
    """Commits the segments that a server's workers have written.

    Parameters
    ----------
    db : Database
        Where the lease lies.
    folder : Path
        Segments of model m lie in ``folder/m``.
    feeds : callable
        From a model's name to its feed.
    models : callable
        Returns the names of the models that are served.
    n_rows_written : callable
        Returns how many rows this worker has written to segments so far.
    every_s : float, seconds
        How often; 0 leaves it to `renewal watch`.
    """

    def __init__(
        self,
        db: Database,
        folder: Path,
        feeds: Callable[[str], Feed],
        models: Callable[[], list[str]],
        n_rows_written: Callable[[], int],
        *,
        every_s: float,
    ) -> None:
        self.n_rows_sealed = 0
        self.n_failed = 0
        self._db = db
        self._folder = folder
        self._feeds = feeds
        self._models = models
        self._n_rows_written = n_rows_written
        self._every_s = every_s
        self._holder = holder_name()
        self._is_failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="renewal-seal", daemon=True)

    def start(self) -> None:
        """Start the thread, unless it is left to others."""
        if self._every_s > 0:
            self._thread.start()

    def close(self) -> None:
        """Stop the thread; what is under way is finished."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def seal(self) -> int:
        """Seal every model once; return how many rows that were.

        A model whose segments the feed refuses, or whose feed does not answer, is logged and
        does not keep the others from theirs.
        """
        n_rows = 0
        for model in self._models():
            folder = self._folder / model
            if not folder.is_dir():
                continue
            lease = Lease(self._db, f"seal:{model}", self._holder, _TTL_S)
            try:
                n_rows += Sealer(self._feeds(model), folder, lease).seal()
            except RenewalError as error:
                self.n_failed += 1
                _LOG.error("sealing failed model=%s error=%s", model, error)
        self.n_rows_sealed += n_rows
        return n_rows

    def _work(self) -> None:
        sealed_s, n_before = monotonic(), 0
        while not self._closing.wait(min(_LOOK_S, self._every_s)):
            n_written = self._n_rows_written()
            if monotonic() - sealed_s < self._every_s and n_written - n_before < _ROWS:
                continue
            try:
                self.seal()
            except Exception:  # noqa: BLE001  # the worker border: segments stay until the next time
                self.n_failed += 1
                if not self._is_failing:
                    _LOG.exception("sealing failed; it is tried again")
                self._is_failing = True
            else:
                self._is_failing = False
            sealed_s, n_before = monotonic(), n_written
