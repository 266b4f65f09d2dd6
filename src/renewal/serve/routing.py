"""Keys and times of the rows of a request, and the arm that answers each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import numpy as np

from renewal.core.clock import aware, to_us
from renewal.core.errors import Invalid
from renewal.core.plan import Arm, Plan
from renewal.serve.oip_input import WHO

T = TypeVar("T")
FACTS = frozenset({"key", "group", "sticky", "block", "event_time"})
"""The parameters of a request that say something of its rows."""

LONGEST = 1024
"""Characters of a key, a group or whatever routes: each row of the log holds them."""

_LIST = msgspec.json.Decoder(list[Any])
# What datetime can hold: the years 1 to 9999.
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What travels beside the features of a request, one entry for each row.

    Parameters
    ----------
    key, group, sticky : list of str
        Names the row; fixes its role; routes it.
    event_us : list of int
        When it happened, microseconds since 1970.
    block : list of str or None
        The value of the model's block column; None where the request brings none.
    has_key : bool, default True
        Whether the request brought the keys; those that were made of the row are made again for
        the log, of what is written there.
    """

    key: list[str]
    group: list[str]
    sticky: list[str]
    event_us: list[int]
    block: list[str] | None = None
    has_key: bool = True


def read_facts(
    parameters: Mapping[str, Any] | None, default_keys: Sequence[str], now_us: int
) -> RowFacts:
    """Read ``key``, ``group``, ``sticky``, ``block`` and ``event_time`` from the parameters.

    Each is one value, or a list with one for each row; the list may be sent as JSON text,
    since strict clients send scalars only. One value for many rows holds for all of them;
    but a key names one row and is never spread.

    Parameters
    ----------
    parameters : mapping or None
        Of the request; keys it does not know are ignored.
    default_keys : sequence of str
        The keys of rows that bring none; its length is the number of rows.
    now_us : int, microseconds since 1970
        The event time of rows that bring none.

    Returns
    -------
    RowFacts
        ``group`` and ``sticky`` default to the key.

    Raises
    ------
    Invalid
        On a wrong type or length, or a time that is none.

    Examples
    --------
    >>> facts = read_facts({"key": '["a", "b"]', "event_time": 5, "sticky": "u"}, ["0", "1"], 9)
    >>> facts.key, facts.sticky, facts.event_us
    (['a', 'b'], ['u', 'u'], [5, 5])
    """
    given = parameters or {}
    n_rows = len(default_keys)
    key = _each(given, "key", n_rows, _text, spread=n_rows == 1) or list(default_keys)
    return RowFacts(
        key=key,
        group=_each(given, "group", n_rows, _text, spread=True) or key,
        sticky=_each(given, "sticky", n_rows, _text, spread=True) or key,
        event_us=_each(given, "event_time", n_rows, _instant, spread=True) or [now_us] * n_rows,
        block=_each(given, "block", n_rows, _text, spread=True),
    )


def split_by_arm(plan: Plan, sticky: Sequence[str]) -> list[tuple[Arm, np.ndarray[Any, Any]]]:
    """Group the rows of a request by the arm that answers them.

    Parameters
    ----------
    plan : Plan
        How traffic is routed.
    sticky : sequence of str
        One key for each row; equal keys go to one arm, in every process.

    Returns
    -------
    list of (Arm, int64 array)
        The arms that got rows, each with its row numbers in order.

    Examples
    --------
    >>> plan = Plan("m", "canary", (Arm("champion", "a", 0.5), Arm("candidate", "b", 0.5)))
    >>> [(arm.name, rows.tolist()) for arm, rows in split_by_arm(plan, ["1", "2", "3", "4"])]
    [('champion', [0, 2, 3]), ('candidate', [1])]
    """
    live = [arm for arm in plan.arms if arm.weight > 0]
    if len(live) == 1:
        return [(live[0], np.arange(len(sticky)))]
    rows: dict[str, list[int]] = {arm.name: [] for arm in live}
    for at, text in enumerate(sticky):
        rows[plan.assign(text).name].append(at)
    return [(arm, np.asarray(rows[arm.name])) for arm in live if rows[arm.name]]


def read_instant(value: Any, *, who: str, name: str) -> int:
    """Read an ISO-8601 instant with its zone, or whole microseconds since 1970.

    Examples
    --------
    >>> read_instant("1970-01-01T00:00:01Z", who="infer", name="event_time")
    1000000
    """
    if isinstance(value, int) and not isinstance(value, bool) and _FIRST_US <= value <= _LAST_US:
        return value
    if isinstance(value, str):
        try:
            return to_us(aware(datetime.fromisoformat(value), who=who))
        except (ValueError, OverflowError) as error:
            raise _bad_instant(who, name, value) from error
    raise _bad_instant(who, name, value)


def _bad_instant(who: str, name: str, value: Any) -> Invalid:
    return Invalid(
        who,
        needs=f"for {name!r} an ISO-8601 instant or whole microseconds since 1970",
        came=repr(value),
        todo='Write it like "2013-01-31T12:00:00Z".',
    )


def _each(
    given: Mapping[str, Any],
    name: str,
    n_rows: int,
    read: Callable[[Any, str], T],
    *,
    spread: bool,
) -> list[T] | None:
    """Return one value a row, or None when the parameter is not there."""
    value = given.get(name)
    if value is None:
        return None
    found = _listed(value)
    if not isinstance(found, list):
        if not spread:
            raise _wrong_length(name, n_rows, "one value")
        return [read(found, name)] * n_rows
    if len(found) != n_rows:
        raise _wrong_length(name, n_rows, f"{len(found)}")
    return [read(each, name) for each in found]


def _listed(value: Any) -> Any:
    """Decode a list that was sent as JSON text; any other text is a value of its own."""
    if isinstance(value, str) and value.startswith("["):
        try:
            return _LIST.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return value
    return value


def _text(value: Any, name: str) -> str:
    if isinstance(value, str) and 0 < len(value) <= LONGEST:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    is_long = isinstance(value, str) and value
    raise Invalid(
        WHO,
        needs=f"for the parameter {name!r} text of 1 to {LONGEST:,} characters",
        came=f"{len(value):,} characters" if is_long else repr(value),
        todo="Send a string, or a list with one for each row.",
    )


def _instant(value: Any, name: str) -> int:
    return read_instant(value, who=WHO, name=name)


def _wrong_length(name: str, n_rows: int, came: str) -> Invalid:
    return Invalid(
        WHO,
        needs=f"for the parameter {name!r} a list of {n_rows} values, one for each row",
        came=came,
        todo="Send as many values as rows, in the order of the rows.",
    )
