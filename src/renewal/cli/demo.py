"""The command ``renewal demo``: one real model kept up to date, end to end."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from renewal.cli.options import JsonOption
from renewal.cli.show import answer
from renewal.core.errors import Missing


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(demo)


def demo(
    home: Annotated[Path, typer.Option("--home", help="Made afresh.")] = Path(".renewal-demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="February to May, every second flight.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Keep a model of the flights of 2013 up to date: train, serve, notice, prove, swap.

    Needs the extra [demo]. Leaves its home in place: renewal status --home .renewal-demo.
    """
    try:
        run = import_module("renewal.cli.demo_run").run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("renewal"):
            raise
        raise Missing(
            "renewal demo",
            needs=f"the package {error.name!r}",
            came="none installed",
            todo="Install the extra: pip install 'renewal[demo]'.",
        ) from error
    answer(run(home, quick=quick, quiet=as_json), as_json=as_json)
