"""Commands that only read: ``status``, ``log``."""

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
    app.command()(status)
    app.command()(log)


def status(
    model: Annotated[str | None, typer.Argument(help="One model; default: all.")] = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is live, how fresh it is, what is under way and what is wrong."""
    with open_existing(home, database) as opened:
        found = opened.models() if model is None else (opened.model(model),)
        states = [each.status() for each in found]
    drawn = table(
        ["model", "champion", "trained until", "stage", "labels", "alarms", "newest event"],
        [
            (
                each["model"],
                each["champion"],
                str(each["trained_until"] or "unknown")[:10],
                each["stage"],
                f"{each['n_labels']:,}",
                len(each["alarms"]),
                str(each["newest_event_at"] or "")[:16],
            )
            for each in states
        ],
    )
    notes = [f"  {each['model']}: {line}" for each in states for line in each["notes"]]
    empty = "no models yet: renewal train MODEL --help"
    answer(states, as_json=as_json, text=[drawn, *notes] if states else [empty])


def log(
    model: ModelArgument,
    limit: Annotated[int, typer.Option(help="The newest so many.")] = 50,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what happened to a model: when, who, what and why. Newest last."""
    with open_existing(home, database) as opened:
        events = opened.model(model).log(limit)
    answer(
        events,
        as_json=as_json,
        text=[
            table(
                ["at", "kind", "who", "why"],
                [(each.at, each.kind, each.who, each.why) for each in events],
            )
        ],
    )
