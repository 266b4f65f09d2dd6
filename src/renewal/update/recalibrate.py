"""Recalibrate: keep what the champion learned and map its scores anew."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from renewal.core.errors import Invalid, Refused
from renewal.data.rows import Rows
from renewal.models.recalibrated import recalibrated
from renewal.update.contract import Made, Parent
from renewal.update.eligible import (
    keys_with_ancestors,
    labelled_rows,
    labels_of,
    never_trained,
    new_classes,
    new_classes_sentence,
    until_us_with_ancestors,
)
from renewal.update.options import plain_options

_ROWS_A_CLASS = 2
_KNOWN_SCORES = "Calibration maps the scores of known classes only: retrain instead"


@dataclass(frozen=True, slots=True)
class RecalibrateOptions:
    """How many rows a calibration needs.

    Parameters
    ----------
    min_rows : int >= 2, rows, default 200
        Fewer unseen labelled rows are refused: a map fitted on a handful of rows is noise.
    """

    min_rows: int = 200

    def __post_init__(self) -> None:
        """Refuse fewer than 2 rows."""
        if self.min_rows < 2:
            raise Invalid(
                "RecalibrateOptions",
                needs="min_rows of at least 2",
                came=str(self.min_rows),
                todo="Correct the recipe.",
            )


class Recalibrate:
    """Fit a new calibration of the champion on rows that it never trained on.

    On its own training rows a model is surer than it may be, so a calibration fitted there
    would leave it as sure. An earlier calibration is replaced, never stacked upon. What the
    champion and its ancestors trained on counts as trained on by the candidate.

    Notes
    -----
    Costs one scoring of the rows and a fit of a few parameters. It moves probabilities and
    cannot repair an order that drift has broken.
    """

    name: ClassVar[str] = "recalibrate"
    Options: ClassVar[type[RecalibrateOptions]] = RecalibrateOptions
    keeps_parent: ClassVar[bool] = True

    def why_not(self, parent: Parent, rows: Rows | None = None) -> str | None:
        """Return why the champion cannot be recalibrated, on these rows where they are given."""
        if rows is None or rows.label is None:
            return None
        labelled = rows.labelled()
        fresh = labelled.take(never_trained(parent, labelled))
        if len(labelled) > 0 and len(fresh) == 0:
            return (
                f"None of the {len(labelled):,} labelled rows that may be fitted is certainly "
                "unseen by the champion, and a calibration on its own training rows proves nothing"
            )
        unknown = new_classes(parent, fresh)
        return new_classes_sentence(unknown, _KNOWN_SCORES) if unknown else None

    def make(self, parent: Parent, rows: Rows, options: RecalibrateOptions, seed: int) -> Made:  # noqa: ARG002  # nothing in it is random
        """Calibrate the champion on the labelled rows that it never trained on.

        Parameters
        ----------
        parent : Parent
            The champion.
        rows : Rows
            That may be fitted.
        options : RecalibrateOptions
            Least number of rows.
        seed : int
            Not used: nothing in it is random.

        Raises
        ------
        Invalid
            On no labelled rows, fewer unseen ones than ``min_rows``, labels of one class, or
            fewer than 2 rows of a class that the champion knows.
        Refused
            When the champion cannot be recalibrated on these rows.
        """
        labelled = labelled_rows(rows, who=self.name)
        why_not = self.why_not(parent, labelled)
        if why_not is not None:
            raise Refused(
                self.name,
                needs="rows on which the champion can be recalibrated",
                came=f"others: {why_not}",
                todo="Wait for new labels, or take another strategy.",
            )
        used = labelled.take(never_trained(parent, labelled))
        labels = labels_of(used, parent.task, who=self.name, min_rows=options.min_rows)
        _demand_every_class(parent, labels.tolist())
        fitted = recalibrated(parent.estimator, used.features, labels, parent.task)
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


def _demand_every_class(parent: Parent, labels: list[Any]) -> None:
    """Refuse rows that hold no example of a class: its scores could not be mapped."""
    counts = Counter(labels)
    for name in parent.version.manifest.classes:
        if counts[name] < _ROWS_A_CLASS:
            raise Invalid(
                "recalibrate",
                needs=f"at least {_ROWS_A_CLASS} unseen rows of each class of the champion",
                came=f"{counts[name]} of the class {name!r} among {len(labels):,}",
                todo="Wait for labels of that class, or retrain.",
                n_rows=len(labels),
            )
