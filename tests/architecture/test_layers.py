"""The floors of the house: a room imports only from floors below, siblings never."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def floors(root: Path) -> dict[str, int]:
    """Floor of each room, counted from the ground, as pyproject.toml lists them."""
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = table["tool"]["importlinter"]["contracts"]
    assert contract["exhaustive"], "a room that no floor names would be free to import anything"
    assert "ignore_imports" not in contract, "the floors have no exceptions"
    found = {}
    for floor, layer in enumerate(reversed(contract["layers"])):
        for room in layer.split("|"):
            found[room.strip()] = floor
    return found


def test_every_room_has_a_floor(floors: dict[str, int], texts: dict[str, str]) -> None:
    rooms = {name.split(".")[1] for name in texts if "." in name}
    assert rooms == set(floors)


def test_no_arrow_points_up_or_sideways(
    floors: dict[str, int], imports: dict[str, list[tuple[str, int]]]
) -> None:
    """Breaks when, say, `monitor` imports `serve`; needs no linter installed."""
    wrong = []
    for module, found in imports.items():
        room = module.split(".")[1] if "." in module else None
        for target, line in found:
            parts = target.split(".")
            if parts[0] != "renewal" or room is None or len(parts) < 2:
                continue
            other = parts[1]
            if other != room and floors.get(other, -1) >= floors[room]:
                wrong.append(f"{module}:{line} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_inside_a_room_files_import_files_and_not_the_face(
    texts: dict[str, str], imports: dict[str, list[tuple[str, int]]]
) -> None:
    """Breaks on `from renewal.data import Rows`: importing faces is how circles begin."""
    wrong = []
    for module, found in imports.items():
        for target, line in found:
            parts = target.split(".")
            is_face = len(parts) == 3 and target not in texts
            if parts[0] == "renewal" and is_face:
                wrong.append(f"{module}:{line} imports {parts[2]} from the face renewal.{parts[1]}")
    assert not wrong, "\n".join(wrong)


def test_import_linter_agrees(root: Path) -> None:
    """The contract of pyproject.toml, indirect imports included, as `make check` runs it."""
    pytest.importorskip("importlinter", reason="import-linter comes with the extra [check]")
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    ran = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 kept, 0 broken" in ran.stdout
