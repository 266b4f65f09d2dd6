"""Incremental: the champion goes on learning from the rows that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from renewal.core.errors import Invalid, Refused
from renewal.data.rows import Rows
from renewal.update.contract import Made, Parent
from renewal.update.eligible import (
    keys_with_ancestors,
    labelled_rows,
    labels_of,
    new_classes,
    new_classes_sentence,
    not_yet_fitted,
    until_us_with_ancestors,
)
from renewal.update.options import plain_options

_FIRST_CALL = "An incremental learner must know every class at its first call: retrain instead"


@dataclass(frozen=True, slots=True)
class IncrementalOptions:
    """How the champion goes on.

    Parameters
    ----------
    passes : int >= 1, default 1
        How often the new rows are gone through, in the order of their event time.
    min_rows : int >= 1, rows, default 1
        Fewer new labelled rows are refused.
    """

    passes: int = 1
    min_rows: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        if self.passes < 1 or self.min_rows < 1:
            raise Invalid(
                "IncrementalOptions",
                needs="passes and min_rows of at least 1",
                came=f"passes={self.passes}, min_rows={self.min_rows}",
                todo="Correct the recipe.",
            )


class Incremental:
    """Let a copy of the champion learn the rows that it has not seen, by ``partial_fit``.

    Everything that the champion and its ancestors trained on counts as trained on by the
    candidate. Of a pipeline only the last step goes on learning.

    Notes
    -----
    Costs one pass over the new rows. It is not ``warm_start``: that continues a fit on the
    *same* rows, and reads new ones through old bins (gradient boosting) or leaves the old
    trees as they are (forests). Some learners drift away or grow with every update; race it
    against ``retrain``.
    """

    name: ClassVar[str] = "incremental"
    Options: ClassVar[type[IncrementalOptions]] = IncrementalOptions
    keeps_parent: ClassVar[bool] = True

    def why_not(self, parent: Parent, rows: Rows | None = None) -> str | None:
        """Return why the champion cannot go on learning, from these rows where they are given."""
        able = parent.adapter.capabilities(parent.estimator)
        if not able.can_partial_fit:
            return able.why_not.get(
                "partial_fit",
                f"{type(parent.estimator).__name__} has no partial_fit",
            )
        if rows is None or rows.label is None:
            return None
        labelled = rows.labelled()
        fresh = _fresh(parent, labelled)
        if len(labelled) > 0 and len(fresh) == 0:
            return (
                f"It was fitted on all {len(labelled):,} labelled rows that may be fitted, or they "
                "were there before it: there is nothing new to learn"
            )
        unknown = new_classes(parent, fresh)
        return new_classes_sentence(unknown, _FIRST_CALL) if unknown else None

    def make(self, parent: Parent, rows: Rows, options: IncrementalOptions, seed: int) -> Made:  # noqa: ARG002  # goes on with the champion's own random state
        """Learn the new labelled rows in the order of their event time.

        Parameters
        ----------
        parent : Parent
            The champion.
        rows : Rows
            That may be fitted.
        options : IncrementalOptions
            Passes and least number of rows.
        seed : int
            Not used: the copy goes on with the random state that the champion stored.

        Raises
        ------
        Invalid
            On no labelled rows, or fewer new ones than ``min_rows``.
        Refused
            When the champion cannot go on learning from these rows.
        """
        labelled = labelled_rows(rows, who=self.name)
        why_not = self.why_not(parent, labelled)
        if why_not is not None:
            raise Refused(
                self.name,
                needs="a champion that can go on learning from these rows",
                came=f"one that cannot: {why_not}",
                todo="Take another strategy.",
            )
        used = _fresh(parent, labelled)
        labels = labels_of(used, parent.task, who=self.name, min_rows=options.min_rows)
        fitted = parent.estimator
        for _ in range(options.passes):
            fitted = parent.adapter.partial_fit(fitted, used.features, labels)
        return Made(
            estimator=fitted,
            classes=parent.adapter.classes(fitted),
            keyset=keys_with_ancestors(parent, used),
            n_rows=len(used),
            trained_until_us=until_us_with_ancestors(parent, used),
            parent_is_ancestor=True,
            strategy=self.name,
            options=plain_options(options),
        )


def _fresh(parent: Parent, labelled: Rows) -> Rows:
    """Return the rows that the parent has not been fitted on, oldest first."""
    at = np.flatnonzero(not_yet_fitted(parent, labelled))
    return labelled.take(at[np.argsort(labelled.event_us[at], kind="stable")])
