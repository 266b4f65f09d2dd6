"""A search space as one text, so that a recipe can carry it."""

from __future__ import annotations

import json
from typing import Any

from renewal.core.errors import Invalid
from renewal.models.space import Dimension, Space

_WORDS: dict[str, Any] = {"none": None, "true": True, "false": False}
_FORM = "NAME:LOW..HIGH, NAME:LOW..HIGH:log or NAME:VALUE;VALUE, joined by |"


def parse_space(text: str, *, who: str) -> Space:
    """Read a search space from text without ``=``, commas and parentheses.

    Parameters
    ----------
    text : str
        Dimensions joined by ``|``: a name, a colon, and either a range (two whole numbers
        make a range of whole numbers) or values joined by ``;``.
    who : str
        Who asks, for the message.

    Returns
    -------
    mapping of str to Dimension

    Raises
    ------
    Invalid
        On text of another form, a range the wrong way round, or a name that comes twice.

    Examples
    --------
    >>> space = parse_space("C:1e-3..1e1:log|penalty:l1;l2|depth:2..9", who="demo")
    >>> space["C"].log, space["penalty"].choices, space["depth"].is_whole
    (True, ('l1', 'l2'), True)
    """
    space: dict[str, Dimension] = {}
    for part in text.split("|"):
        name, colon, values = (each.strip() for each in part.partition(":"))
        if not name or not colon or not values or name in space:
            raise _wrong(who, part)
        space[name] = _dimension(values, part, who)
    return space


def _dimension(text: str, part: str, who: str) -> Dimension:
    if ".." not in text:
        return Dimension(choices=tuple(_value(each.strip()) for each in text.split(";")))
    ends, _, scale = text.partition(":")
    low, _, high = ends.partition("..")
    if scale not in {"", "log"}:
        raise _wrong(who, part)
    try:
        return Dimension(_number(low), _number(high), log=scale == "log")
    except ValueError as error:
        raise _wrong(who, part) from error


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _value(text: str) -> Any:
    """Return a choice as the JSON value that it looks like, or as the text that it is."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _wrong(who: str, came: str) -> Invalid:
    return Invalid(
        who,
        needs=f"a search space as {_FORM}",
        came=repr(came),
        todo="Write, for example, C:1e-3..1e1:log|penalty:l1;l2.",
    )
