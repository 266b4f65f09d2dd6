"""A home in which nothing is compiled, and techniques of strangers."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from renewal.assemble.home import Home, open_home
from renewal.core.clock import ReplayClock
from renewal.core.plugin import _table
from tests.story.compress_home import POLICY, SALT, START


@pytest.fixture
def clock() -> ReplayClock:
    """Stand at the start."""
    return ReplayClock(START)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of the home."""
    return tmp_path / "home"


@pytest.fixture
def home(folder: Path, clock: ReplayClock) -> Iterator[Home]:
    """Open a home in which nothing is compiled, to be quick."""
    folder.mkdir()
    (folder / "salt").write_bytes(SALT)
    (folder / "renewal.toml").write_text(POLICY, encoding="utf-8")
    with open_home(folder, clock=clock) as opened:
        yield opened


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Install the techniques of `bad_techniques` as a package of its own."""
    folder = tmp_path / "site"
    info = folder / "bad_techniques-1.0.dist-info"
    info.mkdir(parents=True)
    text = Path(__file__).with_name("bad_techniques.py").read_text(encoding="utf-8")
    (folder / "bad_techniques.py").write_text(text, encoding="utf-8")
    pattern = r'^class (\w+)\(.*?name: ClassVar\[str\] = "(.*?)"'
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    points = [f"{name} = bad_techniques:{kind}" for kind, name in found if kind != "_Bad"]
    (info / "METADATA").write_text("Name: bad-techniques\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "\n".join(["[renewal.techniques]", *points]), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(folder))
    _table.cache_clear()
    sys.modules.pop("bad_techniques", None)
    yield importlib.import_module("bad_techniques")
    _table.cache_clear()
    sys.modules.pop("bad_techniques", None)
