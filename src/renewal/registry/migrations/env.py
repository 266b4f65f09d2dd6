"""Alembic's entry: runs the migrations on the connection that `registry.migrate` hands in.

A new migration is written by hand, as DDL that will never change again: it must not
import a room's tables, which go on changing. A test compares the result with them.
"""

from __future__ import annotations

from alembic import context
from alembic.config import Config

from renewal.registry.db import metadata


def run(config: Config) -> None:
    """Run what is due, in the transaction of the connection's owner."""
    context.configure(
        connection=config.attributes["connection"],
        target_metadata=metadata,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


# Alembic sets `config` while it runs this file; read by anybody else, it does nothing.
if getattr(context, "config", None) is not None:
    run(context.config)
