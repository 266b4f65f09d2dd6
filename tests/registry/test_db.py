"""The one owner of the database: transactions, consistent reads, and where it refuses."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import DBAPIError

from renewal.core.clock import SystemClock
from renewal.core.errors import Corrupt, Invalid, NotFound, Unavailable
from renewal.core.spec import ModelSpec
from renewal.registry import db as module
from renewal.registry.db import HEAD, Database, revision
from renewal.registry.registry import Registry
from renewal.registry.tables import leases

OPENER = Path(__file__).with_name("open_home.py")


def add_lease(connection: Connection, name: str) -> None:
    values = {"holder": "x", "fence": 1, "expires_at": SystemClock().now()}
    connection.execute(insert(leases).values(resource=name, **values))


def n_leases(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(leases)).scalar_one())


def test_a_transaction_that_fails_leaves_nothing(db: Database) -> None:
    def fail() -> None:
        with db.transaction() as connection:
            add_lease(connection, "a")
            raise KeyError("half way")

    with pytest.raises(KeyError):
        fail()
    with db.read() as connection:
        assert n_leases(connection) == 0
    with db.transaction() as connection:  # and the lock is free again
        add_lease(connection, "a")


def test_a_full_disk_is_unavailable_and_leaves_nothing(migrated: Path) -> None:
    """Breaks when a user sees SQLAlchemy's own error where only room is missing."""
    db = Database(f"sqlite:///{migrated}")

    def fill() -> None:
        with db.transaction() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            for at in range(10_000):
                add_lease(connection, f"{at:0>1000}")

    try:
        with pytest.raises(Unavailable, match="Make room"):
            fill()
        with db.read() as connection:
            assert n_leases(connection) == 0
    finally:
        db.close()


def test_a_read_sees_one_state(db: Database) -> None:
    """Breaks when two SELECTs of one read see a commit that came between them."""
    with db.read() as reading:
        before = n_leases(reading)
        with db.transaction() as connection:
            add_lease(connection, "a")
        assert n_leases(reading) == before
    with db.read() as reading:
        assert n_leases(reading) == before + 1


def test_a_read_writes_nothing(db: Database) -> None:
    """Breaks when a read commits; PostgreSQL refuses the statement, SQLite forgets it."""
    is_refused = db.engine.dialect.name == "postgresql"
    expected = pytest.raises(DBAPIError, match="read-only") if is_refused else nullcontext()
    with expected, db.read() as connection:
        add_lease(connection, "a")
    with db.read() as connection:
        assert n_leases(connection) == 0


def test_there_is_one_writer_at_a_time(db: Database) -> None:
    """Breaks when two transactions read the same state and both act on it (a lost update)."""

    def count_up() -> None:
        for _ in range(20):
            with db.transaction() as connection:
                fence = connection.execute(select(leases.c.fence)).scalar_one()
                time.sleep(0.0005)
                connection.execute(leases.update().values(fence=fence + 1))

    with db.transaction() as connection:
        add_lease(connection, "counter")
    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with db.read() as connection:
        assert connection.execute(select(leases.c.fence)).scalar_one() == 81


def test_a_transaction_inside_another_is_refused_at_once(db: Database) -> None:
    """Breaks when it waits half a minute for its own caller instead."""
    registry = Registry(db, SystemClock())
    with db.transaction(), pytest.raises(Invalid, match="connection of the outer one"):
        registry.create_model(ModelSpec("m", "binary", "y"))
    registry.create_model(ModelSpec("m", "binary", "y"))


def test_a_held_write_lock_is_unavailable_in_time(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a waiting writer hangs for ever or gets the driver's own error."""
    monkeypatch.setattr(module, "_BUSY_TIMEOUT_S", 1)
    holder, waiter = Database(url), Database(url)
    try:
        with (
            holder.transaction(),
            pytest.raises(Unavailable, match="write lock") as caught,
            waiter.transaction(),
        ):
            pass
        assert caught.value.fields["retry_after_s"] > 0
    finally:
        holder.close()
        waiter.close()


def test_sqlite_is_set_to_lose_nothing(migrated: Path) -> None:
    """Breaks when a commit could be lost in a power cut or a foreign key dangle."""
    db = Database(f"sqlite:///{migrated}")
    with db.read() as connection:

        def pragma(name: str) -> object:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

        assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == (
            "wal",
            2,
            1,
        )
    db.close()


def test_processes_that_open_a_fresh_home_at_once_all_succeed(
    fresh_url: str, tmp_path: Path
) -> None:
    """Breaks when two of them migrate at once, or one meets the other's lock."""
    children = [
        subprocess.Popen(
            [sys.executable, OPENER, fresh_url, tmp_path / "go"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    (tmp_path / "go").touch()
    told = [child.communicate(timeout=60)[0].strip() for child in children]
    assert told == [HEAD] * 3
    assert [child.returncode for child in children] == [0] * 3


def test_opening_a_home_that_is_up_to_date_loads_no_alembic(migrated: Path) -> None:
    """Breaks when every command pays Alembic's import."""
    code = (
        "import sys; from renewal.registry.db import Database; "
        "Database(sys.argv[1]).close(); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{migrated}"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "False"


def test_a_home_of_a_newer_library_is_refused(fresh_url: str) -> None:
    """Breaks when an old library writes into a schema that it does not know."""
    db = Database(fresh_url)
    with db.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    db.close()
    with pytest.raises(Invalid, match="Upgrade renewal"):
        Database(fresh_url)


def test_revision_of_a_fresh_database_is_none(fresh_url: str) -> None:
    engine = module._engine(module._with_driver(fresh_url))
    with engine.connect() as connection:
        assert revision(connection) is None
    engine.dispose()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_sqlite_on_a_network_disk_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_file_system", lambda _folder: kind)
    with pytest.raises(Invalid, match=f"network file system \\({kind}\\)"):
        Database(f"sqlite:///{tmp_path / 'registry.db'}")
    assert not (tmp_path / "registry.db").exists()


def test_the_longest_mount_point_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks when `/` answers for a folder on a share, or `/a` for `/ab`."""
    inner = tmp_path / "with space" / "home"
    inner.mkdir(parents=True)
    escaped = str(tmp_path / "with space").replace(" ", "\\040")
    table = tmp_path / "mounts"
    table.write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        f"server:/x {escaped} nfs4 rw 0 0\n"
        f"server:/y {escaped}/hom cifs rw 0 0\n"
    )
    monkeypatch.setattr(module, "_MOUNTS", table)
    assert module._file_system(inner) == "nfs4"
    assert module._file_system(tmp_path) == "ext4"


def test_where_there_is_no_mount_table_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOUNTS", tmp_path / "none")
    assert module._file_system(tmp_path) == ""


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        Database(f"sqlite:///{tmp_path / 'nowhere' / 'registry.db'}")


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt, match="not a database"):
        Database(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["", "registry.db", "mysql://host/name", "nonsense://x"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(Invalid, match="postgresql://"):
        Database(url)


def test_an_error_repeats_no_password() -> None:
    with pytest.raises(Invalid) as caught:
        Database("post gres://ada:secret@host:port/x")
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="connection"):
        Database("postgresql://nobody@127.0.0.1:1/x")
