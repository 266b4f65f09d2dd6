"""A real PostgreSQL for tests: a scratch cluster that is gone when the test ends."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import create_engine, inspect, make_url

from renewal.core.errors import Missing, Unavailable

_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
)
# Data are thrown away: nothing needs to survive a power cut.
_SETTINGS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=50"
_TIMEOUT_S = 60
_N_PORTS = 5


@contextmanager
def scratch_postgres() -> Iterator[str]:
    """Start a PostgreSQL server on a free port of this machine and stop it at the end.

    Everybody on the machine may log in without a password (``trust``), it listens on
    127.0.0.1 only, and its data lie in a temporary folder that is removed. Since the
    server refuses to run as root, root runs it as ``nobody``.

    Yields
    ------
    str
        URL of an empty database, for `Database` or any SQLAlchemy engine.

    Raises
    ------
    Missing
        When PostgreSQL's ``initdb`` is neither on the PATH nor in one of the usual places.
    Unavailable
        When the server does not start; the error ends with the server's log.

    Notes
    -----
    1 to 3 s to start, 50 MB of disk. Start it once a session; for each test take a
    `new_database` (0.3 s), or one migrated database with `empty_tables` (0.03 s).

    Examples
    --------
    A session-wide fixture for pytest::

        @pytest.fixture(scope="session")
        def postgres() -> Iterator[str]:
            with scratch_postgres() as url:
                yield url
    """
    programs = _programs()
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="renewal-pg-"))
    try:
        if owner is not None:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        data = folder / "data"
        options = "-U renewal -A trust -E UTF8 --locale=C --no-sync"
        _run([f"{programs}/initdb", "-D", f"{data}", *options.split()], owner, folder)
        port = _start(programs, data, owner, folder)
        try:
            yield f"postgresql+psycopg://renewal@127.0.0.1:{port}/postgres"
        finally:
            stop = ["stop", "-D", f"{data}", "-m", "immediate"]
            _run([f"{programs}/pg_ctl", *stop], owner, folder)
    finally:
        shutil.rmtree(folder)


def new_database(url: str, *, template: str | None = None) -> str:
    """Make a further, empty database beside the one of `url` and return its URL.

    Parameters
    ----------
    url : str
        What `scratch_postgres` yielded.
    template : str or None
        URL of a database to copy, to which nobody is connected; None: empty.

    Returns
    -------
    str
        URL of the new database.
    """
    name = f"renewal_{secrets.token_hex(6)}"
    copied = "" if template is None else f' TEMPLATE "{make_url(template).database}"'
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}"{copied}')
    finally:
        engine.dispose()
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def empty_tables(url: str) -> None:
    """Delete the rows of every table of a home and begin its numbers at 1 again.

    Append-only tables are emptied too: only the superuser of a scratch cluster may do so.

    Parameters
    ----------
    url : str
        Of a migrated database in a cluster of `scratch_postgres`; nobody is using it.
    """
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            # Triggers do not fire for a replica: the ones that refuse to forget.
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
            tables = set(inspect(connection).get_table_names()) - {"alembic_version"}
            names = ", ".join(f'"{table}"' for table in sorted(tables))
            connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
    finally:
        engine.dispose()


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs; the newest where there are several."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    root = Path("/")
    folders = sorted(folder for place in _PLACES for folder in root.glob(place[1:]))
    for folder in reversed(folders):
        if (folder / "initdb").exists():
            return folder
    raise Missing(
        "scratch_postgres",
        needs="PostgreSQL's initdb",
        came=f"none on the PATH and none in {', '.join(_PLACES)}",
        todo="Install the server, such as the package postgresql.",
    )


def _owner() -> pwd.struct_passwd | None:
    """Return whom to run the server as: None for ourselves."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _start(programs: Path, data: Path, owner: pwd.struct_passwd | None, folder: Path) -> int:
    """Start the server and return its port; another port when somebody took it meanwhile."""
    for attempt in range(1, _N_PORTS + 1):
        port = _free_port()
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} {_SETTINGS}"
        log = folder / f"log-{attempt}"
        start = ["start", "-w", "-D", f"{data}", "-l", f"{log}", "-o", options]
        try:
            _run([f"{programs}/pg_ctl", *start], owner, folder)
        except Unavailable:
            if attempt == _N_PORTS or "Address already in use" not in _tail(log):
                raise
        else:
            return port
    raise AssertionError("the loop returns or raises")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: list[str], owner: pwd.struct_passwd | None, folder: Path) -> None:
    """Run one of PostgreSQL's programs; its output goes to a file, as a server inherits it."""
    output = folder / "output"
    with output.open("ab") as file:
        done = subprocess.run(  # noqa: S603  # the programs of the PostgreSQL that was found
            command,
            check=False,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            user=None if owner is None else owner.pw_uid,
            group=None if owner is None else owner.pw_gid,
            extra_groups=None if owner is None else [],
        )
    if done.returncode != 0:
        logs = [_tail(path) for path in sorted(folder.glob("log-*"))]
        raise Unavailable(
            "scratch_postgres",
            needs=f"{Path(command[0]).name} to succeed",
            came="\n".join([_tail(output), *logs]),
            todo="See the log above; TMPDIR must be a folder that the server's user may enter.",
        )


def _tail(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text(errors="replace")[-2000:]
    return ""
