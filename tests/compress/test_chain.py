"""Chains as text: what is written is read back the same, and what is wrong is told.

What would break it: a label that leaves out an option, so that two trials share a key; a free
knob that is lost beside other options; an error that does not say what was meant.
"""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renewal.compress.chain import NOTHING, Chain, Step, parse_chain
from renewal.core.errors import Invalid, NotFound
from renewal.core.plugin import load_plugin

_FOREST = load_plugin("techniques", "prune.forest")
_STUDENT = load_plugin("techniques", "distil.student")

_FORESTS = st.builds(
    _FOREST.Options,
    trees=st.none() | st.integers(1, 500),
    leaves=st.none() | st.integers(1, 500),
    slim=st.booleans(),
).map(lambda options: Step("prune.forest", options))
_STUDENTS = st.builds(
    _STUDENT.Options, student=st.sampled_from(["boosting", "linear", "forest"])
).map(lambda options: Step("distil.student", options))
_STEPS = st.lists(_FORESTS | _STUDENTS, max_size=4)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(_STEPS, st.integers(0, 7))
def test_a_label_is_read_back_as_the_same_chain(steps: list[Step], at: int) -> None:
    if at < len(steps):
        knob = steps[at].does.knob
        assert knob is not None
        # A free knob has no value of its own: it stands at its default.
        default = getattr(steps[at].does.Options(), knob)
        options = steps[at].at(steps[at].does.Options()).options
        assert getattr(options, knob) == default
        steps[at] = Step(steps[at].technique, options, is_free=True)
    chain = Chain(tuple(steps))
    again = parse_chain(chain.label)
    assert again == chain
    assert again.label == chain.label
    assert (again.free is None) == (not any(each.is_free for each in steps))
    assert parse_chain(chain.family).family == chain.family


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("prune.forest:*", "prune.forest(trees=*)"),
        ("prune.forest(*)", "prune.forest(trees=*)"),
        ("prune.forest:trees=*", "prune.forest(trees=*)"),
        ("prune.forest:leaves=9,*", "prune.forest(leaves=9,trees=*)"),
        ("prune.forest: trees=* , slim=yes", "prune.forest(slim=true,trees=*)"),
        ("prune.forest(leaves=9, trees=*)", "prune.forest(leaves=9,trees=*)"),
        ("prune.forest()", "prune.forest"),
        ("  prune.forest   >distil.student:*", "prune.forest > distil.student(size=*)"),
        ("distil.student:student=linear,size=*", "distil.student(student=linear,size=*)"),
        (NOTHING, NOTHING),
    ],
)
def test_free_knobs_and_spaces_are_written_one_way(text: str, label: str) -> None:
    assert parse_chain(text).label == label
    assert parse_chain(label).label == label


def test_a_free_knob_is_set_by_a_level_and_keeps_the_other_options() -> None:
    chain = parse_chain("distil.student(student=linear) > prune.forest:slim=yes,*")
    assert chain.free == 1
    at = chain.at(_FOREST.Options(trees=7))
    assert at.label == "distil.student(student=linear) > prune.forest(trees=7,slim=true)"
    assert at.free is None
    assert at.family == chain.family == parse_chain(at.family).family
    assert chain.family != parse_chain("prune.forest:*").family


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("prune.foret:*", NotFound, "prune.forest"),
        ("prune.forest:tres=3", Invalid, "trees"),
        ("prune.forest:trees=many", Invalid, "whole number"),
        ("distil.student:size=2", Invalid, "size"),
        ("prune.forest:trees", Invalid, "="),
        ("prune.forest:* > prune.path:*", Invalid, "at most one free knob"),
        ("export.graph:*", Invalid, "no free knob for export.graph"),
        ("prune.forest(trees=3", Invalid, "steps such as"),
        ("prune.forest >", Invalid, "steps such as"),
        ("> prune.forest", Invalid, "steps such as"),
        ("", Invalid, "steps such as"),
        ("PRUNE FOREST", Invalid, "steps such as"),
        ("nothing > prune.forest", NotFound, "nothing"),
    ],
)
def test_what_is_wrong_is_told(text: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as told:
        parse_chain(text)
    assert says in str(told.value)


def test_a_strangers_technique_is_read_like_our_own(odd: ModuleType) -> None:
    chain = parse_chain("prune.trees:last=yes,* > prune.raising")
    assert chain.label == "prune.trees(last=true,keep=*) > prune.raising"
    assert chain.steps[0].does.__class__ is odd.Trees
