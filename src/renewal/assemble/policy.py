"""The policy file, decoded into the rooms' own frozen dataclasses.

``renewal.toml`` has one table for each room and, under ``[models.NAME.ROOM]``, what differs
for one model. A key that no dataclass has is an error that offers the nearest name.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar

import msgspec

from renewal.compress.options import CompressOptions
from renewal.core.duration import format_duration, parse_duration
from renewal.core.errors import Invalid
from renewal.engine.options import EngineOptions
from renewal.gate.options import GateOptions
from renewal.loop.options import UpdateOptions
from renewal.monitor.options import MonitorOptions
from renewal.rollout.options import RolloutOptions
from renewal.serve.options import OF_A_MODEL, ServeOptions

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policy:
    """When to update, how, what proves it and how it rolls out.

    Parameters
    ----------
    update, gate, rollout, monitor, compress, serve, engine : dataclass
        The options of each room, with their defaults.
    trust : tuple of str
        Own classes that a stored model may load, such as ``shop.features.Cleaner``; they
        come from this file, never from the stored model.
    """

    update: UpdateOptions = field(default_factory=UpdateOptions)
    gate: GateOptions = field(default_factory=GateOptions)
    rollout: RolloutOptions = field(default_factory=RolloutOptions)
    monitor: MonitorOptions = field(default_factory=MonitorOptions)
    compress: CompressOptions = field(default_factory=CompressOptions)
    serve: ServeOptions = field(default_factory=ServeOptions)
    engine: EngineOptions = field(default_factory=EngineOptions)
    trust: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """The policies of a home: one for all models, and what differs for some.

    Parameters
    ----------
    table : mapping
        The decoded TOML.
    where : str
        The file, for messages.
    """

    table: Mapping[str, Any] = field(default_factory=dict)
    where: str = "renewal.toml"

    def of(self, model: str | None = None) -> Policy:
        """Return the policy of one model, or the common one.

        Raises
        ------
        Invalid
            On an unknown key or a value of the wrong type, naming its path in the file.
        """
        common = {key: value for key, value in self.table.items() if key != "models"}
        own = self.table.get("models", {}).get(model, {}) if model is not None else {}
        return decode(Policy, _merge(common, own), self.where)


def read_policy(path: Path) -> PolicyFile:
    """Read a policy file and check all of it; a missing file means the defaults.

    Raises
    ------
    Invalid
        When it is no TOML, or holds an unknown key or a wrong value.
    """
    if not path.exists():
        return PolicyFile(where=str(path))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise Invalid(
            "read_policy", needs=f"TOML in {path}", came=str(error), todo="Fix the line it names."
        ) from error
    file = PolicyFile(table, str(path))
    file.of()
    for model, own in table.get("models", {}).items():
        file.of(model)
        _demand_of_a_model(own.get("serve", {}), f"{path} [models.{model}.serve]")
    return file


def _demand_of_a_model(own: Mapping[str, Any], where: str) -> None:
    """Refuse what a server cannot do for one model alone: it would be passed over in silence."""
    for key in own:
        if key not in OF_A_MODEL:
            raise Invalid(
                where,
                needs=f"one of the keys {', '.join(sorted(OF_A_MODEL))}",
                came=repr(key),
                todo="Set it under [serve], for the whole server.",
            )


def decode(kind: type[T], table: Mapping[str, Any], path: str) -> T:
    """Build a frozen dataclass from a table, strictly.

    Parameters
    ----------
    kind : type
        A dataclass whose fields are dataclasses, durations or plain values.
    table : mapping
        From TOML; durations are text such as ``"2w"``.
    path : str
        Where the table stands, for messages.

    Returns
    -------
    kind
        With defaults where the table is silent.

    Raises
    ------
    Invalid
        On an unknown key (the nearest name is offered) or a wrong value.

    Examples
    --------
    >>> decode(UpdateOptions, {"every": "2w"}, "[update]").every
    datetime.timedelta(days=14)
    """
    if not isinstance(table, Mapping):
        raise Invalid(path, needs="a table", came=repr(table), todo="Write it as [table].")
    hints = typing.get_type_hints(kind)
    known = {each.name: hints[each.name] for each in fields(kind)}  # type: ignore[arg-type]  # T is a dataclass
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            raise Invalid(
                f"{path}",
                needs=f"one of the keys {', '.join(known)}",
                came=repr(key),
                todo=f"Did you mean {near[0]!r}?" if near else "Remove the key.",
            )
    values = {key: _value(known[key], value, f"{path} {key}") for key, value in table.items()}
    return kind(**values)


def encode(options: Any) -> dict[str, Any]:
    """Write options as `decode` reads them: durations as text, nothing lost.

    Examples
    --------
    >>> encode(UpdateOptions(recipes=("retrain",)))["every"]
    '4w'
    """
    return {each.name: _plain(getattr(options, each.name)) for each in fields(options)}


def _plain(value: Any) -> Any:
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return encode(value) if hasattr(value, "__dataclass_fields__") else value


def _value(hint: Any, value: Any, path: str) -> Any:
    if hasattr(hint, "__dataclass_fields__"):
        return decode(hint, value, path)
    if timedelta in _members(hint) and isinstance(value, str):
        return parse_duration(value, who=path)
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        choices = _choices(hint)
        if choices:
            near = get_close_matches(str(value), choices, n=1)
            raise Invalid(
                path,
                needs=f"one of {', '.join(choices)}",
                came=repr(value),
                todo=f"Did you mean {near[0]!r}?" if near else "Choose one of them.",
            ) from error
        raise Invalid(
            path, needs=str(hint), came=repr(value), todo=f"Fix the value: {error}."
        ) from error


def _choices(hint: Any) -> tuple[str, ...]:
    """Return the texts that a hint names; none where it names no text."""
    inside = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return tuple(map(str, inside))
    return tuple(each for part in inside for each in _choices(part))


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)


def _merge(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(common)
    for key, value in own.items():
        both_tables = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both_tables else value
    return merged
