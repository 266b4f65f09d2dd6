"""The parameters of a recipe as JSON values, which can be stored without code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np

from renewal.core.errors import Invalid

_NOT_PLAIN = object()


def plain_params(given: Mapping[str, Any], *, who: str, strict: bool) -> dict[str, Any]:
    """Return parameters as JSON values, sorted by name; NaN, which says nothing, is left out.

    Parameters
    ----------
    given : mapping
        As ``get_params`` returns them.
    who : str
        The verb that asks, for the message.
    strict : bool
        Whether a value that is none for JSON is refused; else it is left out.

    Raises
    ------
    Invalid
        On code or an object among them, where `strict`.

    Examples
    --------
    >>> plain_params({"b": (1, 0), "a": float("nan"), "c": {0: 5.0}}, who="demo", strict=True)
    {'b': [1, 0], 'c': [[0, 5.0]]}
    """
    found = {name: _plain(value) for name, value in sorted(given.items())}
    settled = {name: value for name, value in found.items() if value is not _NOT_PLAIN}
    strange = [name for name in found if name not in settled and not isinstance(given[name], float)]
    if strict and strange:
        raise Invalid(
            who,
            needs="a recipe of plain values, which can be stored without code",
            came=f"{strange[0]}={given[strange[0]]!r}",
            todo="Name it as a text or a number that the library knows, or leave it out.",
        )
    return settled


def demand_known(params: Mapping[str, Any], known: set[str], *, who: str) -> None:
    """Raise `Invalid` on a name that is not `known`: the library would pass over it silently."""
    unknown = sorted(set(params) - known)
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        raise Invalid(
            who,
            needs="parameters that the recipe has",
            came=repr(unknown[0]),
            todo=f"Did you mean {near[0]!r}?"
            if near
            else "Give it to the recipe first, where it is a parameter of the library.",
        )


def _plain(value: Any) -> Any:
    # A mapping from labels becomes a list of pairs: JSON knows no keys but texts.
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        items = [_plain(each) for each in value]
        return _NOT_PLAIN if any(each is _NOT_PLAIN for each in items) else items
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            pairs = {key: _plain(each) for key, each in value.items()}
            return _NOT_PLAIN if any(each is _NOT_PLAIN for each in pairs.values()) else pairs
        return _plain(list(value.items()))
    if isinstance(value, float) and not math.isfinite(value):
        return _NOT_PLAIN
    return value if value is None or isinstance(value, (bool, int, float, str)) else _NOT_PLAIN
