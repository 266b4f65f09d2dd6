"""The adapter of River: learners that take in one row after the other, as values.

References
----------
.. [1] https://riverml.xyz
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import river
from river import base

from renewal.core.errors import Invalid
from renewal.core.spec import Signature
from renewal.models.contract import Capabilities, Way, Weights
from renewal.models.labels import Labels
from renewal.models.river_bytes import copy_of, from_bytes, to_bytes
from renewal.models.river_learning import (
    demand_columns,
    demand_storable,
    demand_weights,
    knowing,
    learn,
    shares_of,
    tried,
    values_of,
)
from renewal.models.river_model import RiverModel, model_of
from renewal.models.river_parts import (
    GROWING,
    last_of,
    parts_of,
    plain_params,
    rebuilt,
    size_of,
)
from renewal.models.river_rows import answer_frame
from renewal.models.river_space import search_space
from renewal.models.space import Space
from renewal.models.task import Classes, Scores
from renewal.models.weights import checked_weights

_ROWS = "a learner of River takes in further rows one by one: partial_fit is its way to go on"
_TWO = "it tells two classes apart; multiclass.OneVsRestClassifier(...) around it takes in more"


class RiverAdapter:
    """Fits, goes on with, and stores River's classifiers, regressors and pipelines.

    A fit is a fresh learner that has gone through the rows in their order once; going on is
    the same with the learner as it is. A gap in a row is left out of it. Classes come out in
    order, with probabilities that sum to one; where a learner knows nothing of a row, all
    are equally likely. Fitted estimators are `RiverModel` records.

    Notes
    -----
    A row of Elec2 takes 5 microseconds in logistic regression, 20 in a Hoeffding tree and 650
    in a forest of ten.
    Most of its classifiers take in new classes as they come (`Capabilities`).

    Examples
    --------
    >>> from river import linear_model, preprocessing
    >>> rows = pa.table({"delay": [0.0, 1.0, 2.0, 3.0] * 10})
    >>> labels = np.array([False, False, True, True] * 10, dtype=object)
    >>> adapter = RiverAdapter()
    >>> recipe = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    >>> fitted = adapter.fit(recipe, rows, labels)
    >>> adapter.classes(fitted), adapter.predict(fitted, rows)[:, 1].round(1)[:4].tolist()
    ((False, True), [0.4, 0.5, 0.5, 0.6])
    """

    name: str = "river"
    reads_forward: tuple[str, ...] = ("river",)

    def accepts(self, estimator: Any) -> bool:
        """Say whether `estimator` is a classifier or regressor of River, or a `RiverModel`."""
        learner = estimator.learner if isinstance(estimator, RiverModel) else estimator
        if isinstance(learner, type | base.MultiLabelClassifier | base.MultiTargetRegressor):
            return False
        return isinstance(learner, base.Classifier | base.Regressor)

    def capabilities(self, estimator: Any) -> Capabilities:
        """Say that it goes on row by row, whether it takes in classes, and whether it grows.

        Trees and forests grow as long as rows come. Linear models and naive Bayes do not, and
        neighbors have a window of rows as their bound.
        """
        model = model_of(estimator)
        grows = any(
            type(part).__module__.startswith(GROWING) for _, part in parts_of(model.learner)
        )
        why_not = {"continue": _ROWS}
        if model.is_classifier and not model.is_multiclass:
            why_not["new_classes"] = _TWO
        return Capabilities(
            can_partial_fit=True,
            accepts_new_classes=model.is_multiclass,
            grows=grows,
            size=(size_of(model.learner) or 1) if grows else None,
            why_not=why_not,
        )

    def fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        names: bool = True,  # noqa: ARG002  # rows of River always have names
        seed: int | None = None,
        weights: Weights | None = None,
    ) -> RiverModel:
        """Return a fresh learner that has gone through the rows once, in their order.

        Parameters
        ----------
        estimator : object
            A learner or a `RiverModel`, trained or not.
        features : pyarrow.Table
            Rows, the oldest first.
        labels : ndarray of shape (n_rows,)
            As `Task.labels` returns them.
        names : bool
            Not used.
        seed : int or None
            Fills every ``seed`` that is None.
        weights : float64 ndarray of shape (n_rows,) or None
            How much each row counts, where the learner has a ``w``.

        Raises
        ------
        Invalid
            When it gives no probabilities, cannot weigh rows, tells only two classes apart
            and more came, or does not take the rows.
        """
        who = "RiverAdapter.fit"
        model = model_of(estimator)
        demand_storable(model, who=who)
        seeds = {
            path: seed
            for path, value in plain_params(model.untrained).items()
            if value is None and path.rpartition("__")[2] == "seed" and seed is not None
        }
        fresh = RiverModel(
            rebuilt(model.untrained, seeds),
            rows_at_once=model.rows_at_once,
            columns=tuple(features.column_names),
            recipe=rebuilt(model.untrained, seeds),
        )
        if weights is not None:
            demand_weights(fresh, who=who)
            weights = checked_weights(weights, features.num_rows, who=who)
        fresh = knowing(fresh, labels, who=who)
        learn(fresh, features, labels, weights, who=who)
        self._demand_probabilities(fresh, features)
        return fresh

    def partial_fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        seed: int | None = None,  # noqa: ARG002  # goes on with its own random state
    ) -> RiverModel:
        """Return a copy of a trained learner that has gone through further rows.

        Parameters
        ----------
        estimator : RiverModel
            Trained; not changed.
        features : pyarrow.Table
            Rows that it has not seen, the oldest first.
        labels : ndarray of shape (n_rows,)
            Also of classes that it does not know, where it takes them in.
        seed : int or None
            Not used: it goes on with the random state that it has.

        Raises
        ------
        Invalid
            On a class that it cannot take in, or rows that it does not take.
        """
        who = "RiverAdapter.partial_fit"
        model = model_of(estimator)
        # Not deepcopy: the trees of a forest may be deeper than the stack.
        model = replace(model, learner=copy_of(model.learner), classes=self.classes(model))
        model = knowing(model, labels, who=who)
        learn(model, features, labels, None, who=who)
        return model

    def continue_fit(
        self,
        estimator: Any,  # noqa: ARG002  # part of the contract
        features: pa.Table,  # noqa: ARG002  # part of the contract
        labels: Labels,  # noqa: ARG002  # part of the contract
        *,
        way: Way,
        rounds: int = 10,  # noqa: ARG002  # part of the contract
        decay: float = 0.9,  # noqa: ARG002  # part of the contract
        seed: int | None = None,  # noqa: ARG002  # part of the contract
    ) -> RiverModel:
        """Refuse: River's learners go on by `partial_fit`."""
        raise Invalid(
            "RiverAdapter.continue_fit",
            needs=f"an estimator whose fit can be continued by {way!r}",
            came=_ROWS,
            todo="Use partial_fit.",
        )

    def params(self, estimator: Any) -> Mapping[str, Any]:
        """Return the plain parameters of all parts, by path."""
        return plain_params(model_of(estimator).untrained)

    def with_params(self, estimator: Any, params: Mapping[str, Any]) -> Any:
        """Return an untrained recipe with other parameters, by path.

        Raises
        ------
        Invalid
            On a path that it does not have; the nearest is offered.
        """
        model = model_of(estimator)
        known = plain_params(model.untrained)
        unknown = sorted(set(params) - set(known))
        if unknown:
            near = get_close_matches(unknown[0], known, n=1)
            raise Invalid(
                "RiverAdapter.with_params",
                needs=f"parameters of {last_of(model.learner)}",
                came=repr(unknown[0]),
                todo=f"Did you mean {near[0]!r}?" if near else "See RiverAdapter.params.",
                params=unknown,
            )
        learner = tried("RiverAdapter.with_params", rebuilt, model.untrained, params)
        return RiverModel(learner, rows_at_once=model.rows_at_once)

    def search_space(self, estimator: Any) -> Space:
        """Return what is worth tuning; see `river_space`."""
        return search_space(model_of(estimator).untrained)

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        """Return probabilities of shape (n_rows, n_classes), or values of shape (n_rows, 1).

        Parameters
        ----------
        estimator : RiverModel
            Trained.
        features : pyarrow.Table
            Rows; none give none.

        Raises
        ------
        Invalid
            When the learner does not take the rows, or answers with what is no number.
        """
        model, who = model_of(estimator), "RiverAdapter.predict"
        classes = self.classes(model)
        scores = np.empty((features.num_rows, len(classes) or 1))
        if not features.num_rows:
            return scores
        demand_columns(model, features, who=who)
        frame = answer_frame(model.learner, features)
        if not model.is_classifier:
            scores[:, 0] = tried(who, values_of, model.learner, features, frame)
        else:
            keys = classes if model.is_multiclass else (False, True)
            scores[:] = tried(who, shares_of, model.learner, features, frame, keys)
        if not np.isfinite(scores).all():
            raise Invalid(
                who,
                needs="a learner whose scores are numbers",
                came=f"{int((~np.isfinite(scores)).any(axis=1).sum())} rows with NaN or infinity",
                todo="It has diverged: scale its inputs, lower its learning rate, fit it again.",
            )
        return scores

    def classes(self, estimator: Any) -> Classes:
        """Return the classes that it has learned, sorted; empty for numbers.

        Raises
        ------
        Invalid
            When a bare learner of any number of classes does not say which it knows.
        """
        model = model_of(estimator)
        if not model.is_classifier or model.classes:
            return model.classes
        if not model.is_multiclass:
            return (False, True)
        raise Invalid(
            "RiverAdapter.classes",
            needs="the classes of a learner that was trained elsewhere",
            came=f"a bare {last_of(model.learner)}",
            todo="Wrap it: RiverModel(learner, classes=(...)), from renewal.models.river_model.",
        )

    def dump(self, estimator: Any) -> bytes:
        """Return `estimator` as plain data; see `river_bytes.to_bytes`."""
        model = model_of(estimator)
        return to_bytes([getattr(model, field.name) for field in fields(RiverModel)])

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> RiverModel:
        """Return the estimator in `data`; see `river_bytes.from_bytes`."""
        found = from_bytes(data, trust)
        is_whole = isinstance(found, list) and len(found) == len(fields(RiverModel))
        if not is_whole or not self.accepts(found[0]):
            raise Invalid(
                "RiverAdapter.load",
                needs="a classifier or regressor of River",
                came=f"a {type(found).__name__}",
                todo="Register the model again.",
            )
        return RiverModel(*found)

    def ready(self, estimator: Any, signature: Signature) -> Any:  # noqa: ARG002  # part of the contract
        """Return `estimator` as it is."""
        return estimator

    def environment(self) -> dict[str, str]:
        """Return the versions of Python and of the libraries that the bytes need."""
        return {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "river": river.__version__,
        }

    def _demand_probabilities(self, model: RiverModel, features: pa.Table) -> None:
        if not model.is_classifier or not features.num_rows:
            return
        try:
            self.predict(model, features.slice(0, 1))
        except NotImplementedError as error:
            name = type(last_of(model.learner)).__name__
            raise Invalid(
                "RiverAdapter.fit",
                needs="a classifier with predict_proba_one: losses and gates compare probabilities",
                came=f"{name}, which only decides",
                todo="Take another learner, such as linear_model.LogisticRegression.",
            ) from error
