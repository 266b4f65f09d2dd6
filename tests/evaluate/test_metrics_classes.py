"""Breaks when a metric of decisions or probabilities is not scikit-learn's, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from renewal.evaluate.metrics import metric
from renewal.evaluate.metrics_classes import N_BINS

FAMILY = ("precision", "recall", "f1")
Case = Callable[..., tuple[Any, ...]]
SEEDS = st.integers(0, 10**6)


def same(found: float, expected: float) -> bool:
    """Bit for bit, NaN with NaN."""
    return found == expected or (math.isnan(found) and math.isnan(expected))


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS)
def test_two_classes(binary_case: Case, seed: int) -> None:
    """With ties, constant scores and rows of one class."""
    truth, scores, labels = binary_case(seed)
    predicted = scores.argmax(axis=1)
    expected = {
        "accuracy": oracle.accuracy_score(truth, predicted),
        "precision": oracle.precision_score(truth, predicted, zero_division=math.nan),
        "recall": oracle.recall_score(truth, predicted, zero_division=math.nan),
        "f1": oracle.f1_score(truth, predicted, zero_division=math.nan),
        "log_loss": oracle.log_loss(truth, scores, labels=[0, 1]),
        "brier": oracle.brier_score_loss(truth, scores, labels=[0, 1]),
    }
    found = {name: metric(name).value(scores, labels, (0, 1)) for name in expected}
    assert {n: (found[n], e) for n, e in expected.items() if not same(found[n], e)} == {}


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, n_classes=st.integers(3, 20))
def test_many_classes(multiclass_case: Case, seed: int, n_classes: int) -> None:
    """With classes that no row has or that are never served."""
    truth, scores, labels, names = multiclass_case(seed, n_classes)
    predicted = np.array(names)[scores.argmax(axis=1)]
    expected = {
        "accuracy": oracle.accuracy_score(truth, predicted),
        "log_loss": oracle.log_loss(truth, scores, labels=names),
        "brier": oracle.brier_score_loss(truth, scores, labels=list(names)),
    }
    for each in FAMILY:
        score = getattr(oracle, f"{each}_score")
        for average in ("macro", "micro"):
            expected[f"{average}_{each}"] = score(
                truth, predicted, average=average, zero_division=math.nan
            )
    found = {name: metric(name).value(scores, labels, names) for name in expected}
    assert {n: (found[n], e) for n, e in expected.items() if not same(found[n], e)} == {}


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, n_labels=st.integers(2, 20))
def test_sets_of_labels(sets_case: Case, seed: int, n_labels: int) -> None:
    """With labels that no row carries or that are never given."""
    truth, scores, labels, names = sets_case(seed, n_labels)
    predicted = (scores > 0.5).astype(int)
    expected = {
        "accuracy": oracle.accuracy_score(truth, predicted),
        "subset_accuracy": oracle.accuracy_score(truth, predicted),
        "hamming_loss": oracle.hamming_loss(truth, predicted),
    }
    for each in FAMILY:
        score = getattr(oracle, f"{each}_score")
        for average in ("macro", "micro"):
            expected[f"{average}_{each}"] = score(
                truth, predicted, average=average, zero_division=math.nan
            )
    found = {name: metric(name).value(scores, labels, names) for name in expected}
    assert {n: (found[n], e) for n, e in expected.items() if not same(found[n], e)} == {}


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS)
def test_rows_and_counts_say_the_same_as_the_value(
    binary_case: Case, multiclass_case: Case, sets_case: Case, seed: int
) -> None:
    """Broken by per-row numbers or counts of something else: the gate decides by them."""
    truth, scores, labels = binary_case(seed)
    cases: list[tuple[Any, ...]] = [
        (("accuracy", "log_loss", "brier", *FAMILY, "calibration_error"), scores, labels, (0, 1)),
    ]
    several: tuple[str, ...] = ("accuracy", "log_loss", "brier", "calibration_error")
    several += tuple(f"{how}_{each}" for how in ("macro", "micro") for each in FAMILY)
    _, scores, labels, names = multiclass_case(seed, 4)
    cases.append((several, scores, labels, names))
    _, scores, labels, names = sets_case(seed, 5)
    cases.append(((*several, "hamming_loss", "subset_accuracy"), scores, labels, names))
    for which, scores, labels, names in cases:
        for name in which:
            one = metric(name, classes=names)
            value = one.value(scores, labels, names)
            if one.per_row is not None:
                rows = one.per_row(scores, labels, names)
                assert rows.shape == (len(labels),)
                assert rows.mean() == pytest.approx(value, rel=1e-12), name
                low, high = one.bounds
                assert low is not None
                assert high is not None
                assert low <= rows.min() <= rows.max() <= high
            if one.counts is not None:
                assert one.of_counts is not None
                totals = one.counts(scores, labels, names).sum(axis=0, dtype=np.float64)
                stacked = one.of_counts(np.stack([[totals, 2 * totals], [3 * totals, totals]]))
                assert stacked.shape == (2, 2)
                assert stacked == pytest.approx(np.full((2, 2), value), rel=1e-12, nan_ok=True)
    assert len(truth) > 0


def test_a_bootstrap_over_blocks_is_a_product_of_matrices(multiclass_case: Case) -> None:
    """Broken by counts that do not add up: resampled rows and resampled counts must agree."""
    rng = np.random.default_rng(2)
    _, scores, labels, names = multiclass_case(9, 4)
    blocks = rng.integers(0, 6, len(labels))
    weights = rng.multinomial(6, np.full(6, 1 / 6), size=20)
    for name in ("macro_f1", "micro_recall", "calibration_error"):
        one = metric(name)
        assert one.counts is not None
        assert one.of_counts is not None
        counts = one.counts(scores, labels, names)
        by_block = np.stack([counts[blocks == at].sum(axis=0, dtype=np.float64) for at in range(6)])
        found = one.of_counts(weights @ by_block)
        for weight, value in zip(weights, found, strict=True):
            rows = np.repeat(np.arange(len(labels)), weight[blocks])
            again = one.value(scores[rows], labels[rows], names)
            assert value == pytest.approx(again, rel=1e-12, nan_ok=True)


def test_calibration_error_by_hand() -> None:
    """Broken by bins of another width, or the probability of the wrong class."""
    positive = np.array([0.05, 0.05, 0.9, 0.9, 1.0])
    scores = np.column_stack([1 - positive, positive])
    found = metric("calibration_error").value(
        scores, np.array([0, 1, 1, 1, 1], dtype=object), (0, 1)
    )
    # Bins of 1/15: .05 in the first (gap .9), .9 in the 14th (.2), 1 in the last (0).
    assert N_BINS == 15
    assert found == pytest.approx((0.9 + 0.2) / 5)
    three = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    top = metric("calibration_error").value(
        three, np.array(["a", "b"], dtype=object), ("a", "b", "c")
    )
    assert top == pytest.approx((0.5 + 0.8) / 2)


def test_a_calibrated_version_has_almost_none() -> None:
    """Seed 3; 200,000 rows in 15 bins leave a mean gap of about 0.003 by chance."""
    rng = np.random.default_rng(3)
    positive = rng.random(200_000)
    labels = (rng.random(200_000) < positive).astype(int).astype(object)
    scores = np.column_stack([1 - positive, positive])
    assert metric("calibration_error").value(scores, labels, (0, 1)) < 0.006


def test_what_is_undefined_is_nan_in_counts_too() -> None:
    """Broken by a 0 that a bootstrap would take for a bad precision."""
    for name in FAMILY:
        of_counts = metric(name).of_counts
        assert of_counts is not None
        assert np.isnan(of_counts(np.zeros((2, 3)))).all()
    macro = metric("macro_f1").of_counts
    assert macro is not None
    # The second class never occurs: the mean is that of the first.
    assert macro(np.array([[2, 0, 1, 0, 1, 0]])).tolist() == [2 / 3]
    assert math.isnan(macro(np.zeros(6)))
