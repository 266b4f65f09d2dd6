"""Breaks when an area under a curve is not scikit-learn's, bit for bit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from renewal.evaluate.metrics import metric

Case = Callable[..., tuple[Any, ...]]
SEEDS = st.integers(0, 10**6)


def same(found: float, expected: float) -> bool:
    """Bit for bit, NaN with NaN."""
    return found == expected or (math.isnan(found) and math.isnan(expected))


@settings(max_examples=200, deadline=None)
@given(seed=SEEDS)
def test_two_classes(binary_case: Case, seed: int) -> None:
    """With ties and constant scores; rows of one class leave an area undefined."""
    truth, scores, labels = binary_case(seed)
    auc = metric("auc").value(scores, labels, (0, 1))
    precision = metric("average_precision").value(scores, labels, (0, 1))
    if 0 < truth.sum() < len(truth):
        assert same(auc, oracle.roc_auc_score(truth, scores[:, 1]))
    else:
        assert math.isnan(auc)
    if truth.sum():
        assert same(precision, oracle.average_precision_score(truth, scores[:, 1]))
    else:
        assert math.isnan(precision)


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, n_classes=st.integers(3, 12))
def test_many_classes(multiclass_case: Case, seed: int, n_classes: int) -> None:
    """A class that no row has leaves the mean undefined, as it does there."""
    truth, scores, labels, names = multiclass_case(seed, n_classes)
    auc = metric("ovr_auc").value(scores, labels, names)
    precision = metric("macro_average_precision").value(scores, labels, names)
    if len(set(truth.tolist())) < n_classes:
        assert math.isnan(auc)
        assert math.isnan(precision)
        return
    assert same(auc, oracle.roc_auc_score(truth, scores, multi_class="ovr", labels=names))
    assert same(precision, oracle.average_precision_score(truth, scores))


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, n_labels=st.integers(2, 12))
def test_sets_of_labels(sets_case: Case, seed: int, n_labels: int) -> None:
    truth, scores, labels, names = sets_case(seed, n_labels)
    is_defined = (truth.sum(axis=0) > 0).all() and (truth.sum(axis=0) < len(truth)).all()
    auc = metric("macro_auc").value(scores, labels, names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert same(auc, oracle.roc_auc_score(truth, scores, average="macro"))
    if is_defined:
        precision = metric("macro_average_precision").value(scores, labels, names)
        assert same(precision, oracle.average_precision_score(truth, scores, average="macro"))


def test_a_rank_metric_hands_out_what_delong_ranks(binary_case: Case) -> None:
    """Broken by the scores of the negative class."""
    truth, scores, labels = binary_case(4)
    ranked = metric("auc").ranked
    assert ranked is not None
    is_positive, score = ranked(scores[:, ::-1], labels, (1, 0))
    assert np.array_equal(is_positive, truth == 1)
    assert np.array_equal(score, scores[:, 1])
    assert metric("average_precision").ranked is None
