"""Reading and running the pages of the documentation.

A page is read as its fenced blocks. All ```python blocks of a page run in order, in one
namespace, in an empty folder; a ```text block that follows a ```python block holds what the
latter prints. In ```console blocks each line after ``$`` that starts with ``renewal`` is run, and
the lines below it are what it prints. "..." stands for whatever differs from run to run.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from renewal.cli.main import main

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```\s*?$", re.MULTILINE | re.DOTALL)
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page, and where it starts."""

    language: str
    text: str
    line: int


def _blocks(page: Path) -> list[Block]:
    source = page.read_text(encoding="utf-8")
    return [
        Block(found[1], found[2], source.count("\n", 0, found.start()) + 1)
        for found in _FENCE.finditer(source)
    ]


def _differs(wanted: str, got: str) -> str:
    """Return an explanation when `got` is not what the page says; else nothing."""
    checker = doctest.OutputChecker()
    if checker.check_output(wanted, got, _FLAGS):
        return ""
    return checker.output_difference(doctest.Example("", wanted), got, _FLAGS)


def _python(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    out = io.StringIO()
    # The blank lines make line numbers of a traceback those of the page.
    code = compile("\n" * block.line + block.text, str(page), "exec")
    with contextlib.redirect_stdout(out):
        exec(code, namespace)  # noqa: S102  # the page under test
    return out.getvalue()


def _sessions(text: str) -> Iterator[tuple[str, str]]:
    """Split a console block into its commands, each with what it prints."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _newline, output = part.partition("\n")
        yield command, output


def _console(block: Block, page: Path) -> None:
    for command, wanted in _sessions(block.text):
        program, *arguments = shlex.split(command, comments=True)
        assert program == "renewal", f"{page.name}:{block.line}: only renewal is run: {command}"
        out, err = io.StringIO(), io.StringIO()
        code: object = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main(arguments)
            except SystemExit as exit_:
                code = exit_.code
        assert not code, f"{page.name}:{block.line}: {command}\n{err.getvalue()}"
        assert not _differs(wanted, out.getvalue()), f"{page.name}:{block.line}: {command}\n" + (
            _differs(wanted, out.getvalue())
        )


def _run(page: Path) -> int:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    blocks = _blocks(page)
    n_run = 0
    for at, block in enumerate(blocks):
        if block.language == "console":
            _console(block, page)
        if block.language != "python":
            continue
        printed = _python(block, page, namespace)
        n_run += 1
        following = blocks[at + 1] if at + 1 < len(blocks) else None
        wanted = following.text if following is not None and following.language == "text" else ""
        difference = _differs(wanted, printed) if wanted or printed else ""
        assert not difference, f"{page.name}:{block.line}\n{difference}"
    return n_run


@pytest.fixture
def run_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    """Return what runs a page in an empty folder and counts its Python blocks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RENEWAL_HOME", raising=False)
    monkeypatch.delenv("RENEWAL_DATABASE", raising=False)
    monkeypatch.setenv("USER", "you")
    monkeypatch.setenv("COLUMNS", "100")
    return _run


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the project."""
    return ROOT


@pytest.fixture(scope="session")
def blocks() -> Callable[[Path], list[Block]]:
    """Return what reads a page as its fenced blocks."""
    return _blocks
