"""Cross-fitting: nobody scores a row, or a group, that it was fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.models.score_map_fit import fit_score_map
from renewal.update.contract import Parent
from renewal.update.crossfit import folds_of, follows_time, out_of_fold

ParentOf = Callable[..., Parent]


def _no_weights(_which: Any) -> tuple[None, None]:
    return None, None


def _labels(rows: Rows) -> Any:
    return np.array(rows.label)


@pytest.mark.parametrize("kind", ["timed", "timeless"])
def test_no_group_is_on_both_sides(kind: str, request: pytest.FixtureRequest) -> None:
    """Breaks when a twin in the fit makes a model look surer than it may be."""
    rows: Rows = request.getfixturevalue(kind).labelled()
    for fit, scored in folds_of(rows, _labels(rows), seed=1):
        assert not (fit & scored).any()
        assert not set(rows.group_hash[fit].tolist()) & set(rows.group_hash[scored].tolist())


def test_timed_rows_are_scored_by_their_past_alone(timed: Rows) -> None:
    """Breaks when a model of tomorrow calibrates yesterday."""
    rows = timed.labelled()
    mixed = rows.take(np.random.default_rng(0).permutation(len(rows)))
    assert follows_time(mixed)
    folds = folds_of(mixed, _labels(mixed), seed=1)
    assert len(folds) == 5
    for fit, scored in folds:
        assert mixed.event_us[fit].max() < mixed.event_us[scored].min()
    scored_once = np.sum([scored for _, scored in folds], axis=0)
    assert set(np.unique(scored_once)) <= {0, 1}
    assert scored_once.mean() == pytest.approx(0.5, abs=0.05)


def test_timeless_rows_are_all_scored_once(timeless: Rows) -> None:
    rows = timeless.labelled()
    assert not follows_time(rows)
    folds = folds_of(rows, _labels(rows), seed=1)
    assert (np.sum([scored for _, scored in folds], axis=0) == 1).all()
    again = folds_of(rows, _labels(rows), seed=2)
    assert any((one[1] != other[1]).any() for one, other in zip(folds, again, strict=True))


def test_scores_out_of_fold_show_how_sure_a_tree_may_be(
    parent_of: ParentOf, timeless: Rows
) -> None:
    """Breaks when a calibration is fitted on the model's own rows, where it is never wrong."""
    rows = timeless.labelled()
    parent = parent_of(DecisionTreeClassifier(random_state=0), timeless)
    own = parent.adapter.predict(
        parent.adapter.fit(parent.estimator, rows.features, _labels(rows)), rows.features
    )
    classes = ("no", "yes")
    scores, labels = out_of_fold(
        parent,
        parent.estimator,
        rows,
        _labels(rows),
        weigh=_no_weights,
        classes=classes,
        seed=1,
    )
    assert len(scores) == len(rows)
    on_own = fit_score_map("temperature", own, _labels(rows), classes).steps[0]
    honest = fit_score_map("temperature", scores, labels, classes).steps[0]
    assert on_own.temperature < 1.0  # type: ignore[attr-defined]  # a Temperature
    assert honest.temperature > 5.0  # type: ignore[attr-defined]  # a Temperature


def test_a_fold_that_never_saw_a_class_says_nothing(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when a model of one class too few is asked for the scores of all."""
    rows = timed.labelled()
    labels = _labels(rows)
    labels[labels == "yes"] = "no"
    labels[-250::3] = "new"
    rows = replace(rows, label=labels)
    parent = parent_of(GaussianNB(), timed)
    scores, truth = out_of_fold(
        parent,
        GaussianNB(),
        rows,
        labels,
        weigh=_no_weights,
        classes=("new", "no"),
        seed=1,
    )
    assert scores.shape == (len(truth), 2)
    assert 100 < len(truth) < 350
    labels[:] = "no"
    labels[-10:] = "new"
    with pytest.raises(Invalid, match="hold every class"):
        out_of_fold(
            parent,
            GaussianNB(),
            rows,
            labels,
            weigh=_no_weights,
            classes=("new", "no"),
            seed=1,
        )


def test_one_group_cannot_be_dealt(timeless: Rows) -> None:
    rows = timeless.labelled()
    alone = replace(rows, group_hash=np.zeros_like(rows.group_hash), block=rows.block * 0)
    with pytest.raises(Invalid, match="at least two groups"):
        folds_of(alone, _labels(alone), seed=1)
