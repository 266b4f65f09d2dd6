"""Costs in a recipe: every pair once, by names that the model knows."""

from __future__ import annotations

import pytest

from renewal.core.errors import Invalid
from renewal.models.score_map_weights import Costs
from renewal.update.deciding import costs_of


def test_gains_and_pairs_can_be_named() -> None:
    """Broken by a table that is transposed, or a right decision that must cost nothing."""
    assert costs_of("tp:-2 | fn:5", (False, True), who="test") == Costs(((0.0, 1.0), (5.0, -2.0)))
    named = costs_of("True>False:5|True>True:-2", (False, True), who="test")
    assert named == Costs(((0.0, 1.0), (5.0, -2.0)))
    three = costs_of("a>b:2|c>a:0.5|b>b:1", ("a", "b", "c"), who="test")
    assert three == Costs(((0.0, 2.0, 1.0), (1.0, 1.0, 1.0), (0.5, 1.0, 0.0)))


def test_signs_in_the_names_of_classes_do_no_harm() -> None:
    found = costs_of("a>b>c:7", ("a>b", "c"), who="test")
    assert found == Costs(((0.0, 7.0), (1.0, 0.0)))


def test_equal_is_no_decision_of_its_own() -> None:
    assert costs_of("equal", ("a", "b"), who="test") is None


@pytest.mark.parametrize(
    "text", ["", "fp", "fp:", "fp:much", "fp:inf", "xy:1", "fp:1|fp:2", "fp:1|no>yes:2", "no:1"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    """Broken by a cost that is passed over: the decision would be another one."""
    with pytest.raises(Invalid, match=r"fp:1\|fn:5"):
        costs_of(text, ("no", "yes"), who="test")


def test_of_three_classes_none_is_positive() -> None:
    with pytest.raises(Invalid, match="a>c:5"):
        costs_of("fp:1", ("a", "b", "c"), who="test")
