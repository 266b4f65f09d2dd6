"""The migrations make exactly the tables that the rooms declare, on both databases."""

from __future__ import annotations

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from renewal.core.plugin import plugin_names
from renewal.registry import migrate
from renewal.registry.db import HEAD, Database, metadata, revision


def test_migrations_and_tables_agree(db: Database) -> None:
    """Breaks when a room changes its tables and nobody writes the migration."""
    with db.read() as connection:
        options = {"compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_every_room_has_contributed() -> None:
    """Breaks when the comparison above passes because tables were never loaded."""
    assert set(plugin_names("tables")) >= {"registry", "data", "gate", "monitor", "rollout", "loop"}
    assert {"versions", "snapshot_leases", "gate_looks", "alarms", "rollouts", "steps"} <= set(
        metadata.tables
    )


def test_a_change_of_a_table_would_be_noticed(fresh_url: str) -> None:
    """Breaks when the comparison is blind: a dropped column must show."""
    db = Database(fresh_url)
    with db.transaction() as connection:
        connection.exec_driver_sql("ALTER TABLE leases DROP COLUMN fence")
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert [change[0] for change in compare_metadata(context, metadata)] == ["add_column"]
    db.close()


def test_head_is_the_newest_migration() -> None:
    """Breaks when a migration is added and HEAD is not moved: it would never run."""
    assert migrate.newest() == HEAD


def test_down_and_up_again(fresh_url: str) -> None:
    """Breaks when the way back leaves a table, a trigger or a function behind."""
    db = Database(fresh_url)
    with db.transaction() as connection:
        config = migrate.configured()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
        migrate.upgrade(connection)
        assert revision(connection) == HEAD
    db.close()


def test_an_upgrade_that_is_not_due_does_nothing(db: Database) -> None:
    with db.transaction() as connection:
        migrate.upgrade(connection)
        assert revision(connection) == HEAD
