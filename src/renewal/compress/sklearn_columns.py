"""A recipe fitted again with fewer columns: what prune.features and prune.l1 share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer

from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.core.spec import Signature
from renewal.models.sklearn_parts import takes_names, unwrapped

# Settings that hold an entry, a place or a name for each column.
_BY_COLUMN = ("monotonic_cst", "interaction_cst", "monotone_constraints", "feature_weights",
              "interaction_constraints", "categorical_features", "categorical_feature",
              "cat_feature", "max_bin_by_feature", "forcedsplits_filename")  # fmt: skip
_TASKS = ("binary", "multiclass", "regression")


def why_not_fewer(form: Form, material: Material) -> str | None:
    """Return why the recipe cannot be fitted with fewer columns; None when it can."""
    if len(form.signature.fields) < 2:
        return "the model reads a single column"
    if material.task.name not in _TASKS:
        return f"models of the task {material.task.name} are not fitted again here"
    if not len(material.train):
        return "there is no training row to fit on"
    if material.task.name != "regression" and len(set(material.labels.tolist())) < 2:
        return "the training rows are of a single class"
    return _by_column(form)


def _by_column(form: Form) -> str | None:
    """Return which part of the recipe is said for each column by itself, but for names."""
    params: Mapping[str, Any] = form.runs.params(form.estimator)
    for name, value in params.items():
        if name.rpartition("__")[2] in _BY_COLUMN and value not in (None, "", "from_dtype"):
            return f"the recipe goes by columns: {name}={value!r}"
    for part in _transformers(form):
        for name, _, columns in part.transformers:
            if not _are_names(columns):
                return f"the step {name!r} of a column transformer goes by places or a function"
    return None


def refitted(form: Form, material: Material, kept: list[str], *, seed: int) -> Form:
    """Return the recipe, fitted on the training rows with some of the columns.

    Parameters
    ----------
    form : Form
        Kept as it is.
    material : Material
        Its rows; their weights are one.
    kept : list of str
        Columns, in the order of the signature.
    seed : int
        Fills what the recipe leaves open.

    Raises
    ------
    Invalid
        When the recipe cannot be fitted so: a step that asks for more columns than are left.
    """
    recipe, names = form.estimator, True
    if isinstance(recipe, BaseEstimator):
        names = takes_names(recipe)
        recipe = clone(unwrapped(recipe))
        for part in _parts(recipe):
            part.set_params(transformers=list(_left(part.transformers, set(kept))))
    fitted = form.runs.fit(
        recipe, material.train.features.select(kept), material.labels, names=names, seed=seed
    )
    fields = tuple(each for each in form.signature.fields if each.name in set(kept))
    return replace(form, estimator=fitted, signature=Signature(fields))


def _transformers(form: Form) -> list[ColumnTransformer]:
    return _parts(form.estimator) if isinstance(form.estimator, BaseEstimator) else []


def _parts(recipe: Any) -> list[ColumnTransformer]:
    """Return the column transformers in a recipe."""
    inner = [recipe, *unwrapped(recipe).get_params(deep=True).values()]
    return [each for each in inner if isinstance(each, ColumnTransformer)]


def _are_names(columns: Any) -> bool:
    if isinstance(columns, str):
        return True
    return isinstance(columns, list) and all(isinstance(each, str) for each in columns)


def _left(transformers: Iterable[tuple[str, Any, Any]], kept: set[str]) -> Iterable[Any]:
    """Yield the steps of a column transformer for the columns that are left."""
    for name, step, columns in transformers:
        if isinstance(columns, str):
            if columns in kept:
                yield name, step, columns
        else:
            yield name, step, [each for each in columns if each in kept]
