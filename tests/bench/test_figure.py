"""Breaks when a figure's line could not be split at its blanks."""

from __future__ import annotations

import pytest

from bench.figure import figure


@pytest.mark.parametrize(
    ("value", "target", "word", "line"),
    [
        (0.123456, ">= 0.1", "ok", "FIGURE a.b 0.1235 >=0.1 ok"),
        (19, 20, "short", "FIGURE a.b 19 20 short"),
        ("3 of 4", "4 of 4", "short", "FIGURE a.b 3of4 4of4 short"),
    ],
)
def test_a_figure_is_one_line_of_five_words(
    capsys: pytest.CaptureFixture[str], value: object, target: object, word: str, line: str
) -> None:
    figure("a.b", value, target, ok=word == "ok")
    assert capsys.readouterr().out == line + "\n"
    assert len(line.split()) == 5
