"""The pins, the verbs and the gate of the project agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERBS = {"demo", "test", "check", "docs", "bench", "nightly", "clean"}


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    asked = [line.partition("#")[0].strip() for line in lines]
    found = [re.fullmatch(r"([A-Za-z0-9_.-]+)((?:==|<)[\w.]+)", line) for line in asked if line]
    assert all(found), "a line that is neither a pin nor a bound"
    return {_canonical(each[1]): each[2] for each in found if each}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_the_verbs_install_is_pinned() -> None:
    """A dependency that is added without a pin would be another one tomorrow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = list(project["dependencies"])
    for extra in ("check", "demo", "polars", "postgres", "report", "test"):
        asked += extras[extra]
    pins = _pins()
    for requirement in asked:
        name = _canonical(re.split(r"[\[<>=;! ]", requirement)[0])
        assert name == "renewal" or pins.get(name, "").startswith("=="), requirement


def test_the_pins_that_other_extras_rest_on() -> None:
    pins = _pins()
    assert pins["torch"] == "==2.13.0"
    assert re.fullmatch(r"==[0-6]\..*", pins["protobuf"]), "skl2onnx does not take 7"


def test_every_verb_is_there_and_says_what_it_does() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {*re.findall(r"^([a-z]+):.*##", makefile, re.MULTILINE)} >= VERBS


def test_the_gate_runs_what_the_readme_promises() -> None:
    gate = (ROOT / ".ci/run").read_text(encoding="utf-8")
    wanted = ("make check", "make test", "make demo")
    assert [each for each in wanted if each in gate] == list(wanted)
    assert "ARGS=--quick" in gate
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
