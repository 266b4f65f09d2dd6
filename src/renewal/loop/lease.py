"""Holding a lease while long work goes on: a thread renews it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from renewal.core.errors import RenewalError
from renewal.registry.db import Database
from renewal.registry.leases import Lease, holder_name

TTL_S = 10.0
"""How long after the death of its holder a lease can be taken over, seconds."""

_log = logging.getLogger(__name__)


@contextmanager
def held(db: Database, resource: str, *, ttl_s: float | None = None) -> Iterator[tuple[Lease, int]]:
    """Hold a lease for the length of a block, renewing it in a thread.

    Parameters
    ----------
    db : Database
        Where leases are kept.
    resource : str
        What is leased, such as ``watch:flights``.
    ttl_s : float or None
        Seconds after which somebody else may take it from a dead holder; None: `TTL_S`.

    Yields
    ------
    tuple of Lease and int
        The lease and its fencing token, for `Lease.check`.

    Raises
    ------
    Unavailable
        When somebody else holds it; `retry_after_s` says for how long at most.
    """
    lasts_s = TTL_S if ttl_s is None else ttl_s
    lease = Lease(db, resource, holder_name(), lasts_s)
    fence = lease.acquire()
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(lasts_s / 3):
            try:
                lease.renew()
            except RenewalError as error:
                # The next fence check of the holder's own work says so where it matters.
                _log.warning("lease %s was lost: %s", resource, error)
                return

    thread = threading.Thread(target=renew, name=f"lease {resource}", daemon=True)
    thread.start()
    try:
        yield lease, fence
    finally:
        stop.set()
        thread.join()
        lease.release()
