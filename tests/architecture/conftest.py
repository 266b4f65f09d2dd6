"""The source of the house, read once: module names, their text and their syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "renewal"


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """Read the source text by module name; migrations are loaded by path and are no modules."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        if "migrations" in parts:
            continue
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    assert len(found) > 40, "the source tree was not found"
    return found


@pytest.fixture(scope="session")
def trees(texts: dict[str, str]) -> dict[str, ast.Module]:
    """Parse each module: syntax tree by module name."""
    return {name: ast.parse(text) for name, text in texts.items()}


@pytest.fixture(scope="session")
def imports(trees: dict[str, ast.Module]) -> dict[str, list[tuple[str, int]]]:
    """List what each module imports, as (absolute name, line), wherever the import stands.

    Imports for type checkers only count too: an arrow is an arrow.
    """
    return {name: _imports_of(tree) for name, tree in trees.items()}


def _imports_of(tree: ast.Module) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import on line {node.lineno}"
            # `from renewal import data` imports a module, `from a import B` a name of it.
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found
