"""The README's first screen: its program runs and prints what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_the_program_prints_what_the_readme_says(
    root: Path, run_page: Callable[[Path], int]
) -> None:
    """A name of the face that changes, or another verdict, breaks this."""
    assert run_page(root / "README.md") >= 1


def test_the_program_is_short_and_comes_early(
    root: Path, blocks: Callable[[Path], list[Any]]
) -> None:
    program = next(each for each in blocks(root / "README.md") if each.language == "python")
    code = [line for line in program.text.splitlines() if line.strip() and line[0] != "#"]
    assert len(code) <= 20
    assert program.line <= 16


def test_the_two_commands_are_verbs_of_the_makefile(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for verb in ("demo", "test"):
        assert f"make {verb}" in readme
        assert re.search(rf"^{verb}:", makefile, re.MULTILINE)
