"""The adapter of last resort: any object with ``fit`` and ``predict``, by its import path."""

from __future__ import annotations

import copy
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.plugin import plugin_names
from renewal.core.spec import Signature
from renewal.models.contract import Capabilities, Way, Weights
from renewal.models.labels import Labels, class_labels, dense, sorted_classes
from renewal.models.python_bytes import foreign, from_bytes, path_of, to_bytes
from renewal.models.python_parts import (
    demand_probabilities,
    fresh,
    is_json,
    parameters,
    tried,
    weight_parameter,
)
from renewal.models.sklearn_frames import frame, matrix
from renewal.models.space import Space
from renewal.models.task import Classes, Scores
from renewal.models.weights import checked_weights

_UNKNOWN = "nothing is known of its fit but that it starts anew"


@dataclass(frozen=True, slots=True, eq=False)
class PythonModel:
    """An object of one's own with what the adapter knows of it.

    Parameters
    ----------
    thing : object
        Fitted.
    classes : tuple, default ()
        What the columns of its probabilities mean; empty for numbers.
    columns : tuple of str, default ()
        That it was fitted on, in order; empty: not checked.
    names : bool, default True
        Whether it sees a pandas frame with names, or a matrix.
    """

    thing: Any
    classes: Classes = ()
    columns: tuple[str, ...] = ()
    names: bool = True


class PythonAdapter:
    """Fits, predicts and stores any object that has ``fit(X, y)`` and ``predict(X)``.

    A classifier has ``predict_proba(X)`` besides, with the columns in the order of its
    ``classes_``, or of the sorted labels where it has none. Rows reach it as a pandas frame, or
    as a matrix. A copy that is not fitted is made of its class and of the parameters of its
    constructor, as ``get_params()`` or the attributes of their names tell them. Fitted objects
    are `PythonModel` records.

    Stored are its import path, and its state: what ``to_bytes()`` returns and ``from_bytes``
    takes, where its class has both, and else its attributes as far as they are plain values
    and arrays. To load it, its import path must be in the operator's `trust`: loading runs
    the module.

    Notes
    -----
    Optional, and used where they are there: ``partial_fit(X, y)``; a parameter
    ``sample_weight`` of ``fit``; a parameter ``random_state`` or ``seed`` of the constructor;
    ``search_space()``, which returns `Dimension` records by parameter.

    Examples
    --------
    >>> from renewal.models.python_bytes import path_of
    >>> class Mean:
    ...     def fit(self, X, y):
    ...         self.mean = float(y.mean())
    ...     def predict(self, X):
    ...         return np.full(len(X), self.mean)
    >>> rows = pa.table({"hour": [1.0, 2.0]})
    >>> adapter = PythonAdapter()
    >>> fitted = adapter.fit(Mean(), rows, np.array([10.0, 20.0]))
    >>> adapter.predict(fitted, rows).tolist()
    [[15.0], [15.0]]
    """

    name: str = "python"
    reads_forward: tuple[str, ...] = ()

    def accepts(self, estimator: Any) -> bool:
        """Say whether it has ``fit`` and ``predict``, and no library's adapter is its own."""
        if isinstance(estimator, PythonModel):
            return True
        root = type(estimator).__module__.partition(".")[0]
        if isinstance(estimator, type) or root in plugin_names("adapters"):
            return False
        return all(callable(getattr(estimator, verb, None)) for verb in ("fit", "predict"))

    def capabilities(self, estimator: Any) -> Capabilities:
        """Say whether it has a ``partial_fit``; nothing else is known of it."""
        thing = _thing(estimator)
        why_not = {"continue": _UNKNOWN}
        able = callable(getattr(thing, "partial_fit", None))
        if able:
            why_not["new_classes"] = "nothing is known of how it keeps its classes apart"
        else:
            why_not["partial_fit"] = f"{type(thing).__qualname__} has no partial_fit"
        return Capabilities(can_partial_fit=able, why_not=why_not)

    def fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        names: bool = True,
        seed: int | None = None,
        weights: Weights | None = None,
    ) -> PythonModel:
        """Return a fitted object of the same class and parameters.

        Raises
        ------
        Invalid
            When its parameters are not known, it gives no probabilities for classes, cannot
            weigh rows, or does not take the rows.
        """
        who = "PythonAdapter.fit"
        thing = fresh(_thing(estimator), {}, seed, who=who)
        options = {}
        if weights is not None:
            checked = checked_weights(weights, features.num_rows, who=who)
            options = {weight_parameter(thing, who=who): checked}
        classes: Classes = ()
        if labels.dtype == object:
            classes = sorted_classes(labels)
            demand_probabilities(thing, who=who)
        rows = _rows(features, names=names)
        tried(who, thing.fit, rows, dense(labels), **options)
        model = PythonModel(thing, classes, tuple(features.column_names), names)
        return replace(model, classes=_own_classes(thing, who=who) or classes)

    def partial_fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        seed: int | None = None,  # noqa: ARG002  # goes on with its own random state
    ) -> PythonModel:
        """Return a deep copy of a fitted object that has taken in further rows.

        Raises
        ------
        Invalid
            When it has no ``partial_fit``, or on a class that it does not know.
        """
        who = "PythonAdapter.partial_fit"
        possible = self.capabilities(estimator)
        if not possible.can_partial_fit:
            raise _impossible(who, "an object with partial_fit", possible.why_not["partial_fit"])
        model = _model(estimator)
        known = self.classes(model)
        unknown = [label for label in sorted_classes(labels) if label not in known] if known else []
        if unknown:
            raise Invalid(
                who,
                needs=f"labels of the classes that it knows: {', '.join(map(repr, known))}",
                came=f"also {', '.join(map(repr, unknown))}",
                todo="Use the strategy retrain, which learns new classes.",
                classes=tuple(unknown),
            )
        grown = copy.deepcopy(model.thing)
        tried(who, grown.partial_fit, self._inputs(model, features, who=who), dense(labels))
        return replace(model, thing=grown)

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
    ) -> PythonModel:
        """Refuse: nothing is known of its fit."""
        raise _impossible("PythonAdapter.continue_fit", f"a fit to continue by {way!r}", _UNKNOWN)

    def params(self, estimator: Any) -> Mapping[str, Any]:
        """Return the parameters of its constructor that JSON can hold."""
        found = parameters(_thing(estimator), who="PythonAdapter.params")
        return {name: value for name, value in found.items() if is_json(value)}

    def with_params(self, estimator: Any, params: Mapping[str, Any]) -> Any:
        """Return an unfitted object with other parameters.

        Raises
        ------
        Invalid
            On a name that its constructor does not have, or when it refuses a value.
        """
        return fresh(_thing(estimator), params, None, who="PythonAdapter.with_params")

    def search_space(self, estimator: Any) -> Space:
        """Return what its own ``search_space()`` says; empty where it has none."""
        own = getattr(_thing(estimator), "search_space", None)
        return dict(own()) if callable(own) else {}

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        """Return probabilities of shape (n_rows, n_classes), or values of shape (n_rows, 1).

        Raises
        ------
        Invalid
            When a column is missing, it does not take the rows, or answers with another shape.
        """
        who = "PythonAdapter.predict"
        model = _model(estimator)
        classes = self.classes(model)
        n_scores = len(classes) or 1
        if features.num_rows == 0:
            return np.empty((0, n_scores))
        inputs = self._inputs(model, features, who=who)
        verb = model.thing.predict_proba if classes else model.thing.predict
        scores = np.ascontiguousarray(tried(who, verb, inputs), dtype=np.float64)
        scores = scores[:, np.newaxis] if scores.ndim == 1 else scores
        if scores.shape != (features.num_rows, n_scores) or not np.isfinite(scores).all():
            raise Invalid(
                who,
                needs=f"{n_scores} finite scores for each of {features.num_rows} rows",
                came=f"shape {scores.shape}, {int((~np.isfinite(scores)).sum())} not finite",
                todo=f"Correct {path_of(model.thing)}.",
            )
        return scores

    def classes(self, estimator: Any) -> Classes:
        """Return what the columns of its probabilities mean, sorted; empty for numbers.

        Raises
        ------
        Invalid
            When an object with ``predict_proba`` that was fitted elsewhere does not say.
        """
        model = _model(estimator)
        if model.classes or not hasattr(model.thing, "predict_proba"):
            return model.classes
        found = _own_classes(model.thing, who="PythonAdapter.classes")
        if not found and not isinstance(estimator, PythonModel):
            raise Invalid(
                "PythonAdapter.classes",
                needs="the classes of an object that was fitted elsewhere",
                came=f"a {path_of(model.thing)} without classes_",
                todo="Give it classes_, or wrap it: PythonModel(object, classes=(...)).",
            )
        return found

    def dump(self, estimator: Any) -> bytes:
        """Return its import path and its state; see `python_bytes.to_bytes`."""
        model = _model(estimator)
        facts = {
            "classes": list(self.classes(model)),
            "columns": list(model.columns),
            "names": model.names,
        }
        return to_bytes(model.thing, facts)

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> PythonModel:
        """Return the object in `data`, if its class is trusted; see `python_bytes.from_bytes`."""
        thing, facts = from_bytes(data, trust)
        try:
            return PythonModel(
                thing, tuple(facts["classes"]), tuple(facts["columns"]), bool(facts["names"])
            )
        except (KeyError, TypeError) as error:
            raise foreign(data, f"{type(error).__name__}: {error}") from error

    def ready(self, estimator: Any, signature: Signature) -> Any:  # noqa: ARG002  # part of the contract
        """Return `estimator` as it is."""
        return estimator

    def environment(self) -> dict[str, str]:
        """Return the versions of Python and of NumPy; what else it needs, it must know."""
        return {"python": platform.python_version(), "numpy": np.__version__}

    def _inputs(self, model: PythonModel, features: pa.Table, *, who: str) -> Any:
        missing = [name for name in model.columns if name not in features.column_names]
        if missing:
            raise Invalid(
                who,
                needs=f"the columns {', '.join(model.columns)}",
                came=f"none called {', '.join(map(repr, missing))}",
                todo="Send every column of the signature.",
                columns=missing,
            )
        chosen = features.select(list(model.columns)) if model.columns else features
        return _rows(chosen, names=model.names)


def _model(estimator: Any) -> PythonModel:
    return estimator if isinstance(estimator, PythonModel) else PythonModel(estimator)


def _thing(estimator: Any) -> Any:
    return _model(estimator).thing


def _rows(features: pa.Table, *, names: bool) -> Any:
    return frame(features) if names else matrix(features)


def _own_classes(thing: Any, *, who: str) -> Classes:
    found = getattr(thing, "classes_", None)
    return () if found is None else tuple(class_labels(found, who=who).tolist())


def _impossible(who: str, needs: str, reason: str) -> Invalid:
    return Invalid(who, needs=needs, came=reason, todo="Use the strategy retrain.")
