"""Commands that bring labels and show what came of them: ``feedback``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from renewal.cli.opening import open_existing, read_data
from renewal.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    ModelArgument,
)
from renewal.cli.show import answer
from renewal.core.errors import Invalid


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(feedback)


def feedback(
    model: ModelArgument,
    file: Annotated[
        Path | None,
        typer.Argument(help="A file with prediction_id or the key column, and label."),
    ] = None,
    prediction_id: Annotated[str | None, typer.Option(help="One prediction.")] = None,
    key: Annotated[str | None, typer.Option(help="Or one row, by its key.")] = None,
    label: Annotated[str | None, typer.Option(help="Its label, as JSON or text.")] = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell a model what was true: a file of labels, or one label."""
    with open_existing(home, database) as opened:
        found = opened.model(model)
        if file is not None:
            labelled = found.label(read_data(file))
        elif label is not None and (prediction_id is None) != (key is None):
            name, value = ("prediction_id", prediction_id) if key is None else ("key", key)
            labelled = found.label_one(name, str(value), label)
        else:
            raise Invalid(
                "renewal feedback",
                needs="a file, or --label with either --prediction-id or --key",
                came="neither",
                todo="Name what was true of which row.",
            )
    value_out = {"n_labels": labelled.n_labels, "n_waiting": labelled.n_waiting}
    answer(
        value_out,
        as_json=as_json,
        text=[f"{labelled.n_labels:,} labels, {labelled.n_waiting:,} waiting for their row"],
    )
