"""Each worked example runs in its short form, prints what it promises, and is in the list."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
WIDTH = 80


def _has_main(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(each, ast.FunctionDef) and each.name == "main" for each in tree.body)


NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if _has_main(path))
# These read the folder of shared data; where it is absent, they have rows of their own.
WITHOUT_DATA = ("beijing", "elec2", "intents")
Run = Callable[[str], str]
_PRINTED: dict[tuple[str, str], str] = {}  # by example and folder of data: each runs once


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs an example in its short form and returns what it printed."""
    data = Path(os.environ.get("RENEWAL_DATA", "../shared/data")).resolve()
    monkeypatch.setenv("RENEWAL_DATA", str(data))
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run_it(name: str) -> str:
        as_before = name, os.environ["RENEWAL_DATA"]
        if as_before in _PRINTED:
            return _PRINTED[as_before]
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # A dataclass looks its module up there.
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        module.main(quick=True)
        assert not list(tmp_path.iterdir()), "an example leaves nothing behind"
        _PRINTED[as_before] = capsys.readouterr().out
        return _PRINTED[as_before]

    return run_it


def test_there_are_examples_and_the_page_lists_exactly_these() -> None:
    listed = re.findall(
        r"^\| \[(\w+)\.py\]\(\1\.py\) \|", _text(EXAMPLES / "README.md"), re.MULTILINE
    )
    assert NAMES
    assert sorted(listed) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_what_to_see_and_how_to_run_it(name: str) -> None:
    told = ast.get_docstring(ast.parse(_text(EXAMPLES / f"{name}.py"))) or ""
    assert "What to see:" in told
    assert f"python examples/{name}.py [--quick]" in told


@pytest.mark.parametrize("name", NAMES)
def test_an_example_prints_a_table_and_a_sentence_in_80_columns(name: str, run: Run) -> None:
    lines = run(name).rstrip().splitlines()
    assert any(line.startswith("┏") for line in lines), "no table"
    assert any(line.rstrip().endswith(".") for line in lines), "no sentence of what came out"
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_an_example_runs_without_the_shared_data(
    name: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RENEWAL_DATA", "absent")
    assert run(name).rstrip().endswith(".")


def test_iris_shows_the_leak_and_the_honest_numbers_beside_it(run: Run) -> None:
    """Four in ten leak, the old model's part of all rows; were nothing split again, none would."""
    printed = run("iris")
    shares = re.findall(r"(\d+)% │ +[+-]\d\.\d{4} │", printed)
    assert 30 < int(shares[0]) < 50
    assert int(shares[1]) == 0
    # Roles are drawn anew in each home, so once in a while the champion stays the best.
    told = " ".join(printed.split())
    assert "it accepts nothing" in told or "nothing in the race beats the champion" in told


def test_new_intents_refuse_the_cheap_ways_and_retrain_learns_them(run: Run) -> None:
    """The column of new intents is 0 before an update and well above it after the update."""
    printed = run("intents")
    assert printed.count("not_possible") == 4
    rows = [line.split("│") for line in printed.splitlines() if re.match(r"│ \d+-\d+ ", line)]
    assert [float(row[8]) for row in rows][::2] == [0.0, 0.0]
    assert min(float(row[8]) for row in rows[1::2]) > 0.5


def test_the_market_shows_the_last_known_label(run: Run) -> None:
    """Known a day late, it says little; known at once it would be right in .85 of the rows."""
    printed = run("elec2")
    last = [line.split("│") for line in printed.splitlines() if line.startswith("│ all")]
    assert float(last[0][2]) < 0.8


def test_an_example_is_a_script() -> None:
    done = subprocess.run(
        [sys.executable, "iris.py", "--help"], cwd=EXAMPLES, capture_output=True, check=True
    )
    assert b"--quick" in done.stdout
    assert b"What to see" in done.stdout


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
