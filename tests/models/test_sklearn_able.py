"""What an estimator says it can do on new rows, beside what happens where it cannot.

Each refusal stands beside the silent damage that it prevents, done with scikit-learn itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from renewal.core.errors import Invalid
from renewal.models.sklearn import SklearnAdapter
from renewal.models.sklearn_able import capabilities_of

ROWS, LABELS = [[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]


def _world(n_rows: int, seed: int, unit: float = 1.0) -> tuple[Any, Any]:
    """Return rows of three inputs, the first in another unit, and what they are."""
    inputs = np.random.default_rng(seed).normal(size=(n_rows, 3))
    is_late = inputs[:, 0] + inputs[:, 1] * inputs[:, 2] > 0
    return inputs * [unit, 1.0, 1.0], is_late


def test_a_warm_start_of_boosted_trees_reads_old_trees_through_new_bins() -> None:
    """Broken by a capability that lets a warm start run on new rows: nothing warns of it."""
    old, new = _world(1500, 1), _world(1500, 2, unit=1000.0)
    trees = HistGradientBoostingClassifier(max_iter=60, warm_start=True, random_state=0).fit(*old)
    trees.set_params(max_iter=80).fit(*new)
    scratch = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(*new)
    # Sixty old iterations and twenty new ones are worse than twenty alone, on the new rows.
    assert trees.score(*new) < scratch.score(*new) - 0.05
    assert not capabilities_of(trees).can_continue_on_new_data
    with pytest.raises(Invalid, match="wrong bins"):
        _continued(trees, *new)


def test_a_warm_start_of_a_forest_breaks_on_a_new_class() -> None:
    """Broken likewise: the fit succeeds, and every later prediction raises."""
    rows, is_late = _world(300, 1)
    forest = RandomForestClassifier(5, warm_start=True, random_state=0).fit(
        rows, is_late.astype(int)
    )
    three = np.where(rows[:, 2] > 1.0, 2, is_late.astype(int))
    forest.set_params(n_estimators=10).fit(rows, three)
    with pytest.raises(ValueError, match="broadcast"):
        forest.predict_proba(rows)
    able = capabilities_of(forest)
    assert not able.can_continue_on_new_data
    assert not able.accepts_new_classes
    with pytest.raises(Invalid, match="keeps its old members as they are"):
        _continued(forest, rows, is_late)


def test_a_warm_start_of_a_linear_model_forgets() -> None:
    """Broken likewise: warm or cold, it ends where the new rows alone lead."""
    old, new = _world(1500, 1), _world(1500, 2)
    turned = (new[0], ~new[1])
    warm = LogisticRegression(warm_start=True).fit(*old).fit(*turned)
    cold = LogisticRegression().fit(*turned)
    np.testing.assert_allclose(warm.coef_, cold.coef_, atol=1e-2)
    with pytest.raises(Invalid, match="forgets the old rows"):
        _continued(warm, *turned)


def test_what_is_frozen_cannot_be_fitted_again() -> None:
    """Broken by a retraining that hands back the old model and says that it is new."""
    frozen = FrozenEstimator(GaussianNB().fit(ROWS, LABELS))
    frozen.fit([[0.0], [1.0]], [1, 0])
    assert frozen.predict([[3.0]]) == [1]
    able = capabilities_of(frozen)
    assert not able.can_refit
    assert "keeps what it was fitted on" in able.why_not["refit"]
    assert capabilities_of(GaussianNB()).can_refit


def test_every_lack_has_a_reason() -> None:
    """Broken by a refusal that nobody can understand."""
    able = capabilities_of(KNeighborsClassifier())
    assert set(able.why_not) == {"partial_fit", "continue", "layers", "new_classes"}
    assert all("KNeighborsClassifier" in reason for reason in able.why_not.values())


def _continued(estimator: Any, rows: Any, labels: Any) -> Any:
    table = pa.table({f"x{at}": column for at, column in enumerate(rows.T)})
    known = np.array(labels.tolist(), dtype=object)
    return SklearnAdapter().continue_fit(estimator, table, known, way="boost")


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (HistGradientBoostingClassifier(), "valid only on the same data"),
        (make_pipeline(StandardScaler(), HistGradientBoostingClassifier()), "the same data"),
        (RandomForestClassifier(), "leaves the old ones as they are"),
        (LogisticRegression(), "forgets the old rows"),
        (KNeighborsClassifier(), "KNeighborsClassifier has no partial_fit"),
        (SGDClassifier(early_stopping=True), "early_stopping"),
        (SGDClassifier(class_weight="balanced"), "class_weight"),
        (MLPClassifier(early_stopping=True), "early_stopping"),
        (MLPClassifier(solver="lbfgs"), "no partial_fit"),
    ],
)
def test_why_not_partial_fit(estimator: Any, reason: str) -> None:
    """Broken by a capability that is claimed, or refused without a reason that helps."""
    found = capabilities_of(estimator)
    assert not found.can_partial_fit
    assert reason in found.why_not["partial_fit"]


@pytest.mark.parametrize(
    "estimator",
    [
        SGDClassifier(loss="log_loss"),
        GaussianNB(),
        MLPClassifier(),
        make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss")),
        CalibratedClassifierCV(FrozenEstimator(GaussianNB().fit(ROWS, LABELS))),
    ],
)
def test_can_partial_fit(estimator: Any) -> None:
    """Broken by a wrapper that hides what its inside can do."""
    found = capabilities_of(estimator)
    assert found.can_partial_fit
    assert not found.grows
    assert "partial_fit" not in found.why_not
