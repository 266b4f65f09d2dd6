"""Search spaces as text."""

from __future__ import annotations

import pytest

from renewal.core.errors import Invalid
from renewal.core.option_text import parse_options, show_options
from renewal.update.retrain import RetrainOptions
from renewal.update.space_text import parse_space

TEXT = "model__C:1e-3..1e1:log|depth:2..9|penalty:l1;l2;none|width:0.5;2|fit:true;false"


def test_every_form_is_read() -> None:
    """Breaks when a whole range becomes one of fractions, or `none` a text."""
    space = parse_space(TEXT, who="t")
    assert (space["model__C"].low, space["model__C"].high, space["model__C"].log) == (
        1e-3,
        10,
        True,
    )
    assert space["depth"].is_whole
    assert not space["model__C"].is_whole
    assert space["penalty"].choices == ("l1", "l2", None)
    assert space["width"].choices == (0.5, 2)
    assert space["fit"].choices == (True, False)


def test_a_recipe_carries_it_through_the_journal() -> None:
    """Breaks when the text holds a character that a recipe cannot."""
    options = RetrainOptions(trials=5, space=TEXT)
    assert parse_options(RetrainOptions, show_options(options), who="t") == options


@pytest.mark.parametrize(
    "wrong",
    [
        "C",
        "C:",
        ":1..2",
        "C:1..x",
        "C:1..2:cube",
        "C:1..2|C:1..3",
        "C:5..2",
        "C:-1..2:log",
        "",
        "C:0..1e400",
        "C:-inf..1",
        "C:nan..1",
    ],
)
def test_what_cannot_be_read_says_how_to_write_it(wrong: str) -> None:
    """Breaks when a slip of the pen is tuned as something else."""
    with pytest.raises(Invalid):
        RetrainOptions(space=wrong)


def test_a_choice_that_nests_too_deep_is_a_text() -> None:
    """Breaks when the reader of JSON runs out of stack on what a person wrote."""
    deep = "[" * 100_000
    assert parse_space(f"C:{deep};1", who="t")["C"].choices == (deep, 1)
