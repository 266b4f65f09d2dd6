"""What the libraries let pass and what breaks by it; then that Renewal refuses it.

Each test first does the damage with the bare library, which says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lightgbm import Dataset, LGBMClassifier
from lightgbm import train as train_lightgbm
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types
from xgboost import DMatrix, XGBClassifier
from xgboost import train as train_xgboost

from renewal.core.errors import Invalid, Refused
from renewal.data.rows import Rows
from renewal.models.contract import Adapter, Way
from renewal.models.lightgbm import LightGbmAdapter
from renewal.models.sklearn import SklearnAdapter
from renewal.models.xgboost import XgboostAdapter
from renewal.testing.updating import make_parent, snapshot
from renewal.update.incremental import Incremental

N_ROWS = 2_000
Matrix = NDArray[np.float64]
Codes = NDArray[np.int64]


def _two_classes(seed: int) -> tuple[Matrix, Codes]:
    """Return rows whose two classes are told apart by a curve through two of six numbers."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(N_ROWS, 6))
    return matrix, (matrix[:, 0] * matrix[:, 1] + 0.5 * matrix[:, 2] > 0).astype(np.int64)


def _three_classes(seed: int) -> tuple[Matrix, Codes]:
    """Return the same, with a third class that takes a part of both."""
    matrix, codes = _two_classes(seed)
    return matrix, np.where(matrix[:, 3] > 0.6, 2, codes)


def _rows(matrix: Matrix) -> pa.Table:
    return pa.table({f"x{at}": column for at, column in enumerate(matrix.T)})


def _labels(codes: Codes) -> NDArray[np.object_]:
    return np.array(codes.tolist(), dtype=object)


def _accuracy(found: NDArray[Any], codes: Codes) -> float:
    return float((found == codes).mean())


def _demand_refusal(
    adapter: Adapter, fitted: object, rows: pa.Table, labels: NDArray[np.object_], *, says: str
) -> None:
    """Demand that it is declared impossible with a reason, and that both ways say that reason."""
    declared = adapter.capabilities(fitted)
    assert not declared.can_continue_on_new_data
    assert declared.ways == ()
    assert says in declared.why_not["continue"]
    before = adapter.dump(fitted)
    ways: tuple[Way, ...] = ("boost", "leaves")
    for way in ways:
        with pytest.raises(Invalid, match=says):
            adapter.continue_fit(fitted, rows, labels, way=way)
    assert adapter.dump(fitted) == before


def _demand_no_candidate(estimator: object, rows: Rows) -> None:
    """Demand that the strategy that goes on with the champion makes no candidate of it."""
    parent = make_parent(estimator, "binary", rows.take(np.arange(400)))
    assert Incremental().why_not(parent) is not None
    with pytest.raises(Refused):
        Incremental().make(parent, rows, Incremental.Options(), 1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Histogram trees on a busy machine wait for threads longer than they work."""
    with threadpool_limits(1):
        yield


def test_a_warm_start_of_histogram_trees_reads_old_trees_through_new_bins() -> None:
    """Breaks when a warm start on new rows is let through: the bins are found anew.

    The new rows are of the old world, in another unit. Twenty rounds from nothing learn them;
    sixty old rounds and twenty new ones do not even fit the rows that they were fitted on.
    """
    matrix, codes = _two_classes(1)
    model = HistGradientBoostingClassifier(max_iter=60, warm_start=True, random_state=0)
    model.fit(matrix, codes)
    new_matrix, new_codes = _two_classes(2)
    new_matrix = 100.0 * new_matrix + 7.0
    model.set_params(max_iter=80).fit(new_matrix, new_codes)  # no error, no warning
    anew = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    anew.fit(new_matrix, new_codes)
    continued, scratch = (_accuracy(each.predict(new_matrix), new_codes) for each in (model, anew))
    assert continued < 0.85
    assert scratch > 0.97

    adapter = SklearnAdapter()
    fitted = adapter.fit(model, _rows(matrix), _labels(codes), seed=0)
    _demand_refusal(adapter, fitted, _rows(new_matrix), _labels(new_codes), says="wrong bins")
    recipe = HistGradientBoostingClassifier(max_iter=5, warm_start=True)
    _demand_no_candidate(recipe, snapshot("timed", "binary"))


def test_a_forest_takes_a_new_class_in_and_then_cannot_answer() -> None:
    """Breaks when a forest may go on: its old trees know two classes, its new ones three."""
    matrix, codes = _two_classes(1)
    model = RandomForestClassifier(20, warm_start=True, random_state=0).fit(matrix, codes)
    new_matrix, new_codes = _three_classes(2)
    model.set_params(n_estimators=30).fit(new_matrix, new_codes)  # no error, no warning
    with pytest.raises(ValueError, match="broadcast"):
        model.predict_proba(new_matrix)

    adapter = SklearnAdapter()
    fitted = adapter.fit(model, _rows(matrix), _labels(codes), seed=0)
    _demand_refusal(adapter, fitted, _rows(new_matrix), _labels(new_codes), says="new class")
    _demand_no_candidate(RandomForestClassifier(5, warm_start=True), snapshot("timed", "binary"))


def test_xgboost_continues_a_fit_of_two_classes_on_three() -> None:
    """Breaks when labels reach XGBoost unchecked: it takes the third class and is worse by it."""
    matrix, codes = _two_classes(1)
    two = XGBClassifier(n_jobs=1, n_estimators=40, max_depth=4).fit(matrix, codes)
    new_matrix, new_codes = _three_classes(2)
    unseen, unseen_codes = _three_classes(3)
    continued, scratch = (XGBClassifier(n_jobs=1, n_estimators=20, max_depth=4) for _ in range(2))
    continued.fit(new_matrix, new_codes, xgb_model=two.get_booster())  # no error, no warning
    scratch.fit(new_matrix, new_codes)
    worse, better = (_accuracy(each.predict(unseen), unseen_codes) for each in (continued, scratch))
    assert worse < better - 0.05

    adapter = XgboostAdapter()
    # Also where the two classes were fitted outside, and where the fit is Renewal's own.
    for fitted in (two, adapter.fit(two, _rows(matrix), _labels(codes), seed=0)):
        assert not adapter.capabilities(fitted).accepts_new_classes
        before = adapter.dump(fitted)
        ways: tuple[Way, ...] = ("boost", "leaves")
        for way in ways:
            with pytest.raises(Invalid, match="also 2"):
                adapter.continue_fit(fitted, _rows(new_matrix), _labels(new_codes), way=way)
        assert adapter.dump(fitted) == before

    rows = snapshot("timed", "binary")
    assert rows.label is not None
    seen = rows.take(np.arange(400)).labelled()
    assert seen.label is not None
    champion = adapter.fit(
        XGBClassifier(n_jobs=1, n_estimators=3), seen.features, seen.label, seed=0
    )
    parent = make_parent(GaussianNB(), "binary", seen)
    parent = replace(parent, estimator=champion, adapter=adapter)
    label = rows.label.copy()
    label[np.flatnonzero(rows.has_label)[-5:]] = "perhaps"
    with pytest.raises((Invalid, Refused)):
        Incremental().make(parent, replace(rows, label=label), Incremental.Options(), 1)


def test_lightgbm_forgets_on_rows_of_one_class() -> None:
    """Breaks when rows of one class reach LightGBM: it pulls each leaf to nothing.

    All new rows are of the second class, and the model becomes less sure of it; continued
    boosting adds no tree at all. Neither says so.
    """
    matrix, codes = _two_classes(1)
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    before = train_lightgbm(settings, Dataset(matrix, codes), 40)
    new_matrix, new_codes = _two_classes(2)
    new_matrix, new_codes = new_matrix[new_codes == 1], new_codes[new_codes == 1]
    refitted = before.refit(new_matrix, new_codes, decay_rate=0.5)
    assert refitted.predict(new_matrix).mean() < before.predict(new_matrix).mean() - 0.05
    boosted = train_lightgbm(settings, Dataset(new_matrix, new_codes), 10, init_model=before)
    assert boosted.num_trees() == before.num_trees() == 40

    adapter = LightGbmAdapter()
    fitted = adapter.fit(
        LGBMClassifier(n_jobs=1, n_estimators=40), _rows(matrix), _labels(codes), seed=0
    )
    ways: tuple[Way, ...] = ("boost", "leaves")
    for way in ways:
        with pytest.raises(Invalid, match="two classes"):
            adapter.continue_fit(fitted, _rows(new_matrix), _labels(new_codes), way=way)


def test_xgboost_empties_the_leaves_that_no_new_row_reaches() -> None:
    """Breaks when a refresh is taken as XGBoost leaves it: what is not shown is forgotten.

    The new rows are of one corner. There the refreshed model is as good as it was; of the rest
    it knows little more than nothing. Renewal keeps the old value of a leaf that no row reaches.
    """
    matrix, codes = _two_classes(1)
    settings = {"objective": "binary:logistic", "max_depth": 4, "verbosity": 0, "nthread": 1}
    before = train_xgboost(settings, DMatrix(matrix, codes), 40)
    new_matrix, new_codes = _two_classes(4)
    is_corner = new_matrix[:, 0] > 1.0
    refresh = {**settings, "process_type": "update", "updater": "refresh", "refresh_leaf": True}
    shown = DMatrix(new_matrix[is_corner], new_codes[is_corner])
    refreshed = train_xgboost(refresh, shown, 40, xgb_model=before)
    rest, rest_codes = new_matrix[~is_corner], new_codes[~is_corner]
    knew, knows = (
        _accuracy(each.inplace_predict(rest) > 0.5, rest_codes) for each in (before, refreshed)
    )
    assert knew > 0.93
    assert knows < 0.75

    adapter = XgboostAdapter()
    recipe = XGBClassifier(n_jobs=1, n_estimators=40, max_depth=4)
    fitted = adapter.fit(recipe, _rows(matrix), _labels(codes), seed=0)
    corner, corner_labels = _rows(new_matrix[is_corner]), _labels(new_codes[is_corner])
    for decay, least in ((0.9, 0.92), (0.0, 0.92)):
        child = adapter.continue_fit(fitted, corner, corner_labels, way="leaves", decay=decay)
        kept = adapter.predict(child, _rows(rest))[:, 1] > 0.5
        assert _accuracy(kept, rest_codes) > least
