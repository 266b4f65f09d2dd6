"""Running the migrations that are due; loaded only when one is, as Alembic takes 0.1 s."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from renewal.core.errors import Invalid

_FOLDER = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> None:
    """Bring a database to the newest migration, in the caller's transaction.

    Parameters
    ----------
    connection : Connection
        In a transaction of `Database`, so that no two processes migrate at once and a
        migration that fails leaves nothing behind.

    Raises
    ------
    Invalid
        When the database stands at a migration that this library does not know.

    Notes
    -----
    About 15 ms for the first schema on SQLite, after the import of Alembic.
    """
    config = configured()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise Invalid(
            "Database",
            needs=f"a schema up to {newest()}",
            came=f"one that a newer version of renewal wrote ({error})",
            todo="Upgrade renewal: pip install -U renewal.",
        ) from error


def newest() -> str:
    """Return the id of the newest migration in the folder."""
    return str(ScriptDirectory.from_config(configured()).get_current_head())


def configured() -> Config:
    """Return Alembic's configuration of this package; there is no alembic.ini."""
    config = Config()
    # Config interpolates "%", which a path may hold.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
