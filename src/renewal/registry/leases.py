"""Leases: one holder of a resource at a time, also after a crash, with fencing tokens."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from renewal.core.clock import Clock, SystemClock
from renewal.core.errors import Conflict, Invalid, Unavailable
from renewal.core.ids import new_id
from renewal.registry.db import Database
from renewal.registry.tables import leases


def holder_name() -> str:
    """Return a name for this process that no other process, now or later, shares."""
    return f"{socket.gethostname()}:{os.getpid()}:{new_id()[-8:]}"


class Lease:
    """A claim of one process on a resource, for a time that it must renew.

    Every acquisition gets a *fence*, one higher than the last. Work done under the lease
    is committed in a transaction that first calls `check`: a holder that slept past its
    time and wakes up finds a higher fence and writes nothing.

    Parameters
    ----------
    db : Database
        Where leases are kept.
    resource : str, at most 256 characters
        What is leased, such as ``watch:flights``.
    holder : str, at most 128 characters
        Who holds it; no two processes share a name, now or later.
    ttl_s : float > 0, seconds
        After so long without `renew` somebody else may take it.
    clock : Clock or None
        The time of expiry; default the machine's, also in a replay: a lease is about
        processes, and those live in real time.

    Notes
    -----
    One transaction a verb, about 1 ms. Clocks of hosts that share a PostgreSQL may differ
    by less than `ttl_s` without harm to liveness, and by any amount without harm to safety,
    which rests on the fence alone.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     db = Database(f"sqlite:///{folder}/registry.db")
    ...     mine = Lease(db, "seal:flights", "host:1", ttl_s=10)
    ...     fence = mine.acquire()
    ...     try:
    ...         Lease(db, "seal:flights", "host:2", ttl_s=10).acquire()
    ...     except Unavailable as error:
    ...         held_by = error.fields["holder"]
    ...     mine.release()
    ...     taken = Lease(db, "seal:flights", "host:2", ttl_s=10).acquire()
    ...     db.close()
    >>> fence, held_by, taken
    (1, 'host:1', 2)

    References
    ----------
    .. [1] Gray and Cheriton (1989). Leases: an efficient fault-tolerant mechanism for
       distributed file cache consistency. SOSP.
    .. [2] Kleppmann (2016). How to do distributed locking (fencing tokens).
    """

    def __init__(
        self, db: Database, resource: str, holder: str, ttl_s: float, *, clock: Clock | None = None
    ) -> None:
        if not (ttl_s > 0 and 0 < len(resource) <= 256 and 0 < len(holder) <= 128):
            raise Invalid(
                "Lease",
                needs="more than 0 s, a resource of 1 to 256 and a holder of 1 to 128 characters",
                came=f"{ttl_s} s, {resource!r} and {holder!r}",
                todo="Name both shortly.",
            )
        self.resource = resource
        self.holder = holder
        self._db = db
        self._ttl = timedelta(seconds=ttl_s)
        self._clock: Clock = clock or SystemClock()
        self._fence: int | None = None

    def acquire(self) -> int:
        """Take the lease and return its fence.

        The same holder may take it again at any time; its former fence is stale then.

        Raises
        ------
        Unavailable
            When somebody else holds it: `fields` has ``holder``, ``until`` and
            ``retry_after_s``.
        """
        with self._db.transaction() as connection:
            row = connection.execute(
                select(leases).where(leases.c.resource == self.resource)
            ).one_or_none()
            now = self._clock.now()
            if row is not None and row.holder != self.holder and row.expires_at > now:
                raise _held(self.resource, row.holder, row.expires_at, now)
            fence = 1 if row is None else row.fence + 1
            values = {"holder": self.holder, "fence": fence, "expires_at": now + self._ttl}
            if row is None:
                connection.execute(insert(leases).values(resource=self.resource, **values))
            else:
                connection.execute(
                    update(leases).where(leases.c.resource == self.resource).values(**values)
                )
        self._fence = fence
        return fence

    def renew(self) -> None:
        """Hold it for another `ttl_s` from now; raise `Conflict` when it was lost."""
        with self._db.transaction() as connection:
            self.check(connection, self._held_fence("renew"))
            self._set_expiry(connection, self._clock.now() + self._ttl)

    def release(self) -> None:
        """Let go of it, so that the next one need not wait; nothing where it was lost."""
        if self._fence is None:
            return
        with self._db.transaction() as connection:
            if _fence_of(connection, self.resource) == self._fence:
                # The row stays: the next fence must be higher.
                self._set_expiry(connection, self._clock.now())
        self._fence = None

    def check(self, connection: Connection, fence: int) -> None:
        """Raise `Conflict` unless `fence` is the newest, in the transaction of the work.

        Parameters
        ----------
        connection : Connection
            A transaction of the same database; nobody takes the lease before it ends.
        fence : int
            What `acquire` returned.

        Raises
        ------
        Conflict
            When the lease has been taken over.
        """
        row = connection.execute(
            select(leases).where(leases.c.resource == self.resource)
        ).one_or_none()
        if row is None or row.fence != fence:
            raise Conflict(
                "Lease.check",
                needs=f"the lease on {self.resource!r} under fence {fence}",
                came="no lease" if row is None else f"fence {row.fence}, held by {row.holder}",
                todo="Stop: somebody else goes on with this work.",
                resource=self.resource,
                fence=fence,
            )

    def _set_expiry(self, connection: Connection, at: datetime) -> None:
        connection.execute(
            update(leases).where(leases.c.resource == self.resource).values(expires_at=at)
        )

    def _held_fence(self, verb: str) -> int:
        if self._fence is None:
            raise Conflict(
                f"Lease.{verb}",
                needs=f"a held lease on {self.resource!r}",
                came="one that was never acquired, or was released",
                todo="Acquire it first.",
            )
        return self._fence


def holder_of(db: Database, resource: str, *, clock: Clock | None = None) -> str | None:
    """Return who holds a lease now; None where nobody does.

    Parameters
    ----------
    db : Database
        Where leases are kept.
    resource : str
        What is leased.
    clock : Clock or None
        Default: that of the system.
    """
    now = (clock or SystemClock()).now()
    with db.read() as connection:
        holder = connection.execute(
            select(leases.c.holder).where(leases.c.resource == resource, leases.c.expires_at > now)
        ).scalar()
    return None if holder is None else str(holder)


def _fence_of(connection: Connection, resource: str) -> int | None:
    return connection.execute(select(leases.c.fence).where(leases.c.resource == resource)).scalar()


def _held(resource: str, holder: str, until: datetime, now: datetime) -> Unavailable:
    return Unavailable(
        "Lease.acquire",
        needs=f"the lease on {resource!r}",
        came=f"one held by {holder} until {until.isoformat()}",
        todo="Wait until it is released, or until then if its holder has died.",
        retry_after_s=(until - now).total_seconds(),
        holder=holder,
        until=until,
    )
