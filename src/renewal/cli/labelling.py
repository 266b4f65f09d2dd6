"""The command that asks for labels where they decide: ``label-request``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from renewal.cli.opening import open_existing
from renewal.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    ModelArgument,
    WhoOption,
)
from renewal.cli.show import answer
from renewal.core.errors import Invalid

if TYPE_CHECKING:
    from renewal.assemble.asking import LabelSheet

_WRITERS = {".csv": ("pyarrow.csv", "write_csv"), ".parquet": ("pyarrow.parquet", "write_table")}


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="label-request")(label_request)


def label_request(
    model: ModelArgument,
    candidate: Annotated[
        str | None, typer.Argument(help="A version; default: the newest beside the champion.")
    ] = None,
    labels: Annotated[
        int | None, typer.Option(help="How many you can afford; default: as many as needed.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The .csv or .parquet file to be filled in.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="accuracy or loss; default: by the policy's claims.")
    ] = None,
    gain: Annotated[
        float | None, typer.Option(help="Plan for this gain; default: the smallest worth it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    show_predictions: Annotated[
        bool, typer.Option("--show-predictions", help="Tell what the versions say, too.")
    ] = False,
    anew: Annotated[
        bool, typer.Option("--anew", help="Ask again although a request is open.")
    ] = False,
    who: WhoOption = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the rows whose labels tell a candidate from the champion, and no others.

    Fill in the target column and send the file back with renewal feedback; renewal gate
    then judges on it.
    """
    if out is not None and out.suffix not in _WRITERS:
        raise Invalid(
            "renewal label-request --out",
            needs=f"a file of type {' or '.join(_WRITERS)}",
            came=str(out),
            todo="Name one of these.",
        )
    with open_existing(home, database) as opened:
        sheet = opened.model(model).label_request(
            candidate, labels=labels, metric=metric, gain=gain, seed=seed, anew=anew, who=who or ""
        )
    written = out if len(sheet.asked.rows) else None
    if written is not None:
        _write(sheet.table(show_predictions=show_predictions), written)
    text = [*sheet.sentences, _next(sheet, written, model)]
    answer(_plain(sheet, written), as_json=as_json, text=text)


def _plain(sheet: LabelSheet, written: Path | None) -> dict[str, Any]:
    request, asked = sheet.request, sheet.asked
    return {
        "request": request.id,
        "candidate": sheet.versions[1],
        "champion": sheet.versions[0],
        "metric": request.metric,
        "n_frame": request.n_frame,
        "n_decisive": asked.n_decisive,
        "n_asked": request.n_asked,
        "n_came": asked.n_came,
        "plan": asked.plan,
        "out": None if written is None else str(written),
    }


def _next(sheet: LabelSheet, written: Path | None, model: str) -> str:
    if not len(sheet.asked.rows):
        return f"next: renewal gate {model} {sheet.versions[1]}"
    if written is None:
        return "next: write them to a file with --out"
    target = sheet.spec.target
    return f"next: fill in {target!r} in {written}, then renewal feedback {model} {written}"


def _write(table: Any, out: Path) -> None:
    module, function = _WRITERS[out.suffix]
    try:
        getattr(import_module(module), function)(table, out)
    except (OSError, ValueError, TypeError) as error:
        raise Invalid(
            "renewal label-request --out",
            needs=f"a place and columns that a {out.suffix} file can hold",
            came=str(error),
            todo="Name another place; columns of lists or bytes need Parquet.",
        ) from error
