"""A docstring that only repeats the name is a defect."""

from __future__ import annotations

import ast
import re

import pytest

_FILLER = {"a", "an", "the", "of", "for", "to", "and", "in", "this", "class", "function", "module"}
_FILLER |= {"return", "returns", "get", "gets", "is", "its"}


def _words(text: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return {word.lower() for word in re.findall(r"[A-Za-z0-9]+", spaced)}


def _says_more(name: str, docstring: str | None) -> bool:
    """Whether a docstring has a word that neither the name nor grammar gives."""
    if not docstring:
        return False
    own = _words(name)
    stems = {word.rstrip("s") for word in own}
    return any(word not in _FILLER and word.rstrip("s") not in stems for word in _words(docstring))


def _public(module: str, tree: ast.Module) -> list[tuple[str, str, str | None]]:
    """Every public name with its docstring: (full name, last name, docstring)."""
    found = [(module, module.rpartition(".")[2], ast.get_docstring(tree))]
    if any(part.startswith("_") for part in module.split(".")):
        return []

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_"):
                continue
            if any(
                getattr(mark, "attr", "") in {"setter", "overload"} for mark in node.decorator_list
            ):
                continue
            full = f"{prefix}.{node.name}"
            found.append((full, node.name, ast.get_docstring(node)))
            if isinstance(node, ast.ClassDef):
                look(node.body, full)

    look(tree.body, module)
    return found


def test_every_public_name_says_more_than_itself(trees: dict[str, ast.Module]) -> None:
    """Breaks on a missing docstring and on `def models(): \"\"\"Return the models.\"\"\"`."""
    poor = [
        full
        for module, tree in trees.items()
        for full, name, docstring in _public(module, tree)
        if not _says_more(name, docstring)
    ]
    assert not poor, "\n".join(poor)


@pytest.mark.parametrize(
    ("name", "docstring", "enough"),
    [
        ("models", "Models.", False),
        ("load_runtime", "Load the runtime.", False),
        ("KeySet", "The key set.", False),
        ("load_runtime", "Load the runtime of a version, verified.", True),
        ("sweep", None, False),
    ],
)
def test_the_measure_itself(name: str, docstring: str | None, enough: bool) -> None:  # noqa: FBT001  # a column of the table
    assert _says_more(name, docstring) is enough


def test_every_parameter_that_a_docstring_lists_exists(trees: dict[str, ast.Module]) -> None:
    """Breaks when a parameter is renamed and its documentation is not."""
    wrong = []
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                listed = _listed(ast.get_docstring(node) or "")
                args = node.args
                every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
                every += [each for each in (args.vararg, args.kwarg) if each is not None]
                unknown = listed - {each.arg for each in every}
                if listed and unknown:
                    wrong.append(f"{module}.{node.name}: {sorted(unknown)}")
    assert not wrong, "\n".join(wrong)


def _listed(docstring: str) -> set[str]:
    """Names in the section Parameters of a NumPy-style docstring."""
    lines = docstring.splitlines()
    try:
        start = lines.index("Parameters") + 2
    except ValueError:
        return set()
    names: set[str] = set()
    for at in range(start, len(lines)):
        if at + 1 < len(lines) and set(lines[at + 1]) == {"-"}:
            break
        line = lines[at]
        if line and not line.startswith(" "):
            names |= {name.strip(" *`") for name in line.partition(" : ")[0].split(",")}
    return names
