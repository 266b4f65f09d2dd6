"""Commands around a proof: ``plan`` it before anything is trained, ``replay`` it afterwards."""

from __future__ import annotations

from typing import Annotated

import typer

from renewal.cli.opening import open_existing
from renewal.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    ModelArgument,
)
from renewal.cli.show import answer, table


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(plan)
    app.command()(replay)


def plan(
    model: ModelArgument,
    gain: Annotated[
        float | None, typer.Option(help="True gain to be found; default: the smallest worth it.")
    ] = None,
    disagreement: Annotated[
        float | None,
        typer.Option(help="Share of rows on which just one version will be right: for accuracy."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many rows and labels a proof takes, and what the life of the model has left."""
    with open_existing(home, database) as opened:
        found = opened.model(model)
        needed = found.evidence_needed(gain, disagreement=disagreement)
        budget = found.status()["budget"]
    spent = table(
        ["claim", "candidates", "accepted", "looks", "rows used", "next level"],
        [
            (
                budget.claim,
                budget.n_tested,
                budget.n_accepted,
                budget.n_looks,
                f"{budget.n_rows_used:,}",
                f"{budget.next_level:.2g}",
            )
        ],
    )
    answer({"needed": needed, "budget": budget}, as_json=as_json, text=[str(needed), spent])


def replay(
    model: ModelArgument,
    verdict: Annotated[str, typer.Argument(help="Id of a verdict, from renewal log --json.")],
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge again what a verdict judged; exit with 5 when a number differs."""
    with open_existing(home, database) as opened:
        found = opened.model(model).replay(verdict)
    same = "the same numbers" if not found.differs else f"differs in {', '.join(found.differs)}"
    text = [
        f"then: {found.stored.outcome}: {found.stored.reason}",
        f"now:  {found.again.outcome}: {found.again.reason}",
        same,
    ]
    answer(found, as_json=as_json, text=text)
    if found.differs:
        raise typer.Exit(5)
