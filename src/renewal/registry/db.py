"""The one owner of the SQL database: engine, transactions, migrations.

SQLite by default (WAL, BEGIN IMMEDIATE, synchronous FULL), PostgreSQL by URL, one code
path. Rooms that keep state define their Table objects on `metadata` and register the
module under the plug-in kind ``tables``; nothing here imports them by name.

There is one writer at a time on either database: SQLite's write lock, and an advisory lock
of the same meaning on PostgreSQL. So what a transaction has read stays true until it
commits, and rows numbered in order also appear in order: whoever reads ``id > last`` can
miss none. Writes here are a few small rows for each event of a model's life; requests and
labels go elsewhere.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Dialect,
    Engine,
    MetaData,
    TypeDecorator,
    create_engine,
    event,
    inspect,
    make_url,
)
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError

from renewal.core.clock import from_us, to_us
from renewal.core.errors import Corrupt, Invalid, Missing, NotFound, Unavailable
from renewal.core.plugin import load_plugin, plugin_names

metadata = MetaData()

HEAD = "0004"
"""The newest migration; equal to it, a database is opened without loading Alembic."""

_BUSY_TIMEOUT_S = 30
_MOUNTS = Path("/proc/mounts")
_WRITE_LOCK = 0x72656E6577616C  # "renewal", in PostgreSQL's space of advisory locks
# Locks and the WAL's shared memory do not work across hosts (https://sqlite.org/wal.html).
_NETWORK_FILE_SYSTEMS = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre"),
        *("nfs", "nfs4", "smb2", "smb3", "smbfs"),
        *("fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
    }
)


class UtcTime(TypeDecorator[datetime]):
    """An aware instant, stored as microseconds since 1970: exact and alike everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002  # SQLAlchemy's signature
        """Write an instant as a whole number."""
        return None if value is None else to_us(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # SQLAlchemy's signature
        """Read a whole number as an instant."""
        return None if value is None else from_us(value)


class Database:
    """The SQL database of a home.

    Parameters
    ----------
    url : str
        An SQLAlchemy URL: ``sqlite:////path/registry.db`` or ``postgresql://...``.

    Raises
    ------
    Invalid
        When the URL names neither SQLite nor PostgreSQL, an SQLite file lies on a network
        file system, where its locks do not hold, or a newer Renewal has written it.
    NotFound
        When the folder of an SQLite file does not exist.
    Missing
        When the driver of the URL is not installed.
    Unavailable
        When the server does not answer, or another process holds the write lock.
    Corrupt
        When an SQLite file is none.

    Notes
    -----
    Opening runs the migrations that are due, under the write lock: of several processes
    that open a fresh home, one makes the tables. Where none is due, opening costs two
    SELECTs. A transaction on a local disk takes about 1 ms, most of it the fsync.
    """

    def __init__(self, url: str) -> None:
        for name in plugin_names("tables"):
            load_plugin("tables", name)
        self.url = _with_driver(url)
        self._held = threading.local()
        try:
            self.engine = _engine(self.url)
        except ModuleNotFoundError as error:
            raise Missing(
                "Database",
                needs=f"the driver {error.name!r} for {url.partition(':')[0]}",
                came="none installed",
                todo="Install it: pip install 'renewal[postgres]'.",
            ) from error
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection whose writes are committed together or not at all.

        It holds the one write lock from its first moment to its end, so keep it short, and
        hand the connection on: a second transaction inside would wait for this one, and is
        refused as `Invalid`.
        """
        if getattr(self._held, "by_this_thread", False):
            raise Invalid(
                "Database.transaction",
                needs="no transaction of this thread to be open",
                came="one inside another, which would wait for it",
                todo="Hand on the connection of the outer one.",
            )
        self._held.by_this_thread = True
        try:
            with _when_busy(), self.engine.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")
                yield connection
        finally:
            self._held.by_this_thread = False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one consistent state and writes nothing."""
        options: dict[str, Any] = {"renewal_readonly": True}
        if self.engine.dialect.name == "postgresql":
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with _when_busy(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _migrate(self) -> None:
        with self.read() as connection:
            is_due = revision(connection) != HEAD
        if is_due:
            # By name, so that Alembic (0.1 s) is imported by whoever has to migrate only.
            migrate = import_module("renewal.registry.migrate")
            with self.transaction() as connection:
                if revision(connection) != HEAD:  # else another process was first
                    migrate.upgrade(connection)


def revision(connection: Connection) -> str | None:
    """Return the migration at which a database stands; None where it is fresh."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _with_driver(url: str) -> str:
    """Name our PostgreSQL driver where the URL leaves it open."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _not_a_url(url) from error
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise _not_a_url(parsed.drivername)
    return parsed.render_as_string(hide_password=False)


def _not_a_url(came: str) -> Invalid:
    # A malformed URL may hold a password: nothing between "//" and "@" is repeated.
    return Invalid(
        "Database",
        needs="a URL such as sqlite:////path/registry.db or postgresql://user@host/name",
        came=repr(re.sub(r"//.*@", "//***@", came)),
        todo="SQLite and PostgreSQL are the databases of a registry.",
    )


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(url, Path(parsed.database or ""))
    engine = create_engine(url, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _record: Any) -> None:
        with raw.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{_BUSY_TIMEOUT_S}s'")
        raw.commit()

    return engine


def _sqlite_engine(url: str, path: Path) -> Engine:
    if not path.parent.is_dir():
        raise NotFound(
            "Database",
            needs=f"the folder {path.parent}",
            came="no such folder",
            todo="Make it, or name another place.",
        )
    _refuse_network_file_system(path)
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _record: Any) -> None:
        # The driver's own implicit BEGIN is deferred; ours must be IMMEDIATE.
        raw.isolation_level = None
        _use_wal(raw)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        readonly = connection.get_execution_options().get("renewal_readonly", False)
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    return engine


def _use_wal(raw: Any) -> None:
    """Set the journal mode; SQLite does not wait for the lock by itself when changing it."""
    until_s = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until_s:
                raise
            time.sleep(0.005)
        else:
            return


def _refuse_network_file_system(path: Path) -> None:
    kind = _file_system(path.parent)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise Invalid(
            "Database",
            needs="a local disk for SQLite",
            came=f"{path} on a network file system ({kind})",
            todo="Put the home on a local disk, or use a postgresql:// URL.",
        )


def _file_system(folder: Path) -> str:
    """Name the file system that holds `folder`; empty where the machine does not say."""
    if not _MOUNTS.exists():
        return ""
    folder = folder.resolve()
    where, kind = "", ""
    for line in _MOUNTS.read_text(errors="surrogateescape").splitlines():
        _device, escaped, found, *_rest = line.split(" ")
        # Spaces and tabs of a mount point are written as octal escapes.
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), escaped)
        if folder.is_relative_to(point) and len(point) >= len(where):
            where, kind = point, found
    return kind


@contextmanager
def _when_busy() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        text = str(error.orig)
        if any(sign in text for sign in ("locked", "lock timeout", "connection", "shutting down")):
            raise Unavailable(
                "Database",
                needs="the database to answer",
                came=text,
                todo="Try again; if it lasts, see who holds the write lock.",
                retry_after_s=1.0,
            ) from error
        if any(sign in text for sign in ("disk is full", "disk I/O error", "No space left")):
            raise Unavailable(
                "Database",
                needs="to write to its disk",
                came=text,
                todo="Make room on it, or mend it, and try again: nothing is half written.",
            ) from error
        raise
    except DatabaseError as error:
        if isinstance(error.orig, sqlite3.DatabaseError) and "not a database" in str(error.orig):
            raise Corrupt(
                "Database",
                needs="an SQLite file",
                came=str(error.orig),
                todo="Restore the file from a backup, or name another place.",
            ) from error
        raise
