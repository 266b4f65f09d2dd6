"""Every registered strategy against every check, and every check against a cheat."""
# the docstring of a cheat says what its methods do wrong

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import pytest

from renewal.core.plugin import load_plugin, plugin_names
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.testing.strategies import STRATEGY_CHECKS, run_check
from renewal.testing.torch_recording import layered_cases
from renewal.testing.updating import cases
from renewal.update.contract import ALONE, Made, Means, Parent
from renewal.update.incremental import Incremental, IncrementalOptions
from renewal.update.recalibrate import Recalibrate, RecalibrateOptions
from renewal.update.retrain import Retrain, RetrainOptions

# A strategy that needs layers is asked for updates of a network.
_EVERY = {"fine_tune": layered_cases}


@pytest.mark.parametrize("name", plugin_names("strategies"))
@pytest.mark.parametrize("check", STRATEGY_CHECKS)
def test_registered_strategies_conform(name: str, check: str) -> None:
    run_check(check, load_plugin("strategies", name), every=_EVERY.get(name, cases))


@dataclass(frozen=True, slots=True)
class EverythingOn(RetrainOptions):
    """A retraining that chooses, weighs and calibrates, wherever the rows allow it."""

    half_life: timedelta | None = timedelta(days=20)
    calibrate: Any = "sigmoid"


class RetrainsWithEverything(Retrain):
    """Retrain with every step that looks at rows; what a case does not allow is left out."""

    name: ClassVar[str] = "retrain_with_everything"
    Options = EverythingOn

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        is_classes = parent.task.name == "binary"
        found = replace(
            options,
            balance=is_classes,
            calibrate=options.calibrate if is_classes else "none",
            trials=0 if means.validation is None else 2,
            space="random_state:1..9",
        )
        return super().make(parent, rows, found, seed, means)


@dataclass(frozen=True, slots=True)
class WithReplay(IncrementalOptions):
    """Going on with old rows among the new ones, twice."""

    passes: int = 2
    replay: float = 0.5


class GoesOnWithReplay(Incremental):
    """Incremental as somebody would use it against forgetting."""

    name: ClassVar[str] = "incremental_with_replay"
    Options = WithReplay


@pytest.mark.parametrize("strategy", [RetrainsWithEverything, GoesOnWithReplay])
@pytest.mark.parametrize("check", STRATEGY_CHECKS)
def test_shipped_strategies_conform_with_their_options_on(strategy: type[Any], check: str) -> None:
    """Breaks when an option reads a row that the defaults leave alone."""
    run_check(check, strategy)


def test_the_options_did_something() -> None:
    """Breaks when the test above runs with trials, calibration and replay off."""
    case = next(case for case in cases() if case.validation is not None)
    means = Means(validation=case.validation)
    made = RetrainsWithEverything().make(case.parent, case.rows, EverythingOn(), 1, means)
    assert made.facts["tuning"]["trials"] == 2
    assert made.facts["calibration"]["n_rows"] > 100
    assert made.estimator.score_map.kinds == ("prior", "sigmoid")
    went_on = Incremental().make(case.parent, case.rows, WithReplay(), 1, means)
    assert went_on.facts["n_replayed"] > 50


def _all_rows_like(rows: Rows) -> Rows:
    """Return the whole snapshot to which some rows belong, as a cheat might keep it."""
    for case in cases():
        same_labels = case.rows.label is not None and rows.label is not None
        if (
            len(case.rows) == len(rows)
            and same_labels
            and np.array_equal(case.rows.key_hash, rows.key_hash)
        ):
            return case.everything
    return rows


class FitsEverything(Retrain):
    """Fits the rows that judge and those that choose as well."""

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        return super().make(parent, _all_rows_like(rows), options, seed, means)


class FitsWhatItChoosesOn(Retrain):
    """Learns from the validation rows, which would tell it that it is good."""

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        return super().make(parent, means.validation or rows, options, seed)


class LooksAtTheTest(Retrain):
    """Fits what it may, and peeks at the rows that judge."""

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        parent.adapter.predict(parent.estimator, _all_rows_like(rows).features)
        return super().make(parent, rows, options, seed, means)


class ForgetsRows(Retrain):
    """Fits all it is given and says that it was half."""

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        made = super().make(parent, rows, options, seed, means)
        used = rows.labelled()
        return replace(made, keyset=KeySet.of(used.take(np.arange(len(used) // 2))))


class ForgetsAncestors(Incremental):
    """Goes on with the parent's parameters and remembers only its own rows."""

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: IncrementalOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        made = super().make(parent, rows, options, seed, means)
        fresh = rows.labelled()
        if parent.keyset is not None:
            fresh = fresh.take(~np.isin(fresh.key_hash, parent.keyset.keys))
        return replace(made, keyset=KeySet.of(fresh))


class DeniesItsParent(Recalibrate):
    """Wraps the parent and says that nothing of it is left."""

    keeps_parent: ClassVar[bool] = False

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RecalibrateOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        return replace(super().make(parent, rows, options, seed, means), parent_is_ancestor=False)


class LearnsInPlace(Incremental):
    """Changes the estimator that serves at this moment."""

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: IncrementalOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        made = super().make(parent, rows, options, seed, means)
        parent.estimator.__dict__.update(made.estimator.__dict__)
        return made


class NeverTheSame(Retrain):
    """Draws other rows every time."""

    drawn = np.random.default_rng(0)

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        return super().make(
            parent, rows.take(self.drawn.random(len(rows)) < 0.8), options, seed, means
        )


class SwallowsOneClass(Retrain):
    """Makes a candidate of whatever comes."""

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        labels: Any = rows.label
        if len(rows) == 0 or (labels.dtype == object and len(set(labels.tolist())) < 2):
            return super().make(parent, cases()[0].rows, options, seed, means)
        return super().make(parent, rows, options, seed, means)


class NeverPossible(Retrain):
    """Has an excuse for every parent."""

    def why_not(self, parent: Parent, rows: Rows | None = None) -> str | None:  # noqa: ARG002  # whatever comes
        return "not today"


class SaysNoAndGoesOn(NeverPossible):
    """Says why not, and makes it all the same."""

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        return Retrain().make(parent, rows, options, seed, means)


class Remembers(Retrain):
    """Keeps state between calls."""

    def __init__(self) -> None:
        self.last: Made | None = None


@dataclass
class Loose:
    """Options that may change, one of which no JSON holds."""

    weights: tuple[float, ...] = (1.0,)


class LooseOptions(Retrain):
    """Takes options that no manifest can keep."""

    Options = Loose  # type: ignore[assignment]  # that is its fault


class WrongClasses(Retrain):
    """Names the classes in the wrong order."""

    def make(
        self,
        parent: Parent,
        rows: Rows,
        options: RetrainOptions,
        seed: int,
        means: Means = ALONE,
    ) -> Made:
        made = super().make(parent, rows, options, seed, means)
        return replace(made, classes=made.classes[::-1])


CHEATS = [
    (FitsEverything, "uses_only_rows_it_may"),
    (FitsWhatItChoosesOn, "uses_only_rows_it_may"),
    (LooksAtTheTest, "uses_only_rows_it_may"),
    (ForgetsRows, "remembers_every_row"),
    (ForgetsAncestors, "remembers_its_ancestors"),
    (DeniesItsParent, "remembers_its_ancestors"),
    (LearnsInPlace, "leaves_its_inputs_alone"),
    (NeverTheSame, "same_again"),
    (SwallowsOneClass, "names_numbers_when_rows_do_not_do"),
    (NeverPossible, "is_possible_somewhere"),
    (SaysNoAndGoesOn, "says_why_not"),
    (Remembers, "declares_itself"),
    (LooseOptions, "options_are_plain"),
    (WrongClasses, "can_be_stored"),
]


@pytest.mark.parametrize(("cheat", "check"), CHEATS, ids=[cheat.__name__ for cheat, _ in CHEATS])
def test_a_cheat_is_caught(cheat: type[Any], check: str) -> None:
    """Breaks when a check could not fail: each of these does what it is there to catch."""
    with pytest.raises(AssertionError):
        run_check(check, cheat)


def test_every_check_catches_a_cheat() -> None:
    assert {check for _, check in CHEATS} == set(STRATEGY_CHECKS)


def test_an_excuse_must_be_needed() -> None:
    run_check("can_be_stored", WrongClasses, expected_failures={"can_be_stored": "it is a cheat"})
    with pytest.raises(AssertionError, match="stale excuse"):
        run_check("can_be_stored", Retrain, expected_failures={"can_be_stored": "long ago"})
