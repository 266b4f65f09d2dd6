"""Noticing within milliseconds that another process has committed something.

`Bell` wakes whoever follows the registry in the process that moves an alias or publishes a
plan. Other processes look: at SQLite's ``data_version``, which costs two microseconds and says
whether anybody has committed; or they listen to PostgreSQL, which tells them.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Protocol

from sqlalchemy import Connection, make_url

from renewal.core.plugin import load_plugin
from renewal.registry.db import Database

CHANNEL = "renewal"
_LOOK_EVERY_S = 0.01


class Changes(Protocol):
    """Waits for commits of anybody; used by one thread."""

    def wait(self, timeout_s: float) -> bool:
        """Return True soon after a commit, False when none came in time."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class SqliteChanges:
    """Looks a hundred times a second whether an SQLite file was committed to.

    Parameters
    ----------
    path : str
        Of the file.

    References
    ----------
    .. [1] https://www.sqlite.org/pragma.html#pragma_data_version
    """

    def __init__(self, path: str) -> None:
        self._raw = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._version = self._look()

    def wait(self, timeout_s: float) -> bool:
        """Return True soon after a commit of another connection, False when none came."""
        until_s = time.monotonic() + timeout_s
        while (found := self._look()) == self._version:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(_LOOK_EVERY_S, left_s))
        self._version = found
        return True

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()

    def _look(self) -> int:
        return int(self._raw.execute("PRAGMA data_version").fetchone()[0])


def changes_of(db: Database) -> Changes:
    """Return what waits for the commits of a database; close it when done.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     db = Database(f"sqlite:///{folder}/registry.db")
    ...     changes = changes_of(db)
    ...     found = [changes.wait(0.0)]
    ...     with db.transaction() as connection:
    ...         _ = connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    ...     found.append(changes.wait(1.0))
    ...     changes.close(); db.close()
    >>> found
    [False, True]
    """
    url = make_url(db.url)
    if url.get_backend_name() == "sqlite":
        return SqliteChanges(url.database or "")
    found: Changes = load_plugin("changes", "postgresql")(db.url)
    return found


def announce(connection: Connection) -> None:
    """Tell who listens that this transaction changes what is served; heard when it commits."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"NOTIFY {CHANNEL}")
