"""The scratch server is real, empty, and gone afterwards."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from renewal.core.errors import Missing, Unavailable
from renewal.registry.db import Database
from renewal.testing import postgres


def test_it_starts_serves_and_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks when a server or its folder outlives the test that asked for it."""
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    home = Path("/tmp") / f"renewal-test-{os.getpid()}"  # noqa: S108  # nobody may enter it
    home.mkdir()
    home.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    try:
        with postgres.scratch_postgres() as url:
            assert list(home.iterdir())
            one = postgres.new_database(url)
            db = Database(one)
            with db.transaction() as connection:
                connection.exec_driver_sql(
                    "INSERT INTO events (at, model, kind, who, why, details)"
                    " VALUES (0, 'm', 'k', '', '', '{}')"
                )
            db.close()
            copy = postgres.new_database(url, template=one)
            postgres.empty_tables(one)
            assert (count(one), count(copy)) == (0, 1)
            engine = create_engine(url)
            assert make_url(url).host == "127.0.0.1"
            engine.dispose()
        assert list(home.iterdir()) == []
        with pytest.raises(Unavailable):
            Database(one)
    except Missing as error:
        pytest.skip(str(error))
    finally:
        home.rmdir()


def count(url: str) -> int:
    db = Database(url)
    with db.read() as connection:
        n = connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one()
    db.close()
    return int(n)


def test_without_initdb_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(postgres, "_PLACES", ())
    with pytest.raises(Missing, match="package postgresql"), postgres.scratch_postgres():
        pass


def test_a_server_that_cannot_start_shows_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks when the reason of a failure is left in a folder that is removed."""
    monkeypatch.setattr(postgres, "_SETTINGS", "-c nonsense=off")
    try:
        with pytest.raises(Unavailable, match="nonsense"), postgres.scratch_postgres():
            pass
    except Missing as error:
        pytest.skip(str(error))
