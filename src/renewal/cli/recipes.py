"""The command for models of few rows: ``compare-recipes``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from renewal.cli.evaluating import working
from renewal.cli.opening import open_existing
from renewal.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    ModelArgument,
)
from renewal.cli.show import answer


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="compare-recipes")(compare_recipes)


def compare_recipes(
    model: ModelArgument,
    candidate: Annotated[str, typer.Argument(help="A version, such as v3.")],
    baseline: Annotated[str, typer.Argument(help="The other.")] = "champion",
    folds: Annotated[int, typer.Option(help="Parts that the rows are cut into.")] = 10,
    repeats: Annotated[int, typer.Option(help="How often they are cut anew, 1 to 10.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the cuts and the fits.")] = 0,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare how two versions were fitted, where rows are too few to judge the versions.

    Copies of both learn from parts of all labeled rows and are scored on the rest. It is
    weaker evidence than a verdict, and it accepts nothing.
    """
    with open_existing(home, database) as opened, working(as_json=as_json) as step:
        step("fitting both recipes")
        found = opened.model(model).compare_recipes(
            candidate, baseline, folds=folds, repeats=repeats, seed=seed
        )
    answer({**asdict(found), "sentence": found.sentence}, as_json=as_json, text=[found.sentence])
