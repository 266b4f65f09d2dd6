"""Where a home keeps what: folders and the database, as plain values that travel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """Where a home keeps what; whoever has it can open the same rooms in another process.

    Parameters
    ----------
    root : str
        Absolute path of the home's folder.
    database : str
        URL of the registry's database.

    Examples
    --------
    >>> Place("/srv/renewal", "sqlite:////srv/renewal/registry.db").feed("flights").name
    'flights'
    """

    root: str
    database: str

    @property
    def objects(self) -> Path:
        """The folder of the store."""
        return Path(self.root) / "objects"

    def feed(self, model: str) -> Path:
        """Return the folder of a model's feed."""
        return Path(self.root) / "feeds" / model

    def segments(self, model: str) -> Path:
        """Return the folder into which servers write a model's log segments."""
        return Path(self.root) / "log" / model

    def scratch(self, run: str) -> Path:
        """Return the folder in which the work of an update keeps what a kill must not lose."""
        return Path(self.root) / "work" / run
