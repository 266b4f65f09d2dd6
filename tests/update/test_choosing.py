"""A retraining that chooses its parameters on rows that it never fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.engine.inline import InlineEngine
from renewal.store.local import LocalStore
from renewal.testing.recording import RecordingClassifier, recording
from renewal.testing.updating import row_ids
from renewal.update.contract import Means, Parent
from renewal.update.retrain import Retrain, RetrainOptions

ParentOf = Callable[..., Parent]
FIT, WATCHED = np.arange(900), np.arange(900, 1200)
TRIALS = RetrainOptions(trials=4)


class AtATime(InlineEngine):
    """Says that it runs so many calls at a time, so that they are handed to it."""

    def __init__(self, n_slots: int) -> None:
        super().__init__()
        self._n_slots = n_slots

    @property
    def n_slots(self) -> int:
        return self._n_slots


def _validation(rows: Rows, **further: Any) -> Means:
    return Means(validation=rows.take(WATCHED), **further)


def test_better_parameters_are_found_and_remembered(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when the study's best is not what is fitted."""
    recipe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-4))
    parent = parent_of(recipe, timed)
    made = Retrain().make(parent, timed.take(FIT), TRIALS, 1, _validation(timed))
    found = made.facts["tuning"]
    assert found["loss"] < found["loss_as_it_is"] - 0.05
    assert made.estimator[-1].C == found["best"]["logisticregression__C"] > 1e-3
    assert parent.estimator[-1].C == 1e-4
    assert made.n_rows == int(timed.take(FIT).has_label.sum())
    assert (found["trials"], found["failed"]) == (4, 0)


def test_validation_rows_are_scored_and_never_fitted(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when the rows that choose are fitted, even where the caller hands them in twice."""
    parent = parent_of(RecordingClassifier(tape="t"), timed)
    options = RetrainOptions(trials=2, space="random_state:1..9")
    with recording("t") as tape:
        made = Retrain().make(parent, timed, options, 1, _validation(timed))
    chosen_on = set(row_ids(timed)[WATCHED].tolist())
    assert not tape.fitted & chosen_on
    assert tape.scored & chosen_on
    assert not np.isin(made.keyset.keys, timed.key_hash[WATCHED]).any()


def test_the_same_seed_chooses_the_same(parent_of: ParentOf, timed: Rows, tmp_path: Path) -> None:
    """Breaks when a study depends on anything but its inputs, or on where its trials run."""
    parent = parent_of(LogisticRegression(C=1e-4), timed)
    store = LocalStore(tmp_path / "store")
    means = [
        _validation(timed),
        _validation(timed, scratch=tmp_path / "one", engine=InlineEngine()),
        _validation(timed, scratch=tmp_path / "two", engine=AtATime(2)),
        _validation(timed, store=store, engine=AtATime(2)),
    ]
    found = [
        Retrain().make(parent, timed.take(FIT), TRIALS, 1, each).facts["tuning"] for each in means
    ]
    assert found[0] == found[1] == found[2] == found[3]
    assert len(list(store.digests())) == 3  # the recipe, the rows, the validation rows
    assert not (tmp_path / "one" / "objects").exists()
    assert (tmp_path / "two" / "objects").is_dir()
    other = Retrain().make(parent, timed.take(FIT), TRIALS, 2, means[0]).facts["tuning"]
    assert other["best"] != found[0]["best"]


@pytest.mark.parametrize("n_slots", [2, 5])
def test_any_machine_makes_the_same_candidate(
    parent_of: ParentOf, timed: Rows, tmp_path: Path, n_slots: int
) -> None:
    """Breaks when more cores propose more at once: from the tenth trial on it tells."""
    parent = parent_of(LogisticRegression(C=1e-4), timed)
    options = RetrainOptions(trials=16)
    engines = [None, AtATime(n_slots)]
    one, other = (
        Retrain().make(
            parent,
            timed.take(FIT),
            options,
            1,
            _validation(timed, store=LocalStore(tmp_path), engine=engine),
        )
        for engine in engines
    )
    assert one.facts["tuning"] == other.facts["tuning"]
    assert parent.adapter.dump(one.estimator) == parent.adapter.dump(other.estimator)


def test_a_study_starts_from_the_last_ones_best(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when what the last update has learned of the recipe is thrown away."""
    parent = parent_of(LogisticRegression(C=1e-4), timed)
    version = replace(parent.version, facts={"tuning": {"best": {"C": 1.23}}})
    options = RetrainOptions(trials=1)
    made = Retrain().make(
        replace(parent, version=version), timed.take(FIT), options, 1, _validation(timed)
    )
    assert made.facts["tuning"]["best"] == {"C": 1.23}


def test_what_the_race_found_is_taken_over(parent_of: ParentOf, timed: Rows) -> None:
    """Breaks when the fit up to the cut chooses again on rows that it fits."""
    parent = parent_of(LogisticRegression(C=1e-4), timed)
    raced = Retrain().make(parent, timed.take(FIT), TRIALS, 1, _validation(timed))
    last = Retrain().make(parent, timed, TRIALS, 1, Means(found=raced.facts))
    assert last.facts["tuning"] == raced.facts["tuning"]
    assert last.estimator.C == raced.estimator.C
    assert last.n_rows == int(timed.has_label.sum())


def test_the_very_same_study_is_not_run_twice(
    parent_of: ParentOf, timed: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a winner of the race is tuned again on the same rows."""
    parent = parent_of(LogisticRegression(C=1e-4), timed)
    raced = Retrain().make(parent, timed.take(FIT), TRIALS, 1, _validation(timed))
    fits: list[int] = []
    fit = LogisticRegression.fit

    def counting(self: Any, *args: Any, **named: Any) -> Any:
        fits.append(1)
        return fit(self, *args, **named)

    monkeypatch.setattr(LogisticRegression, "fit", counting)
    means = _validation(timed, found=raced.facts)
    Retrain().make(parent, timed.take(FIT), TRIALS, 1, means)
    assert len(fits) == 1
    fewer = timed.take(np.arange(600))
    Retrain().make(parent, fewer, TRIALS, 1, means)
    assert len(fits) > 3  # other rows, another study, which starts from the best


@pytest.mark.parametrize("rows", [None, np.arange(0)])
def test_without_validation_rows_nothing_is_tuned(
    parent_of: ParentOf, timed: Rows, rows: Any
) -> None:
    """Breaks when a study judges trials on the rows that they fit."""
    parent = parent_of(LogisticRegression(), timed)
    validation = None if rows is None else timed.take(rows)
    with pytest.raises(Invalid, match="labelled validation rows"):
        Retrain().make(parent, timed, TRIALS, 1, Means(validation=validation))


def test_a_recipe_without_a_space_asks_for_one(parent_of: ParentOf, timed: Rows) -> None:
    parent = parent_of(DummyClassifier(), timed)
    with pytest.raises(Invalid, match=r"none for DummyClassifier.*space="):
        Retrain().make(parent, timed.take(FIT), TRIALS, 1, _validation(timed))


def test_a_space_of_ones_own(parent_of: ParentOf, values: Rows) -> None:
    parent = parent_of(Ridge(), values)
    options = RetrainOptions(trials=3, space="alpha:1..2|fit_intercept:true")
    made = Retrain().make(parent, values.take(FIT), options, 1, _validation(values))
    assert made.facts["tuning"]["trials"] == 3
    best = made.facts["tuning"]["best"]
    assert best.get("alpha", 1) in {1, 2}


def test_parameters_that_no_recipe_has_fail_with_their_name(
    parent_of: ParentOf, timed: Rows
) -> None:
    """Breaks when a misspelled parameter is tuned in vain, and nobody is told."""
    parent = parent_of(LogisticRegression(), timed)
    options = RetrainOptions(trials=2, space="max_itr:1..2")
    with pytest.raises(Invalid, match="Did you mean 'max_iter'"):
        Retrain().make(parent, timed.take(FIT), options, 1, _validation(timed))
