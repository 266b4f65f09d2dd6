"""The pages of docs/: their code runs, their links lead somewhere, decisions have their form."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    + [
        page
        for folder in ("docs", "changelog.d", "examples")
        for page in (ROOT / folder).rglob("*.md")
    ]
)
GUIDE = sorted([ROOT / "docs/start.md", *(ROOT / "docs/guide").glob("*.md")])
DECISIONS = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_KINDS = {"added", "changed", "fixed", "removed"}


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", GUIDE, ids=_name)
def test_the_code_of_a_page_runs(page: Path, run_page: Callable[[Path], int]) -> None:
    """Any name, option or output that a page promises and the code does not keep."""
    run_page(page)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _hash, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{_name(page)} links to {target}"
        if anchor:
            assert anchor in _anchors(found), f"{_name(page)} links to {target}"


@pytest.mark.parametrize("page", DECISIONS, ids=_name)
def test_a_decision_says_what_was_given_up(page: Path) -> None:
    heads = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert heads[:3] == ["Context", "Choice", "What we gave up"]
    index = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    assert page.name in index


def test_fragments_name_their_kind() -> None:
    for page in (ROOT / "changelog.d").glob("*.md"):
        if page.name != "README.md":
            assert page.stem.rpartition(".")[2] in _KINDS, page.name


def test_every_page_is_reached_from_the_readme() -> None:
    """A page that nothing links to is not found by anybody."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        waiting.extend(
            (page.parent / target.partition("#")[0]).resolve()
            for target in _LINK.findall(page.read_text(encoding="utf-8"))
            if not re.match(r"[a-z]+:", target)
        )
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert sorted(map(_name, pages - seen)) == []


def _anchors(page: Path) -> set[str]:
    """Return the anchors that headings get: lower case, words joined by hyphens."""
    heads: list[Any] = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
