"""What every technique of compression must hold to: a suite for whoever writes one.

A technique is asked to make small models of every kind smaller that it says it takes. In a
test of your own::

    @pytest.mark.parametrize("check", TECHNIQUE_CHECKS)
    def test_my_technique(check):
        run_check(check, MyTechnique, every=sklearn_forms)

Forms of other frameworks are in `renewal.testing.lightgbm_forms` and its like.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np

from renewal.compress.exporting import is_exported
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.core.errors import RenewalError
from renewal.core.option_text import parse_options, plain_options, show_options
from renewal.core.plugin import load_plugin, plugin_names
from renewal.testing.forms import FormCase, Forms

_SEED = 7
_NOISE = 1.05


@dataclass(slots=True)
class Tried:
    """What a technique made of the forms, each made once and looked at by several checks.

    Parameters
    ----------
    technique : type
        The class that the entry point names.
    every : callable
        Makes the forms.
    spoiled : set of str
        Labels of the forms that were changed while they were made smaller.
    """

    technique: type[Any]
    every: Forms
    spoiled: set[str] = field(default_factory=set)
    _made: dict[tuple[str, str], Form] = field(default_factory=dict)
    _parents: dict[str, tuple[bytes, Any]] = field(default_factory=dict)

    def possible(self) -> Iterator[FormCase]:
        """Yield the forms of which the technique says that it can make them smaller."""
        for case in self.every():
            taken = case.form.adapter in self.technique.takes
            if taken and self.technique().why_not(case.form, case.material) is None:
                yield case

    def levels(self, case: FormCase) -> tuple[Any, ...]:
        """Return the levels of a form."""
        found: tuple[Any, ...] = self.technique().levels(case.form, case.material)
        return found

    def apply(self, case: FormCase, options: Any) -> Form:
        """Apply the technique anew, and note whether the parent is what it was."""
        before, said = self._parents.setdefault(
            case.label, (_bytes(case.form), case.form.predict(case.features))
        )
        made: Form = self.technique().apply(case.form, options, case.material, seed=_SEED)
        same = np.array_equal(case.form.predict(case.features), said)
        if not same or _bytes(case.form) != before:
            self.spoiled.add(case.label)
        return made

    def made(self, case: FormCase, options: Any) -> Form:
        """Return what the technique makes of a form, from before where it was made before."""
        at = case.label, repr(options)
        if at not in self._made:
            self._made[at] = self.apply(case, options)
        return self._made[at]

    def walked(self, case: FormCase) -> list[tuple[Any, Form]]:
        """Return the form at its mildest, middle and strongest level."""
        levels = self.levels(case)
        chosen = sorted({0, len(levels) // 2, len(levels) - 1})
        return [(levels[at], self.made(case, levels[at])) for at in chosen]


_TRIED: dict[tuple[type[Any], Forms], Tried] = {}


def run_check(
    name: str,
    technique: type[Any],
    *,
    every: Forms,
    expected_failures: Mapping[str, str] | None = None,
) -> None:
    """Run one check of a technique; raise AssertionError with a sentence when it fails.

    Parameters
    ----------
    name : str
        One of `TECHNIQUE_CHECKS`.
    technique : type
        The class that the entry point names.
    every : callable
        Makes the forms that it is asked to make smaller, the same whenever it is called; those
        of other adapters, and those of which it says why not, are passed over.
    expected_failures : mapping of str to str or None
        Checks that it cannot hold to, each with the reason. An excuse that is no longer
        needed fails.

    Raises
    ------
    AssertionError
        When the check fails, or passes although it is excused.
    """
    reason = (expected_failures or {}).get(name)
    tried = _TRIED.setdefault((technique, every), Tried(technique, every))
    try:
        TECHNIQUE_CHECKS[name](tried)
    except AssertionError:
        if reason is None:
            raise
        return
    assert reason is None, f"{name} passes: drop the stale excuse {reason!r}"


def check_declares_itself(tried: Tried) -> None:
    """Demand a name with its family, frozen options with defaults, and no state."""
    technique = tried.technique
    family, dot, rest = technique.name.partition(".")
    assert (family, dot) == (technique.family, "."), f"{technique.name!r} is no family and act"
    assert rest, f"{technique.name!r} does not say what is done"
    if technique.name in plugin_names("techniques"):
        assert load_plugin("techniques", technique.name) is technique, (
            f"the entry point {technique.name!r} names another class"
        )
    unknown = set(technique.takes) - set(plugin_names("adapters"))
    assert technique.takes, "it takes no adapter's forms"
    assert not unknown, f"it takes forms of adapters that nobody registered: {unknown}"
    options = technique.Options
    assert dataclasses.is_dataclass(options), "Options is a dataclass"
    frozen = options.__dict__["__dataclass_params__"].frozen
    assert frozen, "Options is frozen: it goes into a manifest"
    names = {each.name for each in dataclasses.fields(options)}
    assert technique.knob is None or technique.knob in names, f"no option {technique.knob!r}"
    assert isinstance(technique.learns, bool), "learns says whether it looks at rows"
    assert technique.__doc__, "the docstring says what it does, what it costs, when not to use it"
    assert getattr(technique(), "__dict__", {}) == {}, "a technique keeps no state"


def check_is_possible_somewhere(tried: Tried) -> None:
    """Demand one form: where nothing is possible every other check would pass."""
    assert any(True for _ in tried.possible()), "it takes no form of the suite"


def check_options_are_plain(tried: Tried) -> None:
    """Demand options that survive a chain's text, a pickle, and a manifest."""
    kind = tried.technique.Options
    found = [kind(), *(each for case in tried.possible() for each in tried.levels(case))]
    for options in found:
        text = show_options(options)
        assert parse_options(kind, text, who="the suite") == options, f"{text!r} reads otherwise"
        assert pickle.loads(pickle.dumps(options)) == options, (  # noqa: S301  # its own bytes
            f"{text!r} does not pickle"
        )  # its own bytes
        for name, value in plain_options(options).items():
            plain = isinstance(value, str | int | float | bool | None)
            assert plain, f"option {name} is no JSON value"


def check_walks_its_knob(tried: Tried) -> None:
    """Demand 1 to 12 different levels that differ in the knob, or the defaults alone."""
    knob = tried.technique.knob
    for case in tried.possible():
        levels = tried.levels(case)
        assert 1 <= len(levels) <= 12, f"{case.label}: {len(levels)} levels"
        if knob is None:
            assert levels == (tried.technique.Options(),), f"{case.label}: it has no knob to turn"
            continue
        turned = [getattr(each, knob) for each in levels]
        assert len(set(turned)) == len(turned), f"{case.label}: a level comes twice: {turned}"
        others = {repr(replace(each, **{knob: turned[0]})) for each in levels}
        assert len(others) == 1, f"{case.label}: levels differ in more than {knob!r}"


def check_leaves_the_parent_alone(tried: Tried) -> None:
    """Refuse a change of the form handed in, which serves meanwhile, or of what it says."""
    for case in tried.possible():
        tried.walked(case)
        assert case.label not in tried.spoiled, f"{case.label}: the parent was changed"


def check_same_again(tried: Tried) -> None:
    """Demand the same form, byte for byte, of the same form, options, rows and seed."""
    for case in tried.possible():
        options = tried.levels(case)[-1]
        one, other = tried.made(case, options), tried.apply(case, options)
        assert _bytes(one) == _bytes(other), f"{case.label}: two runs, two forms"


def check_stays_a_model(tried: Tried) -> None:
    """Demand finite scores of the parent's classes, from no columns but the parent's."""
    for case in tried.possible():
        parent = case.form
        for options, made in tried.walked(case):
            label = f"{case.label}, {show_options(options) or 'defaults'}"
            assert made.classes == parent.classes, f"{label}: classes {made.classes}"
            own = made.runs.classes(made.estimator)
            assert own == parent.classes, f"{label}: the estimator knows {own}"
            columns = [each for each in parent.signature.fields if each in made.signature.fields]
            assert list(made.signature.fields) == columns, (
                f"{label}: {made.signature.names} are not columns of the parent, in its order"
            )
            scores = made.predict(case.features)
            expected = (case.features.num_rows, len(parent.classes) or 1)
            assert scores.shape == expected, f"{label}: scores of shape {scores.shape}"
            assert np.isfinite(scores).all(), f"{label}: scores that are no numbers"
            if parent.classes:
                assert np.allclose(scores.sum(axis=1), 1.0, atol=1e-4), f"{label}: no probability"


def check_can_be_stored(tried: Tried) -> None:
    """Demand that what is stored and read again says the same.

    Networks are passed over: cut ones are stored as graphs, and no class builds them again.
    """
    for case in tried.possible():
        made = tried.made(case, tried.levels(case)[-1])
        if is_exported(made.adapter):
            continue
        try:
            data = _bytes(made)
        except RenewalError as error:
            message = f"{case.label}: it cannot be stored: {error}"
            raise AssertionError(message) from error
        trust = () if made.adapter != case.form.adapter else case.trust
        again = replace(made, estimator=made.runs.load(data, trust))
        gap = np.abs(again.predict(case.features) - made.predict(case.features)).max()
        assert gap <= 1e-6, f"{case.label}: stored and read again it differs by {gap}"


def check_gets_smaller(tried: Tried) -> None:
    """Refuse bytes that grow along the levels by more than a twentieth."""
    for case in tried.possible():
        sizes = [len(_bytes(made)) for _, made in tried.walked(case)]
        grown = [one for one, then in pairwise(sizes) if then > one * _NOISE]
        assert not grown, f"{case.label}: bytes along its levels are {sizes}"


def check_says_why_not(tried: Tried) -> None:
    """Demand a reason in words wherever it cannot, and that it refuses there."""
    for case in tried.every():
        if case.form.adapter not in tried.technique.takes:
            continue
        for material in (case.material, case.without_rows()):
            reason = tried.technique().why_not(case.form, material)
            if reason is None:
                continue
            assert " " in reason.strip(), f"{case.label}: {reason!r} is no reason in words"
            error = _error(tried.technique, case.form, material)
            assert error is not None, f"{case.label}: it goes on where why_not says {reason!r}"
            assert isinstance(error, RenewalError), f"{case.label}: raised {error!r}"


def check_needs_no_rows_or_says_so(tried: Tried) -> None:
    """Demand a model, or a refusal in words, where there is no row or a single one."""
    for case in tried.possible():
        one = case.material.train.take(np.arange(1))
        single = Material(case.material.task, one, case.form, trust=case.trust)
        few = (("no row", case.without_rows()), ("one row", single))
        for what, material in few if tried.technique.learns else few[:1]:
            if tried.technique().why_not(case.form, material) is not None:
                continue
            options = tried.technique().levels(case.form, material)[0]
            try:
                made = tried.technique().apply(case.form, options, material, seed=_SEED)
            except RenewalError:
                continue
            except Exception as error:  # a plug-in may raise anything: the check says what
                message = f"{case.label}, {what}: raised {error!r}"
                raise AssertionError(message) from error
            scores = made.predict(case.features)
            assert np.isfinite(scores).all(), f"{case.label}, {what}: scores that are no numbers"


TECHNIQUE_CHECKS: Mapping[str, Callable[[Tried], None]] = MappingProxyType(
    {
        check.__name__.removeprefix("check_"): check
        for check in (
            check_declares_itself,
            check_is_possible_somewhere,
            check_options_are_plain,
            check_walks_its_knob,
            check_leaves_the_parent_alone,
            check_same_again,
            check_stays_a_model,
            check_can_be_stored,
            check_gets_smaller,
            check_says_why_not,
            check_needs_no_rows_or_says_so,
        )
    }
)
"""The checks by name; see `run_check`."""


def _bytes(form: Form) -> bytes:
    data: bytes = form.runs.dump(form.estimator)
    return data


def _error(technique: type[Any], form: Form, material: Material) -> Exception | None:
    try:
        technique().apply(form, technique.Options(), material, seed=_SEED)
    except Exception as error:  # noqa: BLE001  # a plug-in may raise anything: the check says what
        return error
    return None
