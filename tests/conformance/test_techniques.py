"""Every registered technique against every check, and every check against a cheat."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lightgbm import LGBMClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.sklearn_forest import ForestOptions, PruneForest
from renewal.compress.sklearn_inside import changed
from renewal.compress.sklearn_path import PathOptions, PrunePath
from renewal.core.plugin import load_plugin, plugin_names
from renewal.core.spec import Signature
from renewal.testing.forms import FormCase, fitted_case, numbers
from renewal.testing.lightgbm_forms import lightgbm_forms
from renewal.testing.onnx_graphs import onnx_graphs
from renewal.testing.sklearn_forms import sklearn_forms
from renewal.testing.techniques import TECHNIQUE_CHECKS, run_check
from renewal.testing.torch_forms import torch_forms
from renewal.testing.transformers_forms import transformers_forms
from renewal.testing.xgboost_forms import xgboost_forms

EXCUSES = {
    ("gets_smaller", "prune.features"): "trees that see fewer columns need more leaves",
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def _every() -> tuple[FormCase, ...]:
    return (
        *sklearn_forms(),
        *lightgbm_forms(),
        *xgboost_forms(),
        *onnx_graphs(),
        *torch_forms(),
        *transformers_forms(),
    )


@cache
def _one_network() -> tuple[FormCase, ...]:
    return torch_forms()[:1]


# An export takes seconds; those of other networks are in the tests of the exports.
_FORMS = {"export.graph": _one_network}


@pytest.mark.parametrize("name", plugin_names("techniques"))
@pytest.mark.parametrize("check", TECHNIQUE_CHECKS)
def test_registered_techniques_conform(name: str, check: str) -> None:
    reason = EXCUSES.get((check, name))
    excuses = {} if reason is None else {check: reason}
    technique = load_plugin("techniques", name)
    run_check(check, technique, every=_FORMS.get(name, _every), expected_failures=excuses)


class Renamed(PrunePath):
    """Calls itself something that says no family."""

    name: ClassVar[str] = "path"


class NeverPossible(PrunePath):
    """Has an excuse for every form."""

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # the contract's
        return "not today"


@dataclass(frozen=True, slots=True)
class Loose:
    """Options, one of which no text can say."""

    alpha: tuple[float, ...] = (0.0, 0.01)


class LooseOptions(PrunePath):
    """Takes options that no chain can be written with."""

    Options: ClassVar[type[Any]] = Loose

    def levels(self, form: Form, material: Material) -> Any:  # noqa: ARG002  # the contract's
        return (Loose(),)


class SameLevelTwice(PrunePath):
    """Gives a search the same level again and again."""

    def levels(self, form: Form, material: Material) -> tuple[PathOptions, ...]:
        return super().levels(form, material)[:1] * 4


class CutsInPlace(PruneForest):
    """Changes the forest that serves at this moment."""

    def apply(self, form: Form, options: ForestOptions, material: Material, *, seed: int) -> Form:
        made = super().apply(form, options, material, seed=seed)
        form.estimator.estimators_ = made.estimator.estimators_
        return made


class NeverTheSame(PrunePath):
    """Draws another alpha every time."""

    drawn = np.random.default_rng(0)

    def apply(self, form: Form, options: PathOptions, material: Material, *, seed: int) -> Form:
        drawn = PathOptions(options.alpha * self.drawn.random())
        return super().apply(form, drawn, material, seed=seed)


class TurnsClasses(PrunePath):
    """Names the classes in another order than the parent does."""

    def apply(self, form: Form, options: PathOptions, material: Material, *, seed: int) -> Form:
        made = super().apply(form, options, material, seed=seed)
        return replace(made, classes=made.classes[::-1])


class AsksForMore(PrunePath):
    """Wants columns in an order of its own."""

    def apply(self, form: Form, options: PathOptions, material: Material, *, seed: int) -> Form:
        made = super().apply(form, options, material, seed=seed)
        return replace(made, signature=Signature(made.signature.fields[::-1]))


class HoldsAside(PrunePath):
    """Hangs something on the model that no store can write."""

    def apply(self, form: Form, options: PathOptions, material: Material, *, seed: int) -> Form:
        made = super().apply(form, options, material, seed=seed)
        return replace(made, estimator=changed(made.estimator, aside=lambda: None))


class Grows(PruneForest):
    """Walks its levels from small to large."""

    def levels(self, form: Form, material: Material) -> tuple[ForestOptions, ...]:
        return super().levels(form, material)[::-1]


class SaysNoAndGoesOn(PrunePath):
    """Says why not, and makes something all the same."""

    def apply(self, form: Form, options: PathOptions, material: Material, *, seed: int) -> Form:
        if self.why_not(form, material) is not None:
            return form
        return super().apply(form, options, material, seed=seed)


class NeedsARow(PrunePath):
    """Falls over where there is no row, and does not say so before."""

    def apply(self, form: Form, options: PathOptions, material: Material, *, seed: int) -> Form:
        _ = material.labels[0]
        return super().apply(form, options, material, seed=seed)


CHEATS = [
    (Renamed, "declares_itself"),
    (NeverPossible, "is_possible_somewhere"),
    (LooseOptions, "options_are_plain"),
    (SameLevelTwice, "walks_its_knob"),
    (CutsInPlace, "leaves_the_parent_alone"),
    (NeverTheSame, "same_again"),
    (TurnsClasses, "stays_a_model"),
    (AsksForMore, "stays_a_model"),
    (HoldsAside, "can_be_stored"),
    (Grows, "gets_smaller"),
    (SaysNoAndGoesOn, "says_why_not"),
    (NeedsARow, "needs_no_rows_or_says_so"),
]


def _fresh() -> tuple[FormCase, ...]:
    """Return forms of one's own: a cheat may spoil them."""
    many = numbers(200, task="multiclass")
    forest = RandomForestClassifier(6, random_state=0)
    tree = DecisionTreeClassifier(random_state=0)
    booster = LGBMClassifier(n_estimators=2, n_jobs=1, verbosity=-1)
    return (
        fitted_case("a tree", "sklearn", tree, *many, task="multiclass"),
        fitted_case("a forest", "sklearn", forest, *many, task="multiclass"),
        fitted_case("linear", "sklearn", LogisticRegression(), *many, task="multiclass"),
        fitted_case("a stranger", "lightgbm", booster, *many, task="multiclass"),
    )


@pytest.mark.parametrize(("cheat", "check"), CHEATS, ids=[cheat.__name__ for cheat, _ in CHEATS])
def test_a_cheat_is_caught(cheat: type[Any], check: str) -> None:
    """Breaks when a check could not fail: each of these does what it is there to catch."""
    with pytest.raises(AssertionError):
        run_check(check, cheat, every=cache(_fresh))


def test_every_check_catches_a_cheat_and_lets_an_honest_one_pass() -> None:
    assert {check for _, check in CHEATS} == set(TECHNIQUE_CHECKS)
    forms = cache(_fresh)
    for honest in (PrunePath, PruneForest):
        for check in TECHNIQUE_CHECKS:
            run_check(check, honest, every=forms)


def test_an_excuse_must_be_needed() -> None:
    forms = cache(_fresh)
    why = {"declares_itself": "it is a cheat"}
    run_check("declares_itself", Renamed, every=forms, expected_failures=why)
    with pytest.raises(AssertionError, match="stale excuse"):
        run_check("declares_itself", PrunePath, every=forms, expected_failures=why)
