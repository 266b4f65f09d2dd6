"""Weights of rows: by age and by class, and what balanced classes do to probabilities."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.models.multilabel import Multilabel
from renewal.models.score_map import ScoreMap
from renewal.models.sklearn import SklearnAdapter
from renewal.models.task import Binary
from renewal.testing.updating import DAY_US
from renewal.update.weighting import balanced, decayed


def test_a_half_life_halves(timed: Rows) -> None:
    """Breaks when age is counted from now, or in another unit."""
    weights = decayed(timed, timedelta(days=10))
    assert weights.mean() == pytest.approx(1.0)
    newest, older = weights[-1], weights[-1 - 200]  # 20 rows a day
    assert (timed.event_us[-1] - timed.event_us[-201]) / DAY_US == pytest.approx(10.0)
    assert newest / older == pytest.approx(2.0)


def test_the_oldest_row_still_counts(timed: Rows) -> None:
    """Breaks when a short half-life makes weights of 0, which many estimators refuse."""
    weights = decayed(timed, timedelta(seconds=1))
    assert (weights > 0).all()
    assert weights[-1] == weights.max()


def _rare(n_rows: int, seed: int) -> tuple[pa.Table, np.ndarray[tuple[int], np.dtype[np.object_]]]:
    """Return rows of which one in twenty is late, and which ones are."""
    rng = np.random.default_rng(seed)
    late = rng.random(n_rows) < 0.05
    labels = np.array(np.where(late, "late", "on time").tolist(), dtype=object)
    return pa.table({"a": rng.normal(late * 1.5, 1.0)}), labels


def test_balanced_classes_make_probabilities_false_and_the_correction_mends_them() -> None:
    """Breaks when a balanced fit is judged, or served, with the odds of a balanced world."""
    features, labels = _rare(6000, 1)
    weights, prior = balanced(labels, None, who="t")
    assert weights[labels == "late"].sum() == pytest.approx(weights[labels == "on time"].sum())
    adapter, task = SklearnAdapter(), Binary()
    plain = adapter.fit(LogisticRegression(), features, labels)
    fitted = adapter.fit(LogisticRegression(), features, labels, weights=weights)
    fresh, truth = _rare(6000, 2)
    raw = adapter.predict(fitted, fresh)
    mended = ScoreMap((prior,)).apply(raw)
    losses = [
        float(task.loss(each, truth, ("late", "on time")).mean())
        for each in (adapter.predict(plain, fresh), raw, mended)
    ]
    share = (truth == "late").mean()
    assert raw[:, 0].mean() > 5 * share  # the damage
    assert mended[:, 0].mean() == pytest.approx(share, abs=0.01)
    assert losses[1] > 2 * losses[0]
    assert losses[2] == pytest.approx(losses[0], rel=0.02)


def test_shares_are_those_of_the_weighted_rows() -> None:
    """Breaks when age and class are both weighed and the correction knows one of them."""
    labels = np.array(["a", "a", "b"], dtype=object)
    weights, prior = balanced(labels, np.array([0.5, 0.5, 3.0]), who="t")
    assert prior.after == (0.25, 0.75)
    assert weights[:2].sum() == pytest.approx(weights[2])


def test_numbers_and_several_labels_have_no_balance() -> None:
    with pytest.raises(Invalid, match="numbers"):
        balanced(np.array([1.0, 2.0]), None, who="t")
    several = Multilabel().labels(["news|sport", "news"], who="t")
    with pytest.raises(Invalid, match="several labels"):
        balanced(several, None, who="t")
