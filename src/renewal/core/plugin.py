"""The plug-in table: built-ins and strangers register alike, by entry point, lazily.

A kind is an entry-point group: ``renewal.tasks``, ``renewal.adapters``, ``renewal.runtimes``,
``renewal.strategies``, ``renewal.tuners``, ``renewal.engines``, ``renewal.triggers``,
``renewal.perturbations``, ``renewal.tables``, ``renewal.techniques``, ``renewal.exports``,
``renewal.sizes``, ``renewal.truncations``, ``renewal.charts``. The module behind a name is
imported when the name is asked for, so no framework is loaded before it is needed.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from renewal.core.errors import Conflict, Missing, NotFound

# Other kinds have an extra for each name.
_EXTRAS = {"charts": "report", "exports": "compress", "sizes": "compress", "techniques": "compress"}


def plugin_names(kind: str) -> tuple[str, ...]:
    """Return the sorted names registered under `kind`, importing none of them.

    Examples
    --------
    >>> plugin_names("tasks")
    ('binary', 'multiclass', 'multilabel', 'regression')
    """
    return tuple(sorted(_table(kind)))


def load_plugin(kind: str, name: str) -> Any:
    """Import and return what is registered as `name` under `kind`.

    Parameters
    ----------
    kind : str
        A shelf, such as ``strategies``.
    name : str
        A registered name.

    Returns
    -------
    object
        The class, function or object that the entry point names.

    Raises
    ------
    NotFound
        When no such name is registered; the nearest name is offered.
    Missing
        When the module needs a package that is not installed.
    """
    point = _point(kind, name)
    try:
        return point.load()
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("renewal"):
            raise
        raise Missing(
            f"{kind} {name!r}",
            needs=f"the package {error.name!r}",
            came="none installed",
            todo="Install it, or the extra that holds it: "
            f"pip install 'renewal[{_EXTRAS.get(kind, name)}]'.",
        ) from error


def plugin_module(kind: str, name: str) -> str:
    """Return the name of the module behind a plug-in, importing nothing.

    Raises
    ------
    NotFound
        When no such name is registered.

    Examples
    --------
    >>> plugin_module("tasks", "binary")
    'renewal.models.task'
    """
    return _point(kind, name).module


def _point(kind: str, name: str) -> EntryPoint:
    table = _table(kind)
    if name not in table:
        near = get_close_matches(name, table, n=1)
        raise NotFound(
            "load_plugin",
            needs=f"one of the {kind}: {', '.join(sorted(table)) or 'none registered'}",
            came=repr(name),
            todo=f"Did you mean {near[0]!r}?" if near else "Check the name.",
        )
    return table[name]


@cache
def _table(kind: str) -> dict[str, EntryPoint]:
    table: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"renewal.{kind}"):
        other = table.get(point.name)
        if other is not None and other.value != point.value:
            raise Conflict(
                "the plug-in table",
                needs=f"one owner for the name {point.name!r} of the {kind}",
                came=f"{other.value} and {point.value}",
                todo="Uninstall one of the two packages.",
            )
        table[point.name] = point
    return table
