"""What LightGBM and XGBoost share: every verb of an adapter but those of the library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.core.spec import Signature
from renewal.models.boosters_bytes import from_bytes, not_ours, to_bytes
from renewal.models.boosters_library import Boosted, BoosterLibrary, Job
from renewal.models.boosters_recipe import demand_known, plain_params
from renewal.models.boosters_rows import (
    checked_weights,
    matrix_of,
    target_of,
    texts_of,
)
from renewal.models.contract import Capabilities, Way, Weights
from renewal.models.labels import Labels
from renewal.models.space import Space
from renewal.models.task import Classes, Scores

_NO_PARTIAL_FIT = (
    "boosted trees learn in rounds over all rows at hand; continue_fit adds rounds on new ones"
)
_NO_NEW_CLASSES = (
    "each round grows one tree for each class of the first fit; a further class has none"
)


class BoosterAdapter(BoosterLibrary):
    """The verbs of an adapter of boosted trees."""

    def accepts(self, estimator: Any) -> bool:
        """Say whether it is one of the library's two estimators, or a fit of this adapter.

        A subclass is none: its code would not be stored.
        """
        if isinstance(estimator, Boosted):
            return estimator.library == self.name
        return type(estimator) in self._recipes

    def capabilities(self, estimator: Any) -> Capabilities:
        """Say that its fit can be continued, that it grows by it, and why not the rest."""
        _, params = self._recipe(estimator, who=self._who("capabilities"), strict=False)
        why_not = {"partial_fit": _NO_PARTIAL_FIT, "new_classes": _NO_NEW_CLASSES}
        reason = self._why_not_continued(params)
        if reason is not None:
            why_not["continue"] = reason
        fitted = isinstance(estimator, Boosted) or self._is_fitted(estimator)
        # Measured live (bench.update.going_on): old trees below new ones keep voting for a
        # world that is gone, so that boosting ends near never updating, or worse.
        ways: tuple[Way, ...] = ("leaves", "boost")
        return Capabilities(
            can_partial_fit=False,
            can_continue_on_new_data=reason is None,
            ways=ways if reason is None else (),
            grows=True,
            size=self._n_trees(self._model(estimator, "capabilities").booster) if fitted else None,
            why_not=why_not,
        )

    def fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        names: bool = True,  # noqa: ARG002  # part of the contract; columns are always stored
        seed: int | None = None,
        weights: Weights | None = None,
    ) -> Boosted:
        """Return a fit from nothing by the recipe of `estimator`, fitted or not.

        A fit is never continued because the estimator happens to hold one: that is
        `continue_fit`, said aloud (dmlc/xgboost#6536).

        Parameters
        ----------
        estimator : object
            Of the library, or a fit of this adapter.
        features : pyarrow.Table
            Numbers, booleans and texts; texts become categories.
        labels : ndarray of shape (n_rows,)
            As `Task.labels` returns them.
        names : bool
            Of no effect: columns are kept by name.
        seed : int or None
            Fills ``random_state`` where that is None; the recipe stays without one.
        weights : ndarray of float64 or None, shape (n_rows,)
            Above zero.

        Raises
        ------
        Invalid
            On rows or a recipe that the library does not take, one class, or a recipe that
            holds code.
        """
        who = self._who("fit")
        is_classifier, params = self._recipe(estimator, who=who)
        target, classes = target_of(
            labels, None, features.num_rows, is_classifier=is_classifier, who=who
        )
        model = Boosted(
            self.name,
            is_classifier,
            params,
            None,
            tuple(features.column_names),
            texts_of(features),
            classes,
        )
        job = self._job(model, features, target, seed=seed, weights=weights, who=who)
        return replace(model, booster=self._tried(who, lambda: self._train(job)))

    def partial_fit(
        self,
        estimator: Any,  # noqa: ARG002  # part of the contract
        features: pa.Table,  # noqa: ARG002  # the same
        labels: Labels,  # noqa: ARG002  # the same
        *,
        seed: int | None = None,  # noqa: ARG002  # the same
    ) -> Any:
        """Raise `Invalid`: `continue_fit` is how boosted trees go on."""
        raise Invalid(
            self._who("partial_fit"),
            needs="an estimator that can take in further rows",
            came=_NO_PARTIAL_FIT,
            todo="Continue the fit by the way boost or leaves, or use the strategy retrain.",
        )

    def continue_fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        way: Way,
        rounds: int = 10,
        decay: float = 0.9,
        seed: int | None = None,
    ) -> Boosted:
        """Return a copy of a fit that was continued on further rows; the recipe stays.

        Parameters
        ----------
        estimator : object
            Fitted; not changed.
        features : pyarrow.Table
            With the columns of the fit. A text that the fit has not seen is missing.
        labels : ndarray of shape (n_rows,)
            Of classes that the fit has seen; not all need occur.
        way : {"boost", "leaves"}
            More trees on top, or the old trees with new leaf values.
        rounds : int >= 1, default 10
            Of ``boost``.
        decay : float in [0, 1], default 0.9
            Of ``leaves``: the share of the old value in the new.
        seed : int or None
            As for `fit`.

        Raises
        ------
        Invalid
            On a class that it does not know, before the library sees it; on rows or a recipe
            that cannot be continued.
        """
        who = self._who("continue_fit")
        model = self._model(estimator, "continue_fit")
        reason = self._why_not_continued(model.params)
        if reason is not None or way not in {"boost", "leaves"}:
            raise Invalid(
                who,
                needs="a fit that can be continued by the way 'boost' or 'leaves'",
                came=reason or repr(way),
                todo="Use the strategy retrain.",
            )
        if rounds < 1 or not 0.0 <= decay <= 1.0:
            raise Invalid(
                who,
                needs="rounds of at least 1, and a decay from 0 to 1",
                came=f"rounds={rounds}, decay={decay}",
                todo="Correct the options.",
            )
        target, _ = target_of(
            labels, model.classes, features.num_rows, is_classifier=model.is_classifier, who=who
        )
        job = self._job(model, features, target, seed=seed, weights=None, who=who)
        if way == "boost":
            booster = self._tried(who, lambda: self._more(job, model.booster, rounds))
        else:
            booster = self._tried(who, lambda: self._leaves(job, model.booster, decay))
        return replace(model, booster=booster)

    def params(self, estimator: Any) -> Mapping[str, Any]:
        """Return the recipe's parameters that are JSON values."""
        return self._recipe(estimator, who=self._who("params"), strict=False)[1]

    def with_params(self, estimator: Any, params: Mapping[str, Any]) -> Any:
        """Return the library's own estimator, unfitted, with other parameters.

        Raises
        ------
        Invalid
            On a name that the recipe does not have: the library would pass over a slip of
            the pen in silence.
        """
        who = self._who("with_params")
        is_classifier, known = self._recipe(estimator, who=who, strict=False)
        if not isinstance(estimator, Boosted):
            known = estimator.get_params()
        demand_known(params, {*known, *self._space}, who=who)
        return self._estimator(is_classifier, {**known, **params})

    def search_space(self, estimator: Any) -> Space:  # noqa: ARG002  # part of the contract
        """Return the dimensions that matter most in boosted trees."""
        return self._space

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        """Return probabilities of shape (n_rows, n_classes), or values of shape (n_rows, 1).

        Parameters
        ----------
        estimator : object
            Fitted.
        features : pyarrow.Table
            Rows; none give none.

        Raises
        ------
        Invalid
            When a column is missing or of another kind, or the fit has diverged.
        """
        who = self._who("predict")
        model = self._model(estimator, "predict")
        n_scores = len(model.classes) or 1
        if features.num_rows == 0:
            return np.empty((0, n_scores))
        matrix = matrix_of(features, model.columns, model.texts, who=who)
        raw = self._tried(who, lambda: self._raw(model, matrix))
        return _scores(np.asarray(raw, dtype=np.float64), features.num_rows, n_scores, who)

    def classes(self, estimator: Any) -> Classes:
        """Return what the columns of the scores mean; empty for values."""
        return self._model(estimator, "classes").classes

    def dump(self, estimator: Any) -> bytes:
        """Return a line of JSON and the library's own format; equal fits give equal bytes."""
        model = self._model(estimator, "dump")
        header = {
            "library": self.name,
            "is_classifier": model.is_classifier,
            "params": dict(model.params),
            "columns": model.columns,
            "texts": model.texts,
            "classes": model.classes,
        }
        return to_bytes(header, self._written(model.booster))

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> Boosted:  # noqa: ARG002  # nothing in the format needs leave
        """Return the fit in `data`.

        Raises
        ------
        Invalid
            On bytes of another adapter, or damaged ones.
        """
        who = self._who("load")
        header, payload = from_bytes(data, who=who)
        if header.get("library") != self.name:
            raise not_ours(who, f"a booster of {header.get('library')!r}")
        try:
            columns, params = header["columns"], dict(header["params"])
            return Boosted(
                self.name,
                bool(header["is_classifier"]),
                params,
                self._checked(payload, params),
                None if columns is None else tuple(columns),
                tuple(None if each is None else tuple(each) for each in header["texts"]),
                tuple(header["classes"]),
            )
        except self._errors as error:
            raise not_ours(who, str(error)) from error

    def ready(self, estimator: Any, signature: Signature) -> Any:  # noqa: ARG002  # part of the contract
        """Return `estimator`: it is called through the library's booster already."""
        return self._model(estimator, "ready")

    def _who(self, verb: str) -> str:
        return f"{type(self).__name__}.{verb}"

    def _estimator(self, is_classifier: bool, params: Mapping[str, Any]) -> Any:  # noqa: FBT001  # says which of two
        given = dict(params)
        if isinstance(given.get("class_weight"), list):
            given["class_weight"] = dict(given["class_weight"])
        return self._recipes[0 if is_classifier else 1](**given)

    def _recipe(
        self, estimator: Any, *, who: str, strict: bool = True
    ) -> tuple[bool, dict[str, Any]]:
        """Return whether it scores classes, and its parameters as JSON values."""
        if isinstance(estimator, Boosted):
            return estimator.is_classifier, dict(estimator.params)
        found = plain_params(estimator.get_params(), who=who, strict=strict)
        return isinstance(estimator, self._recipes[0]), found

    def _model(self, estimator: Any, verb: str) -> Boosted:
        """Return the fit; one that was made elsewhere is taken over."""
        if isinstance(estimator, Boosted):
            return estimator
        if not self._is_fitted(estimator):
            raise Invalid(
                self._who(verb),
                needs="a fitted estimator",
                came=f"a {type(estimator).__name__} that was not fitted",
                todo="Fit it first.",
            )
        is_classifier, params = self._recipe(estimator, who=self._who(verb))
        booster, columns, texts, best_rounds = self._adopted(estimator)
        if best_rounds is not None:
            params["n_estimators"] = best_rounds
            for name in ("early_stopping_rounds", "early_stopping_round"):
                if name in params:
                    params[name] = None
        classes = tuple(np.asarray(estimator.classes_).tolist()) if is_classifier else ()
        return Boosted(self.name, is_classifier, params, booster, columns, texts, classes)

    def _job(
        self,
        model: Boosted,
        features: pa.Table,
        target: NDArray[np.float64],
        *,
        seed: int | None,
        weights: Weights | None,
        who: str,
    ) -> Job:
        params = dict(model.params)
        if params.get("random_state") is None:
            params["random_state"] = seed
        return Job(
            params,
            model.is_classifier,
            model.classes,
            matrix_of(features, model.columns, model.texts, who=who),
            target,
            checked_weights(weights, len(target), who=who),
            tuple(features.column_names) if model.columns is None else model.columns,
            tuple(at for at, each in enumerate(model.texts) if each is not None),
        )

    def _tried(self, who: str, verb: Callable[[], Any]) -> Any:
        """Call the library; what it says of rows and recipes becomes `Invalid`."""
        try:
            return verb()
        except self._errors as error:
            said = str(error).partition("\nStack trace")[0].strip().rstrip(".")
            raise Invalid(
                who,
                needs=f"rows and a recipe that {self.name} takes",
                came=f"{type(error).__name__}: {said}",
                todo="Compare the rows with those of the fit, and the recipe with the library's "
                "parameters.",
            ) from error


def _scores(raw: NDArray[np.float64], n_rows: int, n_scores: int, who: str) -> Scores:
    """Return scores in the house's form."""
    if not np.isfinite(raw).all():
        raise Invalid(
            who,
            needs="a fit that scores finite numbers",
            came=f"{int((~np.isfinite(raw)).sum())} scores that are NaN or infinite",
            todo="The fit has diverged: lower its learning rate, or fit it again.",
        )
    if n_scores == 2 and raw.ndim == 1:
        raw = np.column_stack([1.0 - raw, raw])
    raw = raw[:, np.newaxis] if raw.ndim == 1 else raw
    if raw.shape != (n_rows, n_scores) or (n_scores > 1 and (raw.min() < 0 or raw.max() > 1)):
        raise Invalid(
            who,
            needs=f"{n_scores} {'probabilities' if n_scores > 1 else 'value'} a row",
            came=f"shape {raw.shape}, from {raw.min():g} to {raw.max():g}",
            todo="Use an objective that gives probabilities for classes, one value for numbers.",
        )
    # Single precision, and one-against-all objectives, do not sum to one.
    return raw / raw.sum(axis=1, keepdims=True) if n_scores > 2 else np.ascontiguousarray(raw)
