"""The options that several commands share, written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="RENEWAL_HOME", help="The folder of the home.")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database", envvar="RENEWAL_DATABASE", help="URL of the registry; default: SQLite."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ModelArgument = Annotated[str, typer.Argument(help="Name of the model.")]
WhoOption = Annotated[
    str | None, typer.Option("--who", envvar="USER", help="Who does it; goes into the log.")
]
WhyOption = Annotated[str, typer.Option("--why", help="Why; goes into the log.")]

DEFAULT_HOME = Path(".renewal")
