"""prune.features: fewer columns, which nobody needs to compute or send any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.feature_selection import (
    VarianceThreshold,
    f_classif,
    f_regression,
    mutual_info_classif,
    mutual_info_regression,
)

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.sklearn_columns import refitted, why_not_fewer
from renewal.core.errors import Invalid
from renewal.models.labels import dense

_N_LEVELS = 12
_MAX_ROWS = 4_000
By = Literal["importance", "variance", "mutual", "f"]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """How many columns are kept, and by what they are ranked.

    Parameters
    ----------
    keep : float in (0, 1], default 0.5
        Share of the columns; at least one is kept.
    by : {"importance", "variance", "mutual", "f"}, default "importance"
        What a column is worth: how much the parent loses when its values are shuffled; its
        variance, as scikit-learn's VarianceThreshold reads it; its mutual information with the
        label; or the F statistic of label and column.
    """

    keep: float = 0.5
    by: By = "importance"


class PruneFeatures:
    """Drop the columns that are worth the least, and fit the recipe again without them.

    The columns leave the signature: requests need not carry them, and nobody has to compute
    them. The recipe of the form is fitted by its adapter on the training rows, without weights.

    Notes
    -----
    ``importance`` asks the model itself, one column at a time, so of two columns that say the
    same both look worthless while either is there. ``variance`` compares columns in their
    units: a length in millimeters beats one in meters; it is what texts show, and right only
    for columns of one unit. It has nothing to say of texts, which it keeps.
    ``mutual`` and ``f`` see one column at a time, so neither sees what two say together.
    A column transformer that names columns is asked for those that are left. Recipes with a
    setting for each column (monotonic constraints, places of categories) are refused.
    """

    name: ClassVar[str] = "prune.features"
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = ("lightgbm", "sklearn", "xgboost")
    Options: ClassVar[type[Any]] = FeatureOptions
    knob: ClassVar[str | None] = "keep"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return that there is one column, no row, or a recipe that goes by columns."""
        if form.adapter not in self.takes:
            return f"models of {form.adapter} are not fitted again without a column"
        return why_not_fewer(form, material)

    def levels(
        self,
        form: Form,
        material: Material,  # noqa: ARG002  # the contract's
    ) -> tuple[FeatureOptions, ...]:  # the contract's
        """Return shares from all columns but one to a single one."""
        n_columns = len(form.signature.fields)
        counts = np.unique(np.linspace(1, n_columns - 1, _N_LEVELS).round().astype(int))[::-1]
        return tuple(FeatureOptions(round(int(each) / n_columns, 5)) for each in counts)

    def apply(self, form: Form, options: FeatureOptions, material: Material, *, seed: int) -> Form:
        """Return the recipe, fitted without the columns that are worth the least."""
        reason = self.why_not(form, material)
        if reason is not None or not 0.0 < options.keep <= 1.0:
            raise Invalid(
                self.name,
                needs="a recipe that can be fitted with fewer columns, and a share of them",
                came=reason or f"keep={options.keep}",
                todo="Take another technique, or one of the levels.",
            )
        names = form.signature.names
        n_kept = max(1, round(options.keep * len(names)))
        worth = worth_of(form, material, options.by, seed=seed)
        best = np.argsort(-worth, kind="stable")[:n_kept]
        return refitted(form, material, [names[at] for at in sorted(best)], seed=seed)


def worth_of(form: Form, material: Material, by: By, *, seed: int) -> Numbers:
    """Return what each column of the signature is worth; larger is better."""
    n_rows = max(100, round(_MAX_ROWS * material.effort))
    rows = material.few(n_rows, seed=seed)
    features = material.train.features.select(list(form.signature.names)).take(pa.array(rows))
    labels = material.labels[rows]
    if by == "importance":
        return _importance(form, material, features, labels, seed=seed)
    inputs, is_text = _matrix(features)
    # A column of one value is worth nothing, and has no F.
    moves = np.ptp(inputs, axis=0) > 0
    if not moves.any():
        return np.zeros(inputs.shape[1])
    if by == "variance":
        # At a threshold of 0 it would name the range of a column where that is smaller.
        selector = VarianceThreshold(float(np.finfo(np.float64).tiny))
        return np.where(is_text, np.inf, selector.fit(inputs).variances_)
    target = dense(labels)
    is_values = not form.classes
    if by == "f":
        score = f_regression if is_values else f_classif
        found = np.zeros(inputs.shape[1])
        found[moves] = score(inputs[:, moves], target)[0]
        return np.nan_to_num(found, posinf=np.inf)
    score = mutual_info_regression if is_values else mutual_info_classif
    found = score(inputs, target, discrete_features=is_text, random_state=seed % 2**32)
    return np.where(moves, found, 0.0)


def _importance(
    form: Form, material: Material, features: pa.Table, labels: Any, *, seed: int
) -> Numbers:
    """Return by how much the loss rises when the values of a column are shuffled."""
    rng = np.random.default_rng(seed)
    shuffled = pa.array(rng.permutation(features.num_rows))
    before = material.task.loss(form.predict(features), labels, form.classes).mean()
    found = []
    for at, field in enumerate(features.schema):
        spoiled = features.set_column(at, field, features.column(at).take(shuffled))
        loss = material.task.loss(form.predict(spoiled), labels, form.classes).mean()
        found.append(float(loss - before))
    return np.array(found)


def _matrix(features: pa.Table) -> tuple[Numbers, NDArray[np.bool_]]:
    """Return columns as numbers, gaps as their mean and texts as codes, and which are texts."""
    columns, is_text = [], []
    for column in features.columns:
        text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if text:
            column = (  # noqa: PLW2901  # the same column, in codes
                pc.dictionary_encode(column).combine_chunks().indices
            )  # the same column, in codes
        numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False).copy()
        known = numbers[np.isfinite(numbers)]
        numbers[~np.isfinite(numbers)] = known.mean() if len(known) else 0.0
        columns.append(numbers)
        is_text.append(text)
    return np.column_stack(columns), np.array(is_text)
