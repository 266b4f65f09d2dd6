"""The command ``compile``: which form of a version serves it, and what showed that."""

from __future__ import annotations

import math
from typing import Annotated, Any

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
    """Add the command to the application."""
    app.command("compile")(compile_model)


def compile_model(
    model: ModelArgument,
    version: Annotated[
        str, typer.Argument(help="A version or an alias; default: the champion.")
    ] = "champion",
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Convert a version to ONNX, compare and time both forms, and record the better one."""
    with open_existing(home, database) as opened:
        found = opened.model(model).compile(version)
    probes = table(
        ["rows", "compared", "labels differ", "moved", "largest", ""],
        [
            (
                each.name,
                f"{each.n_rows:,}",
                each.n_labels_differ,
                each.n_moved,
                f"{each.largest:.1e}",
                each.failure or each.note,
            )
            for each in found.probes
        ],
    )
    text: list[Any] = [f"{model} is served {found.form}: {found.reason}"]
    text += [probes] if found.probes else []
    if math.isfinite(found.native_ms[0]):
        times = zip(("1", "64"), found.native_ms, found.compiled_ms, strict=True)
        text.append(
            table(
                ["rows a call", "native ms", "compiled ms"],
                [(rows, f"{ours:.3f}", f"{theirs:.3f}") for rows, ours, theirs in times],
            )
        )
    answer(found, as_json=as_json, text=text)
