"""Recalibration: keep what a model has learned, correct how sure it is of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from renewal.core.errors import Invalid
from renewal.models.labels import Labels, dense
from renewal.models.sklearn_inputs import inputs_of
from renewal.models.sklearn_multilabel import label_names
from renewal.models.sklearn_parts import unwrapped
from renewal.models.sklearn_shift import ShiftedRegressor
from renewal.models.task import Task

_WHO = "recalibrated"
# A frozen model predicts the same in every fold, so more folds than this only cost calls.
_FOLDS = 2


def recalibrated(
    estimator: Any,
    features: pa.Table,
    labels: Labels,
    task: Task,
    *,
    method: str = "sigmoid",
) -> Any:
    """Return a new estimator that corrects the outputs of a fitted one on recent rows.

    A classifier gets one monotone curve a class from its scores to probabilities; a
    regressor gets a constant. An earlier recalibration is replaced, never stacked upon, and
    the model inside is shared, not copied: it is not changed.

    Parameters
    ----------
    estimator : object
        A fitted scikit-learn classifier or regressor, perhaps recalibrated before.
    features : pyarrow.Table
        Rows that it was not fitted on; on its own training rows it looks too sure of itself.
    labels : ndarray of shape (n_rows,)
        As `Task.labels` returns them. Rows of a class that the model does not know are left
        out: no curve can bring it in.
    task : Task
        Says which loss decides.
    method : {"sigmoid", "isotonic", "temperature"}, default "sigmoid"
        Form of the curve: two numbers a class; any monotone steps, for some thousand rows;
        one number for all classes (scikit-learn 1.8 or newer).

    Returns
    -------
    CalibratedClassifierCV or ShiftedRegressor
        Fitted, over the same classes.

    Raises
    ------
    Invalid
        With fewer than 2 rows of a class that the model knows, or no row at all; and for an
        estimator of several labels.

    Notes
    -----
    One scoring of the rows; the curve itself takes milliseconds. Two rows of a class make a
    curve possible, not good: how many are worth it is the caller's to say. The order of a
    binary model's scores, and so its AUC, does not change.

    References
    ----------
    .. [1] Platt (1999). Probabilistic outputs for support vector machines.
    """
    base = unwrapped(estimator)
    if label_names(base):
        raise Invalid(
            _WHO,
            needs="an estimator of one output",
            came=f"{type(base).__name__} with {len(label_names(base))} labels",
            todo="Use the strategy retrain.",
        )
    if is_classifier(base):
        return _curves(base, features, labels, method)
    if task.loss_name != "absolute_error":
        raise Invalid(
            _WHO,
            needs="a classifier, or a regressor that is judged by its absolute error",
            came=f"{type(base).__name__} judged by {task.loss_name}",
            todo="Use another strategy, such as retrain.",
        )
    if not len(labels):
        raise _too_few("at least one labelled row", "none")
    inputs = inputs_of(base, features, who=_WHO)
    return ShiftedRegressor(base).fit(inputs, labels.astype(np.float64))


def _curves(base: Any, features: pa.Table, labels: Labels, method: str) -> Any:
    known = set(base.classes_.tolist())
    keep = np.fromiter((label in known for label in labels.tolist()), bool, count=len(labels))
    if not keep.all():
        features, labels = features.filter(pa.array(keep)), labels[keep]
    counts = Counter(labels.tolist())
    short = {label: counts[label] for label in sorted(known) if counts[label] < _FOLDS}
    if short:
        raise _too_few(
            f"{_FOLDS} labelled rows of each of the {len(known)} classes",
            ", ".join(f"{count} of {label!r}" for label, count in short.items()),
        )
    curves = CalibratedClassifierCV(FrozenEstimator(base), method=method, cv=_FOLDS, ensemble=False)
    return curves.fit(inputs_of(base, features, who=_WHO), dense(labels))


def _too_few(needs: str, came: str) -> Invalid:
    return Invalid(_WHO, needs=needs, came=came, todo="Wait for more labels, or use retrain.")
