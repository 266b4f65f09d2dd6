"""Every error of the house survives the way between processes with all it has to say."""

from __future__ import annotations

import ast
import pickle
from importlib import import_module

import pytest

from renewal.core import errors
from renewal.core.errors import RenewalError


def _kinds(kind: type[RenewalError]) -> list[type[RenewalError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _kinds(below))]


@pytest.mark.parametrize("kind", _kinds(RenewalError), ids=lambda kind: kind.__name__)
def test_pickles_with_all_fields(kind: type[RenewalError]) -> None:
    """Breaks when an error takes an argument that its `__reduce__` does not give back."""
    error = kind("Feed.append", needs="a", came="b", todo="c.", column="late", n_rows=3)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(again) is kind
    assert str(again) == str(error) == "Feed.append needs a; got b. c."
    assert (again.who, again.needs, again.came, again.todo) == ("Feed.append", "a", "b", "c.")
    assert again.fields == {"column": "late", "n_rows": 3}


def test_the_families_are_the_tree_of_the_page() -> None:
    """The tree at the top of errors.py is what a reader goes by; it must name them all."""
    for kind in RenewalError.__subclasses__():
        if kind.__module__ == errors.__name__:
            assert kind.__name__ in (errors.__doc__ or "")


def test_errors_of_other_rooms_pickle_too(trees: dict[str, ast.Module]) -> None:
    """Breaks when a room derives an error whose arguments get lost between processes."""
    families = {each.__name__ for each in _kinds(RenewalError)}
    for module, tree in trees.items():
        for node in ast.walk(tree):
            if module == errors.__name__ or not isinstance(node, ast.ClassDef):
                continue
            if any(isinstance(base, ast.Name) and base.id in families for base in node.bases):
                kind = getattr(import_module(module), node.name)
                error = kind("who", needs="a", came="b", todo="c.", column="late")
                again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
                assert (type(again), str(again), again.fields) == (
                    kind,
                    str(error),
                    {"column": "late"},
                )


def test_no_room_raises_a_bare_builtin_error_to_its_caller(trees: dict[str, ast.Module]) -> None:
    """Breaks on `raise ValueError(...)` anywhere but in files named below, with why."""
    allowed = {
        # It is turned into Invalid by the caller in the same file, with the caller's name.
        "renewal.data.border": {"ValueError"},
        # A model that answers nonsense fails like one that raises: at the border of the request.
        "renewal.serve.slots": {"ValueError"},
        "renewal.serve.host_child": {"ValueError"},
        # What Python's own protocol for attributes demands.
        "renewal": {"AttributeError"},
    }
    wrong = []
    for module, tree in trees.items():
        if module.startswith("renewal.testing"):
            continue  # suites speak to test authors: they raise AssertionError
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                name = getattr(node.exc.func, "id", "")
                if name in _BUILTIN and name not in allowed.get(module, set()):
                    wrong.append(f"{module}:{node.lineno} raises {name}")
    assert not wrong, "\n".join(wrong)


_BUILTIN = {"Exception", "ValueError", "TypeError", "KeyError", "RuntimeError", "AttributeError"}
