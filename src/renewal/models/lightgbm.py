"""The adapter of LightGBM: gradient-boosted trees as a value.

References
----------
.. [1] https://lightgbm.readthedocs.io/en/stable/Parameters.html
"""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import lightgbm
import numpy as np

from renewal.core.errors import Invalid
from renewal.models.boosters import BoosterAdapter
from renewal.models.boosters_bytes import not_ours
from renewal.models.boosters_library import Boosted, Job
from renewal.models.boosters_rows import Matrix, Texts
from renewal.models.contract import Weights
from renewal.models.lightgbm_bounds import why_unsound
from renewal.models.space import Dimension, Space

# The library's own other words, which would silently win over what this adapter sets.
_ROUNDS = ("num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees", "num_round",
           "num_rounds", "nrounds", "num_boost_round", "max_iter", "n_estimators")  # fmt: skip
_STOPPING = ("early_stopping_round", "early_stopping_rounds", "early_stopping", "n_iter_no_change")
_CATEGORIES = ("categorical_feature", "cat_feature", "categorical_column", "cat_column",
               "categorical_features")  # fmt: skip
_MANY = ("multiclass", "softmax", "multiclassova", "multiclass_ova", "ova", "ovr")
_UNNAMED = re.compile(r"Column_\d+")
_CATEGORICAL = re.compile(r"^\[categorical_feature: ([\d,]+)\]$", re.MULTILINE)


class LightGbmAdapter(BoosterAdapter):
    """Fits, continues, predicts and stores LightGBM's classifier and regressor.

    Rows reach the library as one matrix; columns of texts are categories whose codes are
    stored with the model. The fit is deterministic whatever the number of threads, and is
    stored in the library's text format.

    Notes
    -----
    ``boost`` (``init_model``): 20 rounds and then 40 are 60 in one go to the bit, on the same
    rows and without sampling of rows or columns. The bins are found anew on the new rows and
    the old trees read the numbers themselves, so a change of scale does no harm.
    ``leaves`` (``refit``): a leaf becomes `decay` of its old value and the rest of what the
    new rows say; a leaf that none of them reaches shrinks to `decay` of its value.
    Rows of a single class are refused by both ways: LightGBM then adds no tree, and shrinks
    every leaf, without a word.
    One row through 200 trees takes 0.05 ms, of which 0.02 ms are the library's; the library's
    own wrapper takes 0.6 ms. Two columns of texts add 0.02 ms.

    Examples
    --------
    >>> import pyarrow as pa
    >>> rows = pa.table({"delay": np.arange(40.0), "airport": ["EWR", "JFK"] * 20})
    >>> labels = np.array(["late" if row >= 20 else "in time" for row in range(40)], dtype=object)
    >>> adapter = LightGbmAdapter()
    >>> recipe = lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, min_child_samples=5)
    >>> fitted = adapter.fit(recipe, rows, labels, seed=0)
    >>> grown = adapter.continue_fit(fitted, rows, labels, way="boost", rounds=3)
    >>> adapter.classes(grown), adapter.capabilities(grown).size
    (('in time', 'late'), 8)
    """

    name = "lightgbm"
    reads_forward = ("lightgbm",)
    _recipes = (lightgbm.LGBMClassifier, lightgbm.LGBMRegressor)
    _errors = (lightgbm.basic.LightGBMError, ValueError, TypeError, KeyError)
    _space: ClassVar[Space] = MappingProxyType(
        {
            "n_estimators": Dimension(50, 500, log=True),
            "learning_rate": Dimension(0.01, 0.3, log=True),
            "num_leaves": Dimension(7, 255, log=True),
            "min_child_samples": Dimension(5, 200, log=True),
            "subsample": Dimension(0.5, 1.0),
            # Without it LightGBM passes over subsample.
            "subsample_freq": Dimension(choices=(1,)),
            "colsample_bytree": Dimension(0.4, 1.0),
            "reg_alpha": Dimension(1e-8, 10.0, log=True),
            "reg_lambda": Dimension(1e-8, 10.0, log=True),
        }
    )

    def environment(self) -> dict[str, str]:
        """Return the versions of Python and of the two libraries that the bytes need."""
        return {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "lightgbm": lightgbm.__version__,
        }

    def _train(self, job: Job) -> Any:
        return self._boosted(job, _rounds(job.params), None)

    def _more(self, job: Job, booster: Any, rounds: int) -> Any:
        _demand_two_classes(job)
        return self._boosted(job, rounds, booster)

    def _leaves(self, job: Job, booster: Any, decay: float) -> Any:
        _demand_two_classes(job)
        refitted = booster.refit(
            job.matrix,
            job.target,
            decay_rate=decay,
            weight=_weights(job),
            categorical_feature=list(job.texts) or "auto",
        )
        return self._read(self._written(refitted), job.params)

    def _boosted(self, job: Job, rounds: int, before: Any) -> Any:
        settings = _settings(job)
        rows = lightgbm.Dataset(
            job.matrix,
            job.target,
            weight=_weights(job),
            categorical_feature=list(job.texts) or "auto",
            params=dict(settings),
        )
        booster = lightgbm.train(settings, rows, num_boost_round=rounds, init_model=before)
        # What was fitted and what was loaded are then one thing, which goes on alike.
        return self._read(self._written(booster), job.params)

    def _raw(self, model: Boosted, matrix: Matrix) -> Any:
        n_jobs = model.params.get("n_jobs")
        return model.booster.predict(matrix, **({"num_threads": n_jobs} if n_jobs else {}))

    def _written(self, booster: Any) -> bytes:
        return bytes(booster.model_to_string().encode())

    def _read(self, payload: bytes, params: Mapping[str, Any]) -> Any:  # noqa: ARG002  # says at each call how many threads
        return lightgbm.Booster(model_str=payload.decode())

    def _checked(self, payload: bytes, params: Mapping[str, Any]) -> Any:
        # Before the library sees it: it ends the process on a tree that ends too soon.
        reason = why_unsound(payload.decode())
        if reason is not None:
            raise not_ours("LightGbmAdapter.load", reason)
        return self._read(payload, params)

    def _n_trees(self, booster: Any) -> int:
        return int(booster.num_trees())

    def _is_fitted(self, estimator: Any) -> bool:
        return bool(estimator.__sklearn_is_fitted__())

    def _adopted(self, estimator: Any) -> tuple[Any, tuple[str, ...] | None, Texts, int | None]:
        own = estimator.booster_
        booster = self._read(self._written(own), {})
        names = tuple(own.feature_name())
        is_named = not all(_UNNAMED.fullmatch(name) for name in names)
        found: list[tuple[str, ...] | None] = [None] * len(names)
        categories = own.pandas_categorical or []
        for at, seen in zip(_places(own, categories), categories, strict=True):
            found[at] = _texts(names[at], seen)
        best = own.best_iteration
        return booster, names if is_named else None, tuple(found), best if best > 0 else None

    def _why_not_continued(self, params: Mapping[str, Any]) -> str | None:
        kind = params.get("boosting", params.get("boosting_type", "gbdt"))
        if kind not in {"gbdt", "gbrt", "goss"}:
            return f"boosting_type={kind!r} weighs old trees by how many there are in all"
        if params.get("linear_tree"):
            return "linear_tree=True keeps linear models in its leaves"
        return None


def _rounds(params: Mapping[str, Any]) -> int:
    return next(int(params[name]) for name in _ROUNDS if params.get(name) is not None)


def _settings(job: Job) -> dict[str, Any]:
    """Return the recipe in the library's own words."""
    given = {name: value for name, value in job.params.items() if value is not None}
    for name in (*_STOPPING, *_CATEGORIES):
        if given.get(name):
            raise Invalid(
                "LightGbmAdapter.fit",
                needs="a recipe that needs no validation rows and takes texts as categories",
                came=f"{name}={given[name]!r}",
                todo="Leave it out; tune n_estimators, and hand in categories as texts.",
            )
    for name in (*_ROUNDS, *_STOPPING, *_CATEGORIES, "class_weight", "importance_type"):
        given.pop(name, None)
    if "verbose" not in given:
        given.setdefault("verbosity", -1)
    given.setdefault("deterministic", True)
    if not given.get("force_col_wise"):
        given.setdefault("force_row_wise", True)
    if job.is_classifier:
        n_classes = len(job.classes)
        given.setdefault("objective", "multiclass" if n_classes > 2 else "binary")
        if given["objective"] in _MANY:
            given["num_class"] = n_classes
    else:
        given.setdefault("objective", "regression")
    return given


def _weights(job: Job) -> Weights | None:
    """Return the weights of the rows times those that the recipe gives their classes."""
    wanted = job.params.get("class_weight")
    if not wanted or not job.is_classifier:
        return job.weights
    places = job.target.astype(np.intp)
    if wanted == "balanced":
        counts = np.bincount(places, minlength=len(job.classes))
        by_class = len(places) / ((counts > 0).sum() * np.maximum(counts, 1))
    else:
        given = dict(wanted if isinstance(wanted, list) else wanted.items())
        by_class = np.array([float(given.get(label, 1.0)) for label in job.classes])
    weights: Weights = by_class[places] * (1.0 if job.weights is None else job.weights)
    return weights


def _demand_two_classes(job: Job) -> None:
    """LightGBM takes one class for a job that is done: it adds no tree, and shrinks leaves."""
    if job.is_classifier and len(np.unique(job.target)) < 2:
        raise Invalid(
            "LightGbmAdapter.continue_fit",
            needs="rows of at least two classes",
            came=f"only {job.classes[int(job.target[0])]!r}",
            todo="Wait for rows of another class, or use the strategy retrain.",
        )


def _places(booster: Any, categories: list[list[Any]]) -> list[int]:
    """Return which columns of a fit made elsewhere hold pandas categories."""
    found = _CATEGORICAL.search(booster.model_to_string())
    places = [int(each) for each in found[1].split(",")] if found else []
    if len(places) != len(categories):
        raise Invalid(
            "LightGbmAdapter",
            needs="categories that came as texts in a pandas frame, and no others",
            came=f"{len(places)} categorical columns, {len(categories)} of them with texts",
            todo="Fit it here, with texts in these columns.",
        )
    return places


def _texts(name: str, seen: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(each, str) for each in seen):
        raise Invalid(
            "LightGbmAdapter",
            needs="categories that are texts",
            came=f"column {name!r} with {seen[:3]}",
            todo="Fit it here, with texts in this column.",
            column=name,
        )
    return tuple(seen)
