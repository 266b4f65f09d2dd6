"""What a fit will take, as far as earlier fits say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

from renewal.core.option_text import plain_options
from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.update.contract import Parent
from renewal.update.eligible import not_yet_fitted
from renewal.update.recipe import Recipe, parse_recipe

_LAST = 3
# Options that say which rows are fitted, and how much each counts: a row costs the same.
_OF_ROWS = frozenset(
    {"window", "min_rows", "half_life", "balance", "replay", "replay_weight", "max_size"}
)
# Options that ask for further fits, whose number the rows do not tell.
_OF_FITS = frozenset({"trials", "space", "calibrate"})


def expected_s(label: str, n_rows: int, versions: Sequence[Version]) -> float | None:
    """Return how long a recipe's fit on so many rows will take; None where nobody knows.

    The seconds a row of the last three versions that the recipe made, by their median, times
    the rows; where it has made none, of those that a recipe made which differs in its rows
    alone, such as another window, and makes one fit. A fit is taken to grow with its rows: trees
    grow a little faster, k-NN does not grow at all.

    Parameters
    ----------
    label : str
        Of the recipe.
    n_rows : int
        To be fitted.
    versions : sequence of Version
        Of the model, in the order of their numbers.

    Notes
    -----
    A model that was trained here and never updated tells of ``retrain`` by its first fit.
    """
    known = [each for each in versions if each.facts.get("fit_s") and each.manifest.n_trained_rows]
    like = [each for each in known if _made_by(each) == label]
    if not like:
        recipe = parse_recipe(label)
        fit = _one_fit(recipe.strategy, plain_options(recipe.options))
        like = [each for each in known if fit is not None and _fit_of(each) == fit]
    paces = [float(each.facts["fit_s"]) / each.manifest.n_trained_rows for each in like]
    return median(paces[-_LAST:]) * n_rows if paces else None


def rows_used(recipe: Recipe, parent: Parent, rows: Rows) -> int:
    """Return how many of the rows that may be fitted a recipe would use.

    Parameters
    ----------
    recipe : Recipe
        With its options: a ``window`` counts from the newest row.
    parent : Parent
        A strategy that keeps it learns the rows that are new to it, and replays some others;
        one with a method `usable` says itself which those are.
    rows : Rows
        That may be fitted; those without a label are passed over.
    """
    rows = rows.labelled()
    window = getattr(recipe.options, "window", None)
    if isinstance(window, timedelta) and len(rows):
        since_us = int(rows.event_us.max()) - window // timedelta(microseconds=1)
        return int((rows.event_us > since_us).sum())
    strategy = load_plugin("strategies", recipe.strategy)
    if not strategy.keeps_parent:
        return len(rows)
    if hasattr(strategy, "usable"):
        return len(strategy().usable(parent, rows))
    n_new = int(not_yet_fitted(parent, rows).sum())
    n_replayed = round(getattr(recipe.options, "replay", 0.0) * n_new)
    return n_new + min(n_replayed, len(rows) - n_new)


def _made_by(version: Version) -> str:
    recipe = version.facts.get("recipe")
    return "retrain" if recipe is None and version.manifest.strategy == "train" else str(recipe)


def _fit_of(version: Version) -> tuple[str, Mapping[str, Any]] | None:
    """Return what a fit that made a version has in common with others of its cost a row."""
    strategy = "retrain" if version.manifest.strategy == "train" else version.manifest.strategy
    return _one_fit(strategy, version.manifest.options)


def _one_fit(strategy: str, options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Return a strategy and those of its options by which a row costs; None: several fits."""
    if options.get("trials") or options.get("calibrate", "none") != "none":
        return None
    passed_over = _OF_ROWS | _OF_FITS
    return strategy, {name: each for name, each in options.items() if name not in passed_over}
