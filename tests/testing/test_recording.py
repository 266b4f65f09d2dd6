"""Estimators that remember what they were shown, through clones, copies and wrappers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from renewal.testing.recording import (
    FixedClassifier,
    RecordingClassifier,
    RecordingRegressor,
    recording,
)

ROWS = np.column_stack([np.arange(100, 140), np.linspace(-1, 1, 40)])
LABELS = np.where(ROWS[:, 1] + 0.3 * np.sin(ROWS[:, 0]) > 0, "yes", "no")


def test_fits_and_predictions_are_told_apart() -> None:
    with recording("t") as tape:
        fitted = RecordingClassifier(tape="t").fit(ROWS[:20], np.tile(["a", "b"], 10))
        fitted.predict(ROWS[30:])
    assert tape.fitted == set(range(100, 120))
    assert tape.scored == set(range(130, 140))
    assert tape.shown == tape.fitted | tape.scored


def test_a_calibration_of_a_frozen_estimator_is_seen() -> None:
    """Breaks when a calibration could read rows without leaving a trace."""
    fitted = RecordingClassifier(tape="t").fit(ROWS, LABELS)
    with recording("t") as tape:
        CalibratedClassifierCV(FrozenEstimator(fitted), method="sigmoid").fit(ROWS[5:], LABELS[5:])
    assert tape.scored == set(range(105, 140))
    assert tape.fitted == set()


def test_a_birth_lives_on_in_copies_and_not_in_new_fits() -> None:
    fitted = RecordingClassifier(tape="t").fit(ROWS, LABELS)
    went_on = copy.deepcopy(fitted).partial_fit(ROWS, LABELS)
    fresh = clone(fitted).fit(ROWS, LABELS)

    def birth(estimator: RecordingClassifier) -> set[int]:
        with recording("t") as tape:
            estimator.predict_proba(ROWS[:1])
        return tape.births

    assert birth(went_on) == birth(fitted)
    assert birth(fresh) != birth(fitted)


def test_tapes_do_not_mix_and_nest() -> None:
    with recording("one") as one, recording("two") as two:
        RecordingRegressor(tape="one").fit(ROWS, ROWS[:, 1])
        with recording("one") as inner:
            RecordingRegressor(tape="one").fit(ROWS[:3], ROWS[:3, 1])
    assert len(one.fitted) == 40
    assert len(inner.fitted) == 3
    assert two.shown == set()


def test_without_a_tape_they_learn_all_the_same() -> None:
    fitted = RecordingClassifier().fit(ROWS, LABELS)
    assert fitted.score(ROWS, LABELS) > 0.8
    assert not hasattr(FixedClassifier(), "partial_fit")
    with pytest.raises(AttributeError, match="cannot go on"):
        FixedClassifier().partial_fit  # noqa: B018  # reading it is the test
