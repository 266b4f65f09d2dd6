"""prune.l1: linear models with fewer coefficients, and without the columns that need none."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, LogisticRegression
from sklearn.linear_model._base import LinearModel
from sklearn.linear_model._stochastic_gradient import BaseSGD
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.sklearn_columns import refitted, why_not_fewer
from renewal.compress.sklearn_inside import changed, learner_of, seen_by_learner, with_learner
from renewal.core.errors import Invalid
from renewal.models.labels import dense
from renewal.models.sklearn_parts import seeded, steps_of, unwrapped

# Each output column of these is made of the input column in the same place.
_ONE_TO_ONE = (MaxAbsScaler, MinMaxScaler, PowerTransformer, QuantileTransformer, RobustScaler,
               StandardScaler)  # fmt: skip
_LINEAR = (LinearModel, LogisticRegression, BaseSGD)
_N_LEVELS = 10
_MAX_ROWS = 10_000
_STRENGTHS = (0.003, 0.7)
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class L1Options:
    """How strong the penalty is.

    Parameters
    ----------
    strength : float in (0, 1), default 0.05
        Of the smallest penalty with which no coefficient is left.
    """

    strength: float = 0.05


class PruneL1:
    r"""Keep the inputs of a linear model that an L1 penalty leaves, and fit it again on these.

    On inputs of one scale :math:`\frac{1}{n}\sum_i \ell(y_i, x_i w) + \alpha \lVert w \rVert_1`
    is minimal at w = 0 for every :math:`\alpha` of at least the largest gradient there; a share
    of that is the knob, the same for all data. The penalty also makes small what it leaves, so
    it only chooses: the recipe is fitted again on the inputs that are left, without weights.

    Where inputs of the model are columns one to one (alone, or behind scalers), columns leave
    the signature. Otherwise (one-hot columns, texts) coefficients become zero in their places.

    Notes
    -----
    At most 10,000 rows choose; the fit is on all. Of two inputs that say the same it keeps one,
    by chance of the rows. A classifier of several classes loses an input when no class needs it.

    References
    ----------
    .. [1] Meinshausen, Relaxed Lasso, Computational Statistics & Data Analysis, 2007
    """

    name: ClassVar[str] = "prune.l1"
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = ("sklearn",)
    Options: ClassVar[type[Any]] = L1Options
    knob: ClassVar[str | None] = "strength"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return that it is not linear, has one input, or that there are no rows to fit on."""
        learner = learner_of(form)
        if not isinstance(learner, _LINEAR) or not hasattr(learner, "coef_"):
            return f"{type(learner).__name__} is no linear model"
        if learner.coef_.shape[-1] < 2:
            return "the model has a single input"
        if learner.coef_.ndim == 2 and not is_classifier(learner) and len(learner.coef_) > 1:
            return "the model has several targets"
        reason = why_not_fewer(form, material) if _is_one_to_one(form) else None
        return reason or _why_no_fit(material)

    def levels(self, form: Form, material: Material) -> tuple[L1Options, ...]:  # noqa: ARG002  # the contract's
        """Return strengths of equal ratios."""
        found = np.geomspace(*_STRENGTHS, _N_LEVELS)
        return tuple(L1Options(float(f"{each:.3g}")) for each in found)

    def apply(self, form: Form, options: L1Options, material: Material, *, seed: int) -> Form:
        """Return the form with the inputs that the penalty leaves."""
        reason = self.why_not(form, material)
        if reason is not None or not 0.0 < options.strength < 1.0:
            raise Invalid(
                self.name,
                needs="a linear model with rows to fit on, and a strength between 0 and 1",
                came=reason or f"strength={options.strength}",
                todo="Take another technique, or one of the levels.",
            )
        inputs = seen_by_learner(form, material.train.features)
        inputs = inputs.tocsr() if issparse(inputs) else np.asarray(inputs, dtype=np.float64)
        target = dense(material.labels)
        rows = material.few(max(200, round(_MAX_ROWS * material.effort)), seed=seed)
        left = _left(inputs[rows], target[rows], options.strength, is_classes=bool(form.classes))
        if _is_one_to_one(form):
            names = [name for name, stays in zip(form.signature.names, left, strict=True) if stays]
            return refitted(form, material, names, seed=seed)
        return with_learner(form, _refitted_within(learner_of(form), inputs, target, left, seed))


def _why_no_fit(material: Material) -> str | None:
    if not len(material.train):
        return "there is no training row to fit on"
    if material.task.name != "regression" and len(set(material.labels.tolist())) < 2:
        return "the training rows are of a single class"
    return None


def _is_one_to_one(form: Form) -> bool:
    """Say whether each input of what learns is made of the column in its place."""
    steps, learner = steps_of(unwrapped(form.estimator))
    n_inputs = learner.coef_.shape[-1]
    alike = all(isinstance(step, _ONE_TO_ONE) for step in steps)
    return alike and n_inputs == len(form.signature.fields)


def _left(inputs: Any, target: Any, strength: float, *, is_classes: bool) -> Mask:
    """Return which inputs an L1 penalty leaves; at least the one of the largest gradient."""
    scaled = _scaled(inputs)
    n_rows = scaled.shape[0]
    if is_classes:
        classes = np.unique(target)
        wanted = (target[:, np.newaxis] == classes).astype(np.float64)
    else:
        wanted = np.asarray(target, np.float64)[:, np.newaxis]
    gradients = np.abs(scaled.T @ (wanted - wanted.mean(axis=0))).max(axis=1) / n_rows
    largest = float(gradients.max())
    chosen: Mask = np.arange(len(gradients)) == int(gradients.argmax())
    if largest == 0.0:
        return chosen
    alpha = strength * largest
    with warnings.catch_warnings():
        # It only chooses; where the last digits of its weights lie does not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        coefficients = _penalized(scaled, target, alpha, is_classes=is_classes)
    chosen |= np.abs(coefficients).max(axis=0) > 0
    return chosen


def _penalized(scaled: Any, target: Any, alpha: float, *, is_classes: bool) -> Any:
    if not is_classes:
        return np.atleast_2d(Lasso(alpha=alpha, max_iter=500).fit(scaled, target).coef_)
    model = LogisticRegression(
        l1_ratio=1.0,
        solver="saga",
        C=1.0 / (alpha * scaled.shape[0]),
        tol=1e-3,
        max_iter=200,
        random_state=0,
    )
    return model.fit(scaled, target).coef_


def _scaled(inputs: Any) -> Any:
    """Return inputs of one spread, dense ones around zero; a constant stays a constant."""
    scaler = StandardScaler(with_mean=not issparse(inputs))
    return scaler.fit_transform(inputs)


def _refitted_within(learner: Any, inputs: Any, target: Any, left: Mask, seed: int) -> Any:
    """Return the learner, fitted on the inputs that are left, with zeros for the others."""
    fitted = seeded(learner, seed).fit(inputs[:, np.flatnonzero(left)], target)
    coefficients = np.zeros((*fitted.coef_.shape[:-1], len(left)))
    coefficients[..., left] = fitted.coef_
    whole = changed(fitted, coef_=coefficients, n_features_in_=len(left))
    if hasattr(learner, "feature_names_in_"):
        whole.feature_names_in_ = learner.feature_names_in_
    return whole
