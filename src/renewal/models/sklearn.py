"""The adapter of scikit-learn: any estimator or pipeline as a value.

References
----------
.. [1] https://scikit-learn.org/stable/developers/develop.html
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import scipy
import sklearn
import skops
from sklearn.base import BaseEstimator, is_classifier, is_regressor

from renewal.core.errors import Invalid, RenewalError
from renewal.core.spec import Signature
from renewal.models.contract import Capabilities, Way, Weights
from renewal.models.labels import Labels, class_labels, dense, sorted_classes
from renewal.models.sklearn_able import capabilities_of
from renewal.models.sklearn_bytes import from_bytes, to_bytes
from renewal.models.sklearn_frames import frame, matrix
from renewal.models.sklearn_inputs import inputs_of
from renewal.models.sklearn_multilabel import (
    LABELS_MARK,
    demand_names,
    label_names,
    of_each_label,
    target_of,
)
from renewal.models.sklearn_params import demand_weights, plain_params, with_params
from renewal.models.sklearn_parts import (
    NAMES_MARK,
    demand_probabilities,
    seed_open,
    seeded,
    steps_of,
    takes_names,
    unwrapped,
    wants_categories,
)
from renewal.models.sklearn_ready import ready
from renewal.models.sklearn_space import search_space
from renewal.models.space import Space
from renewal.models.task import Classes, Scores
from renewal.models.weights import checked_weights


class SklearnAdapter:
    """Fits, predicts and stores scikit-learn estimators, pipelines and their like.

    Anything with scikit-learn's conventions works: ``get_params``, ``fit``, and
    ``predict_proba`` for classes or ``predict`` for numbers. Rows reach it as a pandas
    frame where it was fitted on one, and as a matrix where it was not. Columns of texts
    reach a bare HistGradientBoosting as categories, so that it takes them as they are.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> rows = pa.table({"delay": [0.0, 1.0, 2.0, 3.0]})
    >>> labels = np.array([False, False, True, True], dtype=object)
    >>> adapter = SklearnAdapter()
    >>> fitted = adapter.fit(LogisticRegression(), rows, labels, seed=0)
    >>> again = adapter.load(adapter.dump(fitted))
    >>> adapter.classes(again), adapter.predict(again, rows).shape
    ((False, True), (4, 2))
    """

    name: str = "sklearn"
    reads_forward: tuple[str, ...] = ("scikit-learn", "skops")

    def accepts(self, estimator: Any) -> bool:
        """Say whether `estimator` is a classifier or a regressor of scikit-learn's kind."""
        if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator):
            return False
        return bool(is_classifier(estimator) or is_regressor(estimator))

    def capabilities(self, estimator: Any) -> Capabilities:
        """Say whether `estimator` can take in further rows; see `sklearn_able`."""
        return capabilities_of(estimator)

    def fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        names: bool = True,
        seed: int | None = None,
        weights: Weights | None = None,
    ) -> Any:
        """Return a fitted copy of the recipe `estimator`.

        Parameters
        ----------
        estimator : object
            Fitted or not; a recalibrated one gives the recipe inside.
        features : pyarrow.Table
            Training rows.
        labels : ndarray of shape (n_rows,)
            As `Task.labels` returns them; sets of labels reach it as an indicator matrix.
        names : bool, default True
            Whether it sees a frame with column names, or a matrix.
        seed : int or None
            Fills every ``random_state`` that is None.
        weights : float64 ndarray of shape (n_rows,) or None
            How much each row counts; in a pipeline the last step weighs.

        Raises
        ------
        Invalid
            When it gives no probabilities, cannot weigh rows that are weighted, or
            scikit-learn does not take the rows.
        """
        who = "SklearnAdapter.fit"
        fresh = seeded(estimator, seed)
        if names:
            inputs = frame(features, as_categories=wants_categories(fresh))
        else:
            inputs = matrix(features)
        target, of_labels = target_of(labels, who=who)
        weighed = {}
        if weights is not None:
            checked = checked_weights(weights, features.num_rows, who=who)
            weighed = {demand_weights(fresh, who=who): checked}
        fitted = _tried(who, fresh, fresh.fit, inputs, target, **weighed)
        # Not before: a stack of models knows only then whether it gives probabilities.
        demand_probabilities(fitted, who=who)
        if names and not takes_names(fitted):
            setattr(fitted, NAMES_MARK, True)
        if of_labels:
            setattr(fitted, LABELS_MARK, list(of_labels))
        return fitted

    def partial_fit(
        self, estimator: Any, features: pa.Table, labels: Labels, *, seed: int | None = None
    ) -> Any:
        """Return a deep copy of a fitted estimator that has taken in further rows.

        In a pipeline only the last step learns: transformers, and a calibration around
        it, stay as they were fitted.

        Parameters
        ----------
        estimator : object
            Fitted; not changed.
        features : pyarrow.Table
            Rows that it has not seen.
        labels : ndarray of shape (n_rows,)
            Of classes that it knows.
        seed : int or None
            Fills every ``random_state`` that is None, for this call.

        Raises
        ------
        Invalid
            When it cannot, with the reason; or on a class that it does not know.
        """
        who = "SklearnAdapter.partial_fit"
        possible = self.capabilities(estimator)
        if not possible.can_partial_fit:
            raise Invalid(
                who,
                needs="an estimator that can take in further rows",
                came=possible.why_not["partial_fit"],
                todo="Use the strategy retrain.",
            )
        _demand_known(self.classes(estimator), labels, who=who)
        grown = copy.deepcopy(estimator)
        learner = unwrapped(grown)
        transformers, last = steps_of(learner)
        inputs = inputs_of(learner, features, who=who)
        for step in transformers:
            inputs = _tried(who, step, step.transform, inputs)
        opened = seed_open(last, seed)
        _tried(who, last, last.partial_fit, inputs, dense(labels))
        last.set_params(**opened)
        return grown

    def continue_fit(
        self,
        estimator: Any,
        features: pa.Table,  # noqa: ARG002  # the contract's
        labels: Labels,  # noqa: ARG002  # the contract's
        *,
        way: Way,
        rounds: int = 10,  # noqa: ARG002  # the contract's
        decay: float = 0.9,  # noqa: ARG002  # the contract's
        seed: int | None = None,  # noqa: ARG002  # the contract's
    ) -> Any:
        """Raise `Invalid` with the reason: no estimator of scikit-learn continues soundly.

        What it calls ``warm_start`` goes on with a fit on the *same* rows. On other rows it
        runs, and breaks silently; see `sklearn_able`.
        """
        raise Invalid(
            "SklearnAdapter.continue_fit",
            needs=f"an estimator whose fit can be continued on new rows (way={way!r})",
            came=self.capabilities(estimator).why_not["continue"],
            todo="Use the strategy retrain.",
        )

    def params(self, estimator: Any) -> dict[str, Any]:
        """Return the recipe's parameters, nested ones by ``step__name``, that JSON can hold."""
        return plain_params(estimator)

    def with_params(self, estimator: Any, params: Mapping[str, Any]) -> Any:
        """Return an unfitted copy of the recipe with other parameters."""
        return with_params(estimator, params)

    def search_space(self, estimator: Any) -> Space:
        """Return what is worth tuning in what learns; see `sklearn_space`."""
        return search_space(estimator)

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        """Return probabilities of shape (n_rows, n_classes), or values of shape (n_rows, 1).

        Where rows carry sets of labels, a class is a label.

        Parameters
        ----------
        estimator : object
            Fitted.
        features : pyarrow.Table
            Rows; none give none.

        Raises
        ------
        Invalid
            When a column is missing, or the estimator does not take the rows.

        Notes
        -----
        Beyond the estimator's own time 40 microseconds for one row of 20 numbers, and 0.2 ms
        where columns are of several types.
        """
        who = "SklearnAdapter.predict"
        of_labels = label_names(estimator)
        classes = of_labels or getattr(estimator, "classes_", None)
        n_scores = 1 if classes is None else len(classes)
        if features.num_rows == 0:
            return np.empty((0, n_scores))
        inputs = inputs_of(estimator, features, who=who)
        if classes is None:
            scores = _tried(who, estimator, estimator.predict, inputs)
        else:
            demand_probabilities(estimator, who=who)
            scores = _tried(who, estimator, estimator.predict_proba, inputs)
        if of_labels:
            scores = of_each_label(scores, estimator)
        return _scores(scores, features.num_rows, n_scores, estimator)

    def classes(self, estimator: Any) -> Classes:
        """Return what the columns of the scores mean, as plain values; empty for numbers.

        Raises
        ------
        Invalid
            When it has several outputs and does not say what they are called.
        """
        if names := label_names(estimator):
            return names
        demand_names(estimator, who="SklearnAdapter.classes")
        found = getattr(estimator, "classes_", None)
        if found is None:
            return ()
        return tuple(class_labels(found, who="SklearnAdapter.classes").tolist())

    def dump(self, estimator: Any) -> bytes:
        """Return `estimator` in the skops format; see `sklearn_bytes.to_bytes`."""
        return to_bytes(estimator)

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> Any:
        """Return the estimator in `data`; see `sklearn_bytes.from_bytes`."""
        return from_bytes(data, trust)

    def ready(self, estimator: Any, signature: Signature) -> Any:
        """Return `estimator` so that it takes matrices where it can; see `sklearn_ready`."""
        return ready(estimator, signature)

    def environment(self) -> dict[str, str]:
        """Return the versions of Python and of the four libraries that the bytes need."""
        return {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
            "skops": skops.__version__,
        }


def _tried(who: str, estimator: Any, verb: Any, *inputs: Any, **named: Any) -> Any:
    """Call scikit-learn; what it says of rows that it does not take becomes `Invalid`."""
    try:
        return verb(*inputs, **named)
    except RenewalError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise Invalid(
            who,
            needs=f"rows that {type(estimator).__name__} takes",
            came=f"{type(error).__name__}: {error}",
            todo="Compare the rows with those of the fit: their columns, types and gaps.",
        ) from error


def _scores(found: Any, n_rows: int, n_scores: int, estimator: Any) -> Scores:
    scores = np.ascontiguousarray(found, dtype=np.float64)
    scores = scores[:, np.newaxis] if scores.ndim == 1 else scores
    if scores.shape != (n_rows, n_scores):
        raise Invalid(
            "SklearnAdapter.predict",
            needs=f"{n_scores} scores for each of {n_rows} rows",
            came=f"shape {scores.shape} from {type(estimator).__name__}",
            todo="Use an estimator with one target.",
        )
    return scores


def _demand_known(classes: Classes, labels: Labels, *, who: str) -> None:
    unknown = sorted_classes(labels) if classes else ()
    unknown = tuple(label for label in unknown if label not in classes)
    if unknown:
        raise Invalid(
            who,
            needs=f"labels of the classes that the model knows: {', '.join(map(repr, classes))}",
            came=f"also {', '.join(map(repr, unknown))}",
            todo="Use the strategy retrain, which learns new classes.",
            classes=unknown,
        )
