"""The options of a strategy as text and as JSON, derived from the fields of their dataclass."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from datetime import timedelta
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any

from renewal.core.duration import format_duration, parse_duration
from renewal.core.errors import Invalid

_BOOLS = {"true": True, "yes": True, "false": False, "no": False}
_READABLE = {timedelta: "a duration", int: "a whole number", float: "a number", str: "text"}
_SECOND = timedelta(seconds=1)
_SEPARATORS = frozenset("=,()")


def parse_options(kind: type[Any], text: str, *, who: str) -> Any:
    """Build a dataclass of options from ``name=value`` pairs.

    Types come from the fields: timedelta (``8w``), int, float, bool (``true``, ``yes``,
    ``false``, ``no``), str, `Literal` of text, and any of them or None (``none``).

    Parameters
    ----------
    kind : type
        A dataclass.
    text : str
        Pairs separated by commas; empty for the defaults.
    who : str
        Who asks, for the message.

    Returns
    -------
    kind
        With defaults where the text is silent.

    Raises
    ------
    Invalid
        On a pair without ``=``, an option that comes twice, an unknown option (the nearest
        is offered), or a value of the wrong type.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Options:
    ...     window: timedelta | None = None
    ...     min_rows: int = 100
    >>> parse_options(Options, "window=8w", who="demo")
    Options(window=datetime.timedelta(days=56), min_rows=100)
    """
    hints = typing.get_type_hints(kind)
    known = {each.name: hints[each.name] for each in fields(kind)}
    values: dict[str, Any] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or name in values:
            raise Invalid(
                who,
                needs="options as name=value, each once",
                came=repr(pair),
                todo=f"Write, for example, {_example(kind)}.",
            )
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise Invalid(
                who,
                needs=f"one of the options {', '.join(known) or '(it has none)'}",
                came=repr(name),
                todo=f"Did you mean {near[0]!r}?" if near else "Leave it out.",
            )
        values[name] = _parse(known[name], value, who=f"{who}, option {name!r},")
    return kind(**values)


def plain_options(options: Any) -> dict[str, Any]:
    """Return every option as a JSON value, defaults included: what a manifest remembers.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Options:
    ...     window: timedelta | None = timedelta(days=56)
    >>> plain_options(Options())
    {'window': '8w'}
    """
    return {each.name: _plain(getattr(options, each.name)) for each in fields(options)}


def show_options(options: Any) -> str:
    """Return the options that differ from their defaults, as `parse_options` reads them.

    Raises
    ------
    Invalid
        When a text value holds one of ``= , ( )``, which could not be read back.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Options:
    ...     window: timedelta | None = None
    ...     min_rows: int = 100
    >>> show_options(Options(window=timedelta(weeks=8)))
    'window=8w'
    """
    shown = []
    for each in fields(options):
        value = getattr(options, each.name)
        if value != _default(each):
            shown.append(f"{each.name}={_text(value, each.name)}")
    return ",".join(shown)


def _parse(hint: Any, text: str, *, who: str) -> Any:
    members = _members(hint)
    if text.lower() == "none" and NoneType in members:
        return None
    for member in members:
        if member is not NoneType:
            return _parse_plain(member, text, who)
    return None


def _parse_plain(hint: Any, text: str, who: str) -> Any:
    if hint is timedelta:
        return parse_duration(text, who=who)
    allowed = _BOOLS if hint is bool else _choices(hint)
    if allowed:
        if text.lower() in allowed:
            return allowed[text.lower()]
        raise Invalid(
            who, needs=f"one of {', '.join(allowed)}", came=repr(text), todo="Choose one of them."
        )
    try:
        return {int: int, float: float, str: str}[hint](text)
    except KeyError:
        raise Invalid(
            who,
            needs="an option of type timedelta, int, float, bool, str or Literal, or None",
            came=str(hint),
            todo="Set this option in Python, or ask the author of the strategy for a plain type.",
        ) from None
    except ValueError:
        raise Invalid(who, needs=_READABLE[hint], came=repr(text), todo="Fix the value.") from None


def _members(hint: Any) -> tuple[Any, ...]:
    is_union = isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else (hint,)


def _choices(hint: Any) -> Mapping[str, str]:
    if typing.get_origin(hint) is not typing.Literal:
        return {}
    return {str(choice).lower(): choice for choice in typing.get_args(hint)}


def _plain(value: Any) -> Any:
    return _duration(value) if isinstance(value, timedelta) else value


def _text(value: Any, name: str) -> str:
    plain = _plain(value)
    text = str(plain).lower() if plain is None or isinstance(plain, bool) else str(plain)
    if _SEPARATORS & set(text) or text != text.strip() or not text:
        raise Invalid(
            f"the option {name!r}",
            needs="a value without '=', ',', parentheses and outer blanks",
            came=repr(text),
            todo="Choose another value: it is written into the journal and read back.",
        )
    return text


def _duration(duration: timedelta) -> str:
    if duration % _SECOND:
        # The short form rounds fractions of a second, and this text is read back.
        return f"{duration.total_seconds():.6f}".rstrip("0") + "s"
    return format_duration(duration)


def _default(each: Field[Any]) -> Any:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def _example(kind: type[Any]) -> str:
    for each in fields(kind):
        return f"{each.name}={_plain(_default(each))}".lower()
    return "no options"
