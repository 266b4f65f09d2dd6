"""The bench of a tuning: what a trial fits, and on what it is judged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import SGDRegressor
from sklearn.naive_bayes import GaussianNB

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.models.score_map import ScoreMap
from renewal.models.score_map_weights import Prior
from renewal.models.task import Regression
from renewal.testing.recording import RecordingClassifier, recording
from renewal.testing.updating import row_ids
from renewal.update.tuning import Bench, shares_of

BenchOf = Callable[..., Bench]


def test_a_trial_fits_its_share_and_scores_the_others(bench_of: BenchOf, timed: Rows) -> None:
    """Breaks when a trial learns from the rows on which it is judged."""
    bench = bench_of(timed, RecordingClassifier(tape="t"))
    ids = row_ids(timed.labelled()).tolist()
    shown = []
    for share in (0.25, 0.5, 1.0):
        with recording("t") as tape:
            bench.loss({"random_state": 3}, share)
        assert tape.scored == set(ids[800:])
        shown.append(tape.fitted)
    assert [len(each) for each in shown] == [200, 400, 800]
    assert shown[0] < shown[1] < shown[2] == set(ids[:800])


def test_parameters_decide(bench_of: BenchOf, timed: Rows) -> None:
    bench = bench_of(timed, GaussianNB())
    assert bench.loss({}, 1.0) == bench.loss({"var_smoothing": 1e-9}, 1.0)
    assert bench.loss({"var_smoothing": 1e3}, 1.0) > bench.loss({}, 1.0) + 0.1
    assert bench.recipe.var_smoothing == 1e-9


def test_scores_are_corrected_before_they_are_judged(bench_of: BenchOf, timed: Rows) -> None:
    """Breaks when balanced fits are compared by the odds of a balanced world."""
    wrong = ScoreMap((Prior((0.5, 0.5), (0.001, 0.999)),))
    plain, corrected = (
        bench_of(timed, GaussianNB(), correction=each).loss({}, 1.0) for each in (None, wrong)
    )
    assert corrected > plain + 0.5


def test_a_trial_that_diverges_says_so(bench_of: BenchOf, values: Rows) -> None:
    """Breaks when a loss of NaN or infinity is compared with others."""
    bench = bench_of(
        values,
        SGDRegressor(learning_rate="constant", eta0=0.01),
        task=Regression(),
        watched_features=pa.table({"row_id": [1e308], "a": [1e308], "b": [1e308]}),
        watched_labels=np.array([1.0]),
    )
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(Invalid):
        bench.loss({"eta0": 10.0}, 1.0)


def test_shares_are_worth_something() -> None:
    """Breaks when trials are dropped by what forty rows say."""
    assert shares_of(799) == (1.0,)
    assert len(shares_of(800)) == 2
    assert len(shares_of(10**9)) == 3
    assert shares_of(3200)[0] * 3200 == pytest.approx(200)
