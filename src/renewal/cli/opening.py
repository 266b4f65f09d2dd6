"""Opening a home and reading what the user names: the CLI's only way to the rooms below.

The rooms are imported when the first command needs them, so that ``renewal --help`` does
not wait for scikit-learn.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from renewal.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from renewal.assemble.home import Home


def open_existing(home: Path, database: str | None = None) -> Home:
    """Open a home that exists; `NotFound` says how to make one."""
    opened: Home = import_module("renewal.assemble.home").open_home(
        home, database=database, create=False
    )
    return opened


def open_new(home: Path, database: str | None = None) -> Home:
    """Open a home, making it where needed."""
    opened: Home = import_module("renewal.assemble.home").open_home(home, database=database)
    return opened


def read_data(path: Path) -> Any:
    """Read a Parquet, CSV or JSON-lines file as a table.

    Raises
    ------
    NotFound
        When there is no such file.
    Invalid
        When it is none of these, or cannot be read.
    """
    if not path.exists():
        raise NotFound("renewal", needs="a data file", came=str(path), todo="Check the path.")
    readers = {
        ".parquet": ("pyarrow.parquet", "read_table"),
        ".csv": ("pyarrow.csv", "read_csv"),
        ".jsonl": ("pyarrow.json", "read_json"),
        ".ndjson": ("pyarrow.json", "read_json"),
    }
    if path.suffix not in readers:
        raise Invalid(
            "renewal",
            needs=f"a file of type {', '.join(readers)}",
            came=str(path),
            todo="Convert it, or use the Python face, which takes any frame.",
        )
    module, function = readers[path.suffix]
    try:
        return getattr(import_module(module), function)(path)
    except (OSError, ValueError) as error:
        raise Invalid(
            "renewal",
            needs=f"a readable {path.suffix} file",
            came=f"{path}: {error}",
            todo="Write the file again.",
        ) from error


def read_estimator(path: str) -> Any:
    """Import an estimator, or call the factory that makes one, by ``module:name``.

    Raises
    ------
    Invalid
        When the path is not of that form, or names nothing.
    """
    module, colon, name = path.partition(":")
    if not colon:
        raise Invalid(
            "renewal train",
            needs="an estimator as module:name",
            came=repr(path),
            todo="Write, for example, --estimator mymodel:pipeline.",
        )
    sys.path.insert(0, "")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Invalid(
            "renewal train",
            needs=f"something named {name!r} in the module {module!r}",
            came=str(error),
            todo="Check the path; the current folder is searched first.",
        ) from error
    is_factory = isinstance(found, type) or (callable(found) and not hasattr(found, "fit"))
    return found() if is_factory else found
