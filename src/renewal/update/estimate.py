"""What a fit will take, as far as earlier fits say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from statistics import median

from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.update.contract import Parent
from renewal.update.eligible import not_yet_fitted
from renewal.update.recipe import Recipe

_LAST = 3


def expected_s(label: str, n_rows: int, versions: Sequence[Version]) -> float | None:
    """Return how long a recipe's fit on so many rows will take; None where nobody knows.

    The seconds a row of the last three versions that the recipe made, by their median, times
    the rows. A fit is taken to grow with its rows: trees grow a little faster, k-NN does not
    grow at all.

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
    paces = [
        float(each.facts["fit_s"]) / each.manifest.n_trained_rows
        for each in versions
        if _made_by(each) == label and each.facts.get("fit_s") and each.manifest.n_trained_rows
    ]
    return median(paces[-_LAST:]) * n_rows if paces else None


def rows_used(recipe: Recipe, parent: Parent, rows: Rows) -> int:
    """Return how many of the rows that may be fitted a recipe would use.

    Parameters
    ----------
    recipe : Recipe
        With its options: a ``window`` counts from the newest row.
    parent : Parent
        A strategy that keeps it learns the rows that are new to it, and replays some others.
    rows : Rows
        Labelled, that may be fitted.
    """
    window = getattr(recipe.options, "window", None)
    if isinstance(window, timedelta) and len(rows):
        since_us = int(rows.event_us.max()) - window // timedelta(microseconds=1)
        return int((rows.event_us > since_us).sum())
    if not load_plugin("strategies", recipe.strategy).keeps_parent:
        return len(rows)
    n_new = int(not_yet_fitted(parent, rows).sum())
    n_replayed = round(getattr(recipe.options, "replay", 0.0) * n_new)
    return n_new + min(n_replayed, len(rows) - n_new)


def _made_by(version: Version) -> str:
    recipe = version.facts.get("recipe")
    return "retrain" if recipe is None and version.manifest.strategy == "train" else str(recipe)
