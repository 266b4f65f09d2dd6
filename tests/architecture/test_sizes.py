"""Rules without a size test do not hold: files, functions and faces stay small."""

from __future__ import annotations

import ast

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_FACE_LINES = 40
MAX_ROOT_FACE_LINES = 100


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def test_files_stay_below_400_lines(texts: dict[str, str]) -> None:
    long = {name: n for name, text in texts.items() if (n := text.count("\n")) > MAX_FILE_LINES}
    assert long == {}, "split them by idea"


def test_functions_stay_below_60_lines_without_their_docstring(
    trees: dict[str, ast.Module],
) -> None:
    long = {}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                n_lines = _body_lines(node)
                if n_lines > MAX_FUNCTION_LINES:
                    long[f"{module}.{node.name}:{node.lineno}"] = n_lines
    assert long == {}


def test_the_count_leaves_docstrings_out() -> None:
    """Breaks when a long docstring would count against its function."""
    (node,) = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body
    assert isinstance(node, ast.FunctionDef)
    assert _body_lines(node) == 2


def test_faces_stay_small_and_hold_no_code(
    texts: dict[str, str], trees: dict[str, ast.Module]
) -> None:
    """A room's face is its paragraph; only `renewal` itself offers names."""
    rooms = {name for name in texts if name.count(".") == 1}
    faces = {name for name in rooms if any(other.startswith(f"{name}.") for other in texts)}
    wrong = {}
    for face in sorted(faces):
        n_lines = texts[face].count("\n")
        statements = [type(node).__name__ for node in trees[face].body[1:]]
        if n_lines >= MAX_FACE_LINES or statements:
            wrong[face] = (n_lines, statements)
    assert wrong == {}
    assert texts["renewal"].count("\n") <= MAX_ROOT_FACE_LINES
