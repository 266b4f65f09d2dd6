"""The one owner of the SQL database: engine, transactions, migrations.

SQLite by default (WAL, BEGIN IMMEDIATE, synchronous FULL), PostgreSQL by URL, one code
path. Rooms that keep state define their Table objects on `metadata` and register the
module under the plug-in kind ``tables``; nothing here imports them by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    BigInteger,
    Connection,
    Dialect,
    Engine,
    MetaData,
    TypeDecorator,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import OperationalError

from renewal.core.clock import from_us, to_us
from renewal.core.errors import Invalid, Missing, Unavailable
from renewal.core.plugin import load_plugin, plugin_names

metadata = MetaData()

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_S = 30
# Locks and the WAL's shared memory do not work across hosts (https://sqlite.org/wal.html).
_NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs"}
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
        When an SQLite file lies on a network file system, where its locks do not hold.
    Missing
        When the driver of the URL is not installed.

    Notes
    -----
    Opening runs the migrations that are due. Every write goes through `transaction`, which
    takes the write lock at once, so that what was read in it cannot change before commit.
    """

    def __init__(self, url: str) -> None:
        for name in plugin_names("tables"):
            load_plugin("tables", name)
        self.url = _with_driver(url)
        try:
            self.engine = _engine(self.url)
        except ModuleNotFoundError as error:
            raise Missing(
                "Database",
                needs=f"the driver {error.name!r} for {url.partition(':')[0]}",
                came="none installed",
                todo="Install it: pip install 'renewal[postgres]'.",
            ) from error
        self._migrate()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection whose writes are committed together or not at all."""
        with _when_busy(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection that sees one consistent state and writes nothing."""
        with (
            _when_busy(),
            self.engine.connect().execution_options(renewal_readonly=True) as connection,
        ):
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        with _when_busy(), self.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _with_driver(url: str) -> str:
    """Name our PostgreSQL driver where the URL leaves it open."""
    parsed = make_url(url)
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed.render_as_string(hide_password=False)


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if not parsed.drivername.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    _refuse_network_file_system(Path(parsed.database or ""))
    engine = create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(raw: Any, _record: Any) -> None:
        # The driver's own implicit BEGIN is deferred; ours must be IMMEDIATE.
        raw.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        readonly = connection.get_execution_options().get("renewal_readonly", False)
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    return engine


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
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    where, kind = "", ""
    for line in mounts.read_text().splitlines():
        _device, point, found, *_rest = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(where):
            where, kind = point, found
    return kind


@contextmanager
def _when_busy() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        text = str(error.orig)
        if "locked" in text or "connection" in text.lower():
            raise Unavailable(
                "Database",
                needs="the database to answer",
                came=text,
                todo="Try again; if it lasts, see who holds the write lock.",
                retry_after_s=1.0,
            ) from error
        raise
