"""How answers and errors are printed: for people at 80 columns, or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from renewal.core.duration import format_duration
from renewal.core.errors import (
    Conflict,
    Corrupt,
    Failed,
    Invalid,
    Missing,
    NotFound,
    Refused,
    RenewalError,
    Unavailable,
)

EXIT_CODES: Mapping[type[RenewalError], int] = {
    Invalid: 2,
    NotFound: 3,
    Conflict: 4,
    Refused: 5,
    Corrupt: 6,
    Unavailable: 7,
    Missing: 8,
    Failed: 9,
}
"""The exit code of each family of errors; 1 is an error that is ours to mend."""

_WIDTH_OF_A_PIPE = 100


def console() -> Console:
    """Return a console on standard output; plain text of a fixed width in a pipe."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE, soft_wrap=False)


def answer(value: Any, *, as_json: bool, text: Iterable[Any] = ()) -> None:
    """Print a command's answer.

    Parameters
    ----------
    value : object
        The answer for programs: JSON values, dataclasses, instants and durations.
    as_json : bool
        Print `value` as one JSON document instead of `text`.
    text : iterable
        Lines and rich tables for people.
    """
    if as_json:
        sys.stdout.write(json.dumps(value, default=_plain, allow_nan=True) + "\n")
        return
    out = console()
    for each in text:
        out.print(each, highlight=False)


def failure(error: RenewalError, *, as_json: bool) -> int:
    """Print an error to standard error and return its exit code."""
    kind = type(error).__name__
    if as_json:
        body = {"error": {"kind": kind, "message": str(error), **error.fields}}
        sys.stderr.write(json.dumps(body, default=_plain) + "\n")
    else:
        Console(stderr=True).print(f"[bold red]{kind}[/]: ", end="")
        sys.stderr.write(f"{error}\n")
    return next(code for family, code in EXIT_CODES.items() if isinstance(error, family))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Table:
    """Return a table that reads well at 80 columns; numbers stand to the right."""
    drawn = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    data = [[_cell(value) for value in row] for row in rows]
    for at, name in enumerate(columns):
        numeric = bool(data) and all(_is_number(row[at]) for row in data)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in data:
        drawn.add_row(*row)
    return drawn


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else str(value)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "").lstrip("+-").isdigit() or text in {"", "nan"}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return format_duration(value)
    if hasattr(value, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
