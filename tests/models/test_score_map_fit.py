"""Fits of score maps, against scikit-learn's calibration and against a known truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from renewal.core.errors import Invalid
from renewal.models.multilabel import Multilabel
from renewal.models.score_map_curves import Isotonic, Sigmoid, Temperature, log_odds
from renewal.models.score_map_fit import CURVES, fit_score_map
from renewal.models.score_map_weights import Shift


class _Says(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A model that says what it is handed, so that scikit-learn calibrates our scores."""

    def __init__(self, n_classes: int = 2) -> None:
        self.n_classes = n_classes

    def fit(self, X: Any, y: Any) -> Any:  # noqa: ARG002, N803  # scikit-learn's names
        self.classes_ = np.arange(self.n_classes)
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803  # scikit-learn's name
        raise NotImplementedError


class Odds(_Says):
    """By its decision function."""

    def decision_function(self, X: Any) -> Any:  # noqa: N803  # scikit-learn's name
        return X[:, 0] if self.n_classes == 2 else X


class Chances(_Says):
    """By its probabilities."""

    def predict_proba(self, X: Any) -> Any:  # noqa: N803  # scikit-learn's name
        return X


def rows(n_classes: int, *, seed: int = 0, n_rows: int = 2000) -> tuple[Any, Any]:
    """Scores of a model that is twice as sure as it may be, and too fond of the first class."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n_rows, n_classes))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(n_classes, p=row) for row in chances])
    logits[:, 0] += 0.7
    sure = np.exp(2 * logits)
    return sure / sure.sum(axis=1, keepdims=True), np.array(labels.tolist(), dtype=object)


def sklearn_map(base: Any, method: str, inputs: Any, labels: Any) -> Any:
    fitted = base.fit(inputs, labels)
    curves = CalibratedClassifierCV(FrozenEstimator(fitted), method=method, cv=2, ensemble=False)
    return curves.fit(inputs, labels.astype(int)).predict_proba(inputs)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_sigmoid_is_scikit_learns_on_the_log_odds(n_classes: int) -> None:
    """Broken by targets that are not smoothed, another optimum, or shares made otherwise."""
    scores, labels = rows(n_classes)
    found = fit_score_map("sigmoid", scores, labels, tuple(range(n_classes)))
    odds = log_odds(scores[:, 1:] if n_classes == 2 else scores)
    theirs = sklearn_map(Odds(n_classes), "sigmoid", odds, labels)
    assert found.apply(scores) == pytest.approx(theirs, abs=2e-5)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_isotonic_is_scikit_learns(n_classes: int) -> None:
    """Broken by a pool that is left unpooled, or a line drawn across a level."""
    scores, labels = rows(n_classes)
    scores = scores.round(2)  # so that scores come many times
    found = fit_score_map("isotonic", scores, labels, tuple(range(n_classes)))
    theirs = sklearn_map(Chances(n_classes), "isotonic", scores, labels)
    assert found.apply(scores) == pytest.approx(theirs, abs=1e-9)
    other = rows(n_classes, seed=1)[0]
    fitted = Chances(n_classes).fit(None, None)
    curves = CalibratedClassifierCV(FrozenEstimator(fitted), method="isotonic", ensemble=False)
    theirs = curves.fit(scores, labels.astype(int)).predict_proba(other)
    assert found.apply(other) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_temperature_is_scikit_learns(n_classes: int) -> None:
    """Broken by another optimum: the floor under the scores differs, in the fifth digit."""
    scores, labels = rows(n_classes)
    found = fit_score_map("temperature", scores, labels, tuple(range(n_classes)))
    theirs = sklearn_map(Chances(n_classes), "temperature", scores, labels)
    assert found.apply(scores) == pytest.approx(theirs, abs=1e-3)


def test_each_form_finds_what_was_done_to_the_scores() -> None:
    """20,000 rows, seed fixed: the truth is a temperature of 2 with an offset of its own."""
    rng = np.random.default_rng(5)
    odds = rng.normal(size=20_000)
    labels = np.array((rng.random(20_000) < 1 / (1 + np.exp(-odds))).tolist(), dtype=object)
    second = 1 / (1 + np.exp(-(2 * odds + 1)))
    scores = np.column_stack([1 - second, second])
    (line,) = fit_score_map("sigmoid", scores, labels, (False, True)).steps
    assert isinstance(line, Sigmoid)
    assert line.slopes[0] == pytest.approx(0.5, abs=0.02)
    assert line.offsets[0] == pytest.approx(-0.5, abs=0.04)
    steps = fit_score_map("isotonic", scores, labels, (False, True))
    assert np.abs(steps.apply(scores)[:, 1] - 1 / (1 + np.exp(-odds))).mean() < 0.02


def test_a_model_that_is_upside_down_is_not_turned_around() -> None:
    """Broken by a negative slope: a recalibration would answer the opposite of the model."""
    scores, labels = rows(2)
    (line,) = fit_score_map("sigmoid", scores[:, ::-1], labels, (0, 1)).steps
    assert isinstance(line, Sigmoid)
    assert line.slopes == (1e-3,)
    found = fit_score_map("sigmoid", scores[:, ::-1], labels, (0, 1)).apply(scores)
    assert found.mean(axis=0)[1] == pytest.approx((labels == 1).mean(), abs=0.01)


@pytest.mark.parametrize("method", list(CURVES))
def test_scores_of_0_and_1_alone_are_calibrated_to_what_they_are_worth(method: str) -> None:
    """A full tree says 0 or 1 and is right four times of five.

    Broken by infinite log-odds, or by a fit that runs away on separable rows.
    """
    rng = np.random.default_rng(6)
    says = rng.random(4000) < 0.5
    labels = np.array(np.where(rng.random(4000) < 0.8, says, ~says).tolist(), dtype=object)
    scores = np.column_stack([~says, says]).astype(np.float64)
    found = fit_score_map(method, scores, labels, (False, True)).apply(scores)
    assert found[says, 1].mean() == pytest.approx(0.8, abs=0.02)
    assert found[~says, 1].mean() == pytest.approx(0.2, abs=0.02)
    right = np.array(says.tolist(), dtype=object)
    assert np.isfinite(fit_score_map(method, scores, right, (False, True)).apply(scores)).all()


@pytest.mark.parametrize("method", list(CURVES))
def test_a_class_without_rows_is_no_crash(method: str) -> None:
    """Broken where a fold of a choice holds no row of a class."""
    scores, labels = rows(3)
    labels[labels == 2] = 1
    found = fit_score_map(method, scores, labels, (0, 1, 2)).apply(scores)
    assert found.sum(axis=1) == pytest.approx(1.0)
    if method != "temperature":
        assert found[:, 2].max() < 0.01


def test_labels_apart_get_a_line_each() -> None:
    """Broken by a fit that takes sets of labels for classes."""
    rng = np.random.default_rng(7)
    chances = rng.random((3000, 2))
    on = rng.random((3000, 2)) < chances
    texts = ["|".join(name for name, each in zip("ab", row, strict=True) if each) for row in on]
    labels = Multilabel().labels(texts, who="test")
    scores = 1 / (1 + np.exp(-2 * log_odds(chances)))
    for method in ("sigmoid", "isotonic"):
        found = fit_score_map(method, scores, labels, ("a", "b"))
        assert np.abs(found.apply(scores) - chances).mean() < 0.03
        assert found.n_scores == 2
    with pytest.raises(Invalid, match="no temperature"):
        fit_score_map("temperature", scores, labels, ("a", "b"))


def test_the_constant_is_the_one_of_the_smallest_absolute_error() -> None:
    """Broken by a mean instead of a median, or by the sign of the residual."""
    rng = np.random.default_rng(11)
    scores, labels = rng.normal(size=(101, 1)), rng.exponential(size=101)
    (found,) = fit_score_map("shift", scores, labels, ()).steps
    assert isinstance(found, Shift)
    error = np.abs(found.apply(scores)[:, 0] - labels).mean()
    constants = np.linspace(-4, 4, 400)
    assert error <= min(np.abs(scores[:, 0] + each - labels).mean() for each in constants) + 1e-12


def test_what_cannot_be_fitted_is_refused() -> None:
    scores, labels = rows(2)
    for method, classes in (("spline", (0, 1)), ("shift", (0, 1)), ("sigmoid", ())):
        with pytest.raises(Invalid, match="Choose one"):
            fit_score_map(method, scores, labels, classes)
    with pytest.raises(Invalid, match="one row or more"):
        fit_score_map("sigmoid", scores[:0], labels[:0], (0, 1))
    scores[3] = np.nan
    with pytest.raises(Invalid, match="with gaps"):
        fit_score_map("sigmoid", scores, labels, (0, 1))


def test_numbers_are_plain() -> None:
    """Broken by numpy scalars, which JSON does not take."""
    scores, labels = rows(2)
    for method, kind in zip(CURVES, (Temperature, Sigmoid, Isotonic), strict=True):
        found = fit_score_map(method, scores, labels, (0, 1))
        assert isinstance(found.steps[0], kind)
        assert found.from_bytes(found.to_bytes()) == found
