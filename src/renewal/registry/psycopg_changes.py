"""Listening to PostgreSQL for commits that change what is served."""

from __future__ import annotations

import psycopg
from sqlalchemy import make_url

from renewal.core.errors import Unavailable
from renewal.registry.changes import CHANNEL


class PostgresqlChanges:
    """Waits for notifications on a connection of its own.

    Parameters
    ----------
    url : str
        An SQLAlchemy URL of the database.

    References
    ----------
    .. [1] https://www.postgresql.org/docs/current/sql-notify.html
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._raw: psycopg.Connection | None = None
        self._connected()

    def wait(self, timeout_s: float) -> bool:
        """Return True soon after a notification, False when none came in time.

        Raises
        ------
        Unavailable
            When the server does not answer; the next call connects again.
        """
        try:
            found = list(self._connected().notifies(timeout=timeout_s, stop_after=1))
        except psycopg.Error as error:
            self.close()
            raise _unavailable(error) from error
        return bool(found)

    def close(self) -> None:
        """Close the connection."""
        if self._raw is not None:
            self._raw.close()
            self._raw = None

    def _connected(self) -> psycopg.Connection:
        if self._raw is None:
            try:
                self._raw = psycopg.connect(self._url, autocommit=True)
                self._raw.execute(f"LISTEN {CHANNEL}")
            except psycopg.Error as error:
                self.close()
                raise _unavailable(error) from error
        return self._raw


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(
        "the registry",
        needs="a PostgreSQL server that answers",
        came=str(error),
        todo="See whether it runs; servers go on with what they have loaded.",
        retry_after_s=1.0,
    )
