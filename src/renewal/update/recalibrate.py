"""Recalibrate: keep what the champion learned and map its scores anew."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from renewal.core.clock import to_us
from renewal.core.duration import parse_duration
from renewal.core.errors import Invalid, Refused
from renewal.core.option_text import plain_options
from renewal.data.rows import Rows
from renewal.models.labels import Labels
from renewal.models.multilabel import is_label_sets
from renewal.models.score_map import Mapped, ScoreMap, Step, unmapped
from renewal.models.score_map_weights import Costs
from renewal.update.calibrating import Calibrated, calibrated
from renewal.update.contract import ALONE, Made, Means, Parent
from renewal.update.deciding import EQUAL, costs_of
from renewal.update.eligible import (
    keys_with_ancestors,
    labelled_rows,
    labels_of,
    never_trained,
    new_classes_sentence,
    until_us_with_ancestors,
)
from renewal.update.label_shift import shifted, unseen_rows

_ROWS_A_CLASS = 2
_KNOWN_SCORES = "Calibration maps the scores of known classes only: retrain instead"

Method = Literal["auto", "temperature", "sigmoid", "isotonic", "prior", "shift"]


@dataclass(frozen=True, slots=True)
class RecalibrateOptions:
    """How scores are mapped, and how many rows that needs.

    Parameters
    ----------
    method : str, default "auto"
        ``temperature``: one number; ``sigmoid``: two a class (Platt); ``isotonic``: steps,
        for some thousand rows; ``auto``: the simplest of them that is as good as the best by
        cross-validation on the unseen rows. ``prior``: new shares of the classes, estimated
        by EM from rows that need no labels, where nothing else has changed. ``shift``: the
        median residual, for a regression, which ``auto`` takes there.
    min_rows : int >= 2, rows, default 200
        Fewer unseen rows are refused: a map fitted on a handful of rows is noise.
    costs : str or None, default None
        What mistakes cost, such as ``fp:1|fn:5`` (`renewal.update.deciding.costs_of`): the
        largest score is then the cheapest decision, and no probability any more. ``equal``:
        the most probable class. None: as the champion decides.
    """

    method: Method = "auto"
    min_rows: int = 200
    costs: str | None = None

    def __post_init__(self) -> None:
        """Refuse fewer than 2 rows."""
        if self.min_rows < 2:
            raise Invalid(
                "RecalibrateOptions",
                needs="min_rows of at least 2",
                came=str(self.min_rows),
                todo="Correct the recipe.",
            )

    @property
    def reads_unlabelled(self) -> bool:
        """Whether rows that wait for their label tell it something: the shares of classes."""
        return self.method == "prior"


class Recalibrate:
    """Fit a new map of the champion's scores on rows that it never trained on.

    The model stays as it is, of whatever framework, and its bytes are stored once; the
    candidate is a map beside them. On its own training rows a model is surer than it may be,
    so a map fitted there would leave it as sure. An earlier map is replaced, never stacked
    upon. What the champion and its ancestors trained on counts as trained on by the
    candidate.

    Notes
    -----
    Costs one scoring of the rows, a fit of a few numbers, and some hundred bytes. It moves
    probabilities and cannot repair an order that drift has broken.
    """

    name: ClassVar[str] = "recalibrate"
    Options: ClassVar[type[RecalibrateOptions]] = RecalibrateOptions
    keeps_parent: ClassVar[bool] = True
    can_thin: ClassVar[bool] = False

    def why_not(self, parent: Parent, rows: Rows | None = None) -> str | None:
        """Return why the champion cannot be recalibrated, on these rows where they are given."""
        if rows is None or rows.label is None:
            return None
        has_label = rows.has_label
        fresh = self.usable(parent, rows.labelled())
        # The method `prior` needs no labels, where so many rows wait for theirs.
        n_waiting = 0 if has_label.all() else len(unseen_rows(parent, rows.take(~has_label)))
        if has_label.any() and len(fresh) == 0 and n_waiting < RecalibrateOptions().min_rows:
            return _all_seen(int(has_label.sum()))
        unknown = _new_classes(parent, fresh)
        return new_classes_sentence(unknown, _KNOWN_SCORES) if unknown else None

    def usable(self, parent: Parent, rows: Rows) -> Rows:
        """Return the rows that the champion has not trained on and was not told to forget.

        One that was fitted on the last weeks alone has seen no older row, and is not to be
        calibrated for the world of those.
        """
        manifest = parent.version.manifest
        window = manifest.options.get("window")
        if window is not None and manifest.trained_until is not None:
            since = manifest.trained_until - parse_duration(str(window), who=self.name)
            rows = rows.take(np.asarray(rows.event_us > to_us(since), np.bool_))
        return rows.take(never_trained(parent, rows))

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RecalibrateOptions,
        seed: int,  # noqa: ARG002  # nothing in it is random
        means: Means = ALONE,  # noqa: ARG002  # it needs none
    ) -> Made:
        """Map the champion's scores by the rows that it never trained on.

        Parameters
        ----------
        parent : Parent
            The champion.
        rows : Rows
            That may be fitted. Only the method ``prior`` looks at those without a label.
        options : RecalibrateOptions
            Form, least number of rows, costs.
        seed : int
            Not used: nothing in it is random.
        means : Means
            Not used.

        Raises
        ------
        Invalid
            On no labelled rows, fewer unseen ones than ``min_rows``, labels of one class,
            fewer than 2 rows of a class that the champion knows, or options that do not go
            with the task.
        Refused
            When the champion cannot be recalibrated on these rows.
        """
        decision = _decision(parent, options)
        if options.method == "prior":
            used = unseen_rows(parent, rows)
            self._demand_possible(parent, rows)
            found = shifted(parent, rows, used, who=self.name, min_rows=options.min_rows)
        else:
            labelled = labelled_rows(rows, who=self.name)
            self._demand_possible(parent, labelled)
            used = self.usable(parent, labelled)
            found = self._calibrated(parent, used, options)
        score_map = ScoreMap((*found.score_map.steps, *decision))
        manifest = parent.version.manifest
        return Made(
            estimator=Mapped(unmapped(parent.estimator), score_map, manifest.artifact),
            classes=manifest.classes,
            keyset=keys_with_ancestors(parent, used),
            n_rows=len(used),
            trained_until_us=until_us_with_ancestors(parent, used),
            parent_is_ancestor=True,
            strategy=self.name,
            options=plain_options(options),
            facts={"score_map": list(score_map.kinds), "losses": found.losses},
        )

    def _demand_possible(self, parent: Parent, rows: Rows) -> None:
        why_not = self.why_not(parent, rows)
        if why_not is not None:
            raise Refused(
                self.name,
                needs="rows on which the champion can be recalibrated",
                came=f"others: {why_not}",
                todo="Wait for new labels, or take another strategy.",
            )

    def _calibrated(self, parent: Parent, used: Rows, options: RecalibrateOptions) -> Calibrated:
        labels = labels_of(used, parent.task, who=self.name, min_rows=options.min_rows)
        _demand_every_class(parent, labels)
        scores = parent.adapter.predict(unmapped(parent.estimator), used.features)
        classes = parent.version.manifest.classes
        method = options.method
        if not classes and method in {"auto", "shift"}:
            _demand_absolute_error(parent)
            method = "shift"
        return calibrated(scores, labels, parent.task, classes, blocks=used.block, method=method)


def _decision(parent: Parent, options: RecalibrateOptions) -> tuple[Step, ...]:
    """Return the step that decides by costs, or none: the champion's where nobody said."""
    if options.costs is None:
        steps = parent.estimator.score_map.steps if isinstance(parent.estimator, Mapped) else ()
        return tuple(each for each in steps if isinstance(each, Costs))
    task = parent.version.manifest.task
    if task not in {"binary", "multiclass"} and options.costs != EQUAL:
        raise Invalid(
            "recalibrate",
            needs="costs only where a row has one class",
            came=f"costs for the task {task!r}",
            todo="Leave costs out of the recipe.",
        )
    found = costs_of(options.costs, parent.version.manifest.classes, who="recalibrate")
    return () if found is None else (found,)


def _all_seen(n_rows: int) -> str:
    return (
        f"None of the {n_rows:,} labelled rows that may be fitted is certainly "
        "unseen by the champion, and a calibration on its own training rows proves nothing"
    )


def _new_classes(parent: Parent, rows: Rows) -> dict[Any, int]:
    """Return the classes among the labels that the champion does not know, with their rows."""
    known = set(parent.version.manifest.classes)
    if not known or not len(rows):
        return {}
    counts = Counter(_names(parent.task.labels(rows.label, who="recalibrate")))
    return {name: count for name, count in counts.items() if name not in known}


def _names(labels: Labels) -> list[Any]:
    """Return the class of every row; of a row with several labels each of them."""
    if is_label_sets(labels):
        return [name for each in labels.tolist() for name in each.names]
    plain: list[Any] = labels.tolist()
    return plain


def _demand_every_class(parent: Parent, labels: Labels) -> None:
    """Refuse rows that hold no example of a class: its scores could not be mapped."""
    counts = Counter(_names(labels))
    for name in parent.version.manifest.classes:
        if counts[name] < _ROWS_A_CLASS:
            raise Invalid(
                "recalibrate",
                needs=f"at least {_ROWS_A_CLASS} unseen rows of each class of the champion",
                came=f"{counts[name]} of the class {name!r} among {len(labels):,}",
                todo="Wait for labels of that class, or retrain.",
                n_rows=len(labels),
            )


def _demand_absolute_error(parent: Parent) -> None:
    """Refuse a shift by the median where another loss decides: it could do harm."""
    if parent.task.loss_name != "absolute_error":
        raise Invalid(
            "recalibrate",
            needs="values that are judged by their absolute error",
            came=f"the loss {parent.task.loss_name}",
            todo="Use another strategy, such as retrain.",
        )
