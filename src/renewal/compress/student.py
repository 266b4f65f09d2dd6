"""Distillation into another, smaller estimator that learns what the parent says.

The one technique that takes every model: the parent is only asked for its scores.

References
----------
.. [1] Hinton, Vinyals, Dean (2015). Distilling the knowledge in a neural network.
       arXiv 1503.02531.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.core.errors import Invalid, Missing
from renewal.core.plugin import plugin_names
from renewal.core.spec import Signature
from renewal.models.adapters import adapter_for
from renewal.models.contract import Weights
from renewal.models.labels import Labels, sorted_classes
from renewal.models.task import Classes, Scores

Make = Callable[[Signature, Classes, float], Any]
"""Makes an unfitted estimator for columns, classes (empty: a regression) and a size in (0, 1]."""

_WHO = "distil.student"
_READY = {
    "boosting": "renewal.compress.sklearn_students:boosting",
    "forest": "renewal.compress.sklearn_students:forest",
    "lightgbm": "renewal.compress.lightgbm_students:boosting",
    "linear": "renewal.compress.sklearn_students:linear",
    "text_linear": "renewal.compress.sklearn_students:text_linear",
    "tree": "renewal.compress.sklearn_students:tree",
}
_AUTO = "auto"
_SIZES = (1.0, 0.6, 0.35, 0.2, 0.12, 0.07, 0.04, 0.02)
# A probability below this is not worth a row; and of one row at most so many classes are.
_SMALLEST_WEIGHT = 0.01
_MOST_CLASSES = 8
# A column of texts of which more than this share is distinct holds sentences, not categories.
_SHARE_OF_SENTENCES = 0.5
_LOOKED_AT = 2000
_FEW_WORDS = 20


@dataclass(frozen=True, slots=True)
class StudentOptions:
    """How a student learns from its teacher.

    Parameters
    ----------
    student : str, default "auto"
        ``boosting``, ``forest``, ``tree``, ``linear``, ``text_linear``, ``lightgbm``; or the
        import path of a function of one's own, ``shop.students:small``, that is given
        signature, classes and size, and returns an unfitted estimator. ``auto``: boosting, or
        ``text_linear`` where a column holds sentences.
    size : float in (0, 1], default 1
        1 is the largest student; about proportional to its bytes.
    truth : float in [0, 1], default 0.3
        Weight of the true label against what the teacher says.
    max_rows : int >= 1, rows, default 100000
        Of each kind, labelled and not, at most so many are learned from.
    """

    student: str = _AUTO
    size: float = 1.0
    truth: float = 0.3
    max_rows: int = 100_000

    def __post_init__(self) -> None:
        """Refuse numbers out of their range."""
        if 0.0 < self.size <= 1.0 and 0.0 <= self.truth <= 1.0 and self.max_rows >= 1:
            return
        raise Invalid(
            _WHO,
            needs="0 < size <= 1, 0 <= truth <= 1 and max_rows >= 1",
            came=f"size={self.size}, truth={self.truth}, max_rows={self.max_rows}",
            todo="Correct the options.",
        )


class DistilStudent:
    r"""Fits a smaller estimator on what the parent says of training and unlabelled rows.

    A row of classes becomes a row for each class, weighted by :math:`(1 - t)\, p_{teacher} +
    t\, [label]`, because few estimators take probabilities as targets; a regression learns the
    mixed value. Rows without a label are weighted by the teacher alone. The student reads the
    columns of the form, and gives every class of it, however rare.

    Notes
    -----
    The teacher is the parent, whatever the steps before this one have done to the form: it
    knows more. What is learned are its own scores: the form puts a correction of them on
    again. Costs one prediction of the parent for each row, and the fit of the student
    on about two rows for one.

    Examples
    --------
    A forest into at most two hundred small trees, or a transformer into words::

        distil.student:student=boosting,size=0.2
        distil.student:*
    """

    name: ClassVar[str] = _WHO
    family: ClassVar[Family] = "distil"
    takes: ClassVar[tuple[str, ...]] = plugin_names("adapters")
    Options: ClassVar[type[Any]] = StudentOptions
    knob: ClassVar[str | None] = "size"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return why no student can learn from this form."""
        strange = [each for each in form.signature.fields if each.kind in {"bytes", "tensor"}]
        if strange:
            return f"no student here reads {strange[0].kind} columns such as {strange[0].name!r}"
        if material.task.name == "multilabel":
            return "a student of several labels a row is not made here"
        if not len(material.train):
            return "there is no training row to learn from"
        if form.classes and len(form.classes) < 2:
            return "the model knows a single class, so that there is nothing to learn"
        if form.classes != sorted_classes(np.array(form.classes, dtype=object)):
            return "the classes of the model are not sorted, and those of a student would be"
        return None

    def levels(self, form: Form, material: Material) -> tuple[StudentOptions, ...]:  # noqa: ARG002  # every form has the same
        """Return sizes from 1 to 0.02."""
        return tuple(StudentOptions(size=size) for size in _SIZES)

    def apply(self, form: Form, options: StudentOptions, material: Material, *, seed: int) -> Form:
        """Return the student as a form of its own adapter.

        Raises
        ------
        Invalid
            When nothing can be learned from these rows, or the student does not take them.
        Missing
            When the function that makes the student is not here.
        """
        reason = self.why_not(form, material)
        if reason is not None:
            raise Invalid(
                _WHO,
                needs="a model and rows that a student can learn from",
                came=reason,
                todo="Leave this step out.",
            )
        lesson = _lesson(form, options, material, seed)
        form = _without_empty(form, lesson.features)
        make = _maker(student_of(options, form, material))
        recipe = make(form.signature, form.classes, options.size)
        adapter = adapter_for(recipe, who=_WHO)
        features = lesson.features.select(list(form.signature.names))
        fitted = adapter.fit(recipe, features, lesson.labels, seed=seed, weights=lesson.weights)
        classes = adapter.classes(fitted)
        if classes != form.classes:
            raise Invalid(
                _WHO,
                needs=f"a student with the classes {form.classes}",
                came=f"{classes}",
                todo="Let the function return a classifier for classes, a regressor for numbers.",
            )
        return replace(form, adapter=adapter.name, estimator=fitted)


@dataclass(frozen=True, slots=True, eq=False)
class _Lesson:
    features: pa.Table
    labels: Labels
    weights: Weights | None


def _lesson(form: Form, options: StudentOptions, material: Material, seed: int) -> _Lesson:
    """Return the rows of the fit, labelled ones before unlabelled ones."""
    names = list(form.signature.names)
    known, labelled, said, labels = _labelled(form, options, material, seed)
    further, heard = _unlabelled(options, material, seed)
    tables = [labelled.select(names)]
    if further is not None and len(further):
        tables.append(further.select(names).cast(tables[0].schema))
        said = np.concatenate([said, heard])
    features = pa.concat_tables(tables)
    if not np.isfinite(said).all():
        raise Invalid(
            _WHO,
            needs="a teacher that gives finite scores",
            came=f"{int((~np.isfinite(said)).any(axis=1).sum())} rows without",
            todo="Look at what the model says of its training rows.",
        )
    if not form.classes:
        target = said[:, 0].copy()
        n_known = len(labels)
        target[:n_known] += options.truth * (labels.astype(np.float64) - target[:n_known])
        return _Lesson(features, target, None)
    shares = _shares(said, known, options.truth)
    rows, columns, weights = _spread(shares)
    classes = np.empty(len(form.classes), dtype=object)
    classes[:] = form.classes
    return _Lesson(features.take(pa.array(rows)), classes[columns], weights)


def _labelled(
    form: Form, options: StudentOptions, material: Material, seed: int
) -> tuple[NDArray[np.intp], pa.Table, Scores, Labels]:
    """Return the columns of the true classes, features, what the teacher says, and labels.

    Of a row whose class the parent does not know, its scores are wrong by their nature: such
    rows are left out.
    """
    n_rows = min(options.max_rows, math.ceil(material.effort * len(material.train)))
    at = material.few(n_rows, seed=seed)
    labels = material.labels[at]
    columns = np.zeros(len(at), np.intp)
    if form.classes:
        place = {label: column for column, label in enumerate(form.classes)}
        columns = np.array([place.get(label, -1) for label in labels.tolist()], np.intp)
        at, labels, columns = at[columns >= 0], labels[columns >= 0], columns[columns >= 0]
    if not len(at):
        raise Invalid(
            _WHO,
            needs="training rows of classes that the model knows",
            came=f"none of {n_rows}",
            todo="Update the model first.",
        )
    features = material.train.features.take(pa.array(at))
    corrected = material.parent.score_map is not None
    said = material.parent.said(features) if corrected else material.teacher_scores[at]
    return columns, features, said, labels


def _unlabelled(
    options: StudentOptions, material: Material, seed: int
) -> tuple[pa.Table | None, Scores]:
    if material.unlabelled is None:
        return None, np.empty((0, 0))
    n_all = material.unlabelled.num_rows
    n_rows = min(options.max_rows, math.ceil(material.effort * n_all))
    at = np.sort(np.random.default_rng(seed).permutation(n_all)[:n_rows])
    features = material.unlabelled.take(pa.array(at))
    corrected = material.parent.score_map is not None
    said = material.parent.said(features) if corrected else material.unlabelled_scores[at]
    return features, said


def _shares(said: Scores, known: NDArray[np.intp], truth: float) -> Scores:
    """Return the weight of each class of each row; those of a row sum to 1."""
    shares = np.clip(said, 0.0, None)
    total = shares.sum(axis=1, keepdims=True)
    # A row for which the teacher says nothing at all counts for every class alike.
    shares = np.where(total > 0.0, shares / np.where(total > 0.0, total, 1.0), 1 / said.shape[1])
    n_known = len(known)
    shares[:n_known] *= 1.0 - truth
    shares[np.arange(n_known), known] += truth
    return shares


def _spread(shares: Scores) -> tuple[NDArray[np.intp], NDArray[np.intp], Weights]:
    """Return rows, columns and weights of what is worth a row, and a row of every class.

    An estimator gives only the classes that it has seen: one that nobody names gets the row
    that comes nearest to it.
    """
    n_kept = min(_MOST_CLASSES, shares.shape[1])
    floor = -np.partition(-shares, n_kept - 1, axis=1)[:, n_kept - 1 : n_kept]
    kept = (shares >= np.maximum(floor, _SMALLEST_WEIGHT)) | (
        shares == shares.max(axis=1, keepdims=True)
    )
    weights = np.where(kept, shares, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    for column in np.flatnonzero(~kept.any(axis=0)):
        row = int(shares[:, column].argmax())
        kept[row, column] = True
        weights[row, column] = max(shares[row, column], _SMALLEST_WEIGHT)
    rows, columns = np.nonzero(kept)
    return rows.astype(np.intp), columns.astype(np.intp), weights[rows, columns]


def _without_empty(form: Form, features: pa.Table) -> Form:
    """Return the form without the columns that hold no value in any row: nothing is learned."""
    fields = tuple(
        each
        for each in form.signature.fields
        if not pc.all(pc.is_null(features[each.name], nan_is_null=True)).as_py()
    )
    return replace(form, signature=Signature(fields)) if fields else form


def student_of(options: StudentOptions, form: Form, material: Material) -> str:
    """Return the name of the student that `options` mean for a form."""
    if options.student != _AUTO:
        return options.student
    few = material.train.features.slice(0, _LOOKED_AT)
    texts = [few[each.name] for each in form.signature.fields if each.kind == "string"]
    has_sentences = any(
        pc.count_distinct(each).as_py() > max(_FEW_WORDS, _SHARE_OF_SENTENCES * len(each))
        for each in texts
    )
    return "text_linear" if has_sentences else "boosting"


def _maker(student: str) -> Make:
    """Return the function that makes a student, by its short name or its import path."""
    path = _READY.get(student, student)
    module, _, name = path.partition(":")
    if not module or not name:
        raise Invalid(
            _WHO,
            needs=f"a student among {', '.join(_READY)}, or an import path such as "
            "'shop.students:small'",
            came=repr(student),
            todo="Correct the option student.",
        )
    try:
        found: Make = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Missing(
            _WHO,
            needs=f"{path!r}, which makes the student",
            came=f"{type(error).__name__}: {error}",
            todo="Install its package here, or correct the option student.",
        ) from error
    return found
