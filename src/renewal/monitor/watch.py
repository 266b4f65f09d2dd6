"""One look of the monitor: a state and what is new go in, a state and alarms come out.

A look may be taken at any moment, as often or as seldom as one likes: features are compared
once for each day that is over, with the window that ends with it, and losses block by block.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce

import numpy as np

from renewal.core.clock import aware, to_us
from renewal.data.rows import Rows
from renewal.monitor.alarm import Alarm, AlarmKind, drift_alarm, performance_alarm
from renewal.monitor.counts import Counts, add, count, nothing
from renewal.monitor.drift import drift
from renewal.monitor.options import DAY, MonitorOptions
from renewal.monitor.performance import BlockLoss, Performance, take_in
from renewal.monitor.reference import Reference

_DAY_US = int(DAY.total_seconds()) * 1_000_000


@dataclass(frozen=True, slots=True)
class DayCounts:
    """The traffic of one day.

    Parameters
    ----------
    day : int
        Days since 1970, UTC.
    counts : Counts
        Its rows.
    """

    day: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class MonitorState:
    """Everything that the watch over one version remembers.

    Parameters
    ----------
    model, version_id : str
        Who is watched.
    reference : Reference
        The features in training.
    counted_until_us : int, microseconds since 1970
        Event time up to which rows are counted; hand in the rows from here on.
    first_day : int
        The first whole day of the watch, in days since 1970.
    looked_day : int
        Newest day that has ended a compared window.
    days : tuple of DayCounts, ascending
        The window and the day that is not over.
    performance : Performance
        The losses.
    raised : tuple of str, sorted
        Kinds of alarms that were raised and not acknowledged: each is raised once.
    """

    model: str
    version_id: str
    reference: Reference
    counted_until_us: int
    first_day: int
    looked_day: int
    days: tuple[DayCounts, ...] = ()
    performance: Performance = field(default_factory=Performance)
    raised: tuple[AlarmKind, ...] = ()


def begin(model: str, version_id: str, reference: Reference, at: datetime) -> MonitorState:
    """Return the state of a watch that begins; a new champion begins a new one.

    Parameters
    ----------
    model, version_id : str
        Who is watched.
    reference : Reference
        Of the version's training rows.
    at : datetime
        From when on its traffic counts, by event time.
    """
    at_us = to_us(aware(at, who="monitor.begin"))
    first_day = -(-at_us // _DAY_US)
    return MonitorState(
        model, version_id, reference, at_us, first_day=first_day, looked_day=first_day - 1
    )


def look(
    state: MonitorState,
    rows: Rows | None,
    losses: Iterable[BlockLoss],
    now: datetime,
    options: MonitorOptions,
) -> tuple[MonitorState, tuple[Alarm, ...]]:
    """Take in what is new and say what has changed.

    Parameters
    ----------
    state : MonitorState
        From `begin` or from the last look.
    rows : Rows or None
        Rows whose event time lies from `state.counted_until_us` up to now; others are
        passed over, so a row that comes twice counts once. A row that arrives after later
        ones were counted is not counted.
    losses : iterable of BlockLoss
        Matured blocks of the live version; those that were taken in before are passed over.
    now : datetime
        The present.
    options : MonitorOptions
        What counts as news.

    Returns
    -------
    state : MonitorState
        What to hand in the next time.
    alarms : tuple of Alarm
        Each kind at most once until it is acknowledged or a new champion is watched.

    Notes
    -----
    Rows are needed once: memory grows with features and days in the window, not with rows.
    """
    now = aware(now, who="monitor.look")
    alarms: list[Alarm] = []
    state = _count(state, rows, to_us(now))
    for loss in sorted(losses, key=lambda each: each.block):
        state = replace(state, performance=take_in(state.performance, loss, options))
        if "performance" not in state.raised and state.performance.is_worse(options):
            alarms.append(performance_alarm(state.version_id, now, state.performance))
            state = replace(state, raised=_with(state.raised, "performance"))
    state, found = _compare(state, now, options)
    return state, (*alarms, *found)


def acknowledge(state: MonitorState, kind: AlarmKind) -> MonitorState:
    """Return the state in which alarms of a kind may be raised again, from fresh evidence.

    Parameters
    ----------
    state : MonitorState
        After an alarm that somebody has seen.
    kind : {"drift", "performance"}
        Which.
    """
    raised = tuple(each for each in state.raised if each != kind)
    if kind == "drift":
        fresh = state.looked_day + 1
        days = tuple(each for each in state.days if each.day >= fresh)
        return replace(state, raised=raised, days=days, first_day=fresh)
    performance = state.performance
    if performance.detector is not None:
        performance = replace(performance, detector=performance.detector.restarted(), recent=())
    return replace(state, raised=raised, performance=performance)


def window_of(state: MonitorState, days: Sequence[int]) -> Counts:
    """Return the counts of some days together."""
    wanted = (each.counts for each in state.days if each.day in days)
    return reduce(add, wanted, nothing(state.reference))


def _count(state: MonitorState, rows: Rows | None, now_us: int) -> MonitorState:
    if rows is None:
        return state
    is_new = (rows.event_us >= state.counted_until_us) & (rows.event_us < now_us)
    if not is_new.any():
        return state
    if not is_new.all():
        rows = rows.take(is_new)
    by_day = {each.day: each.counts for each in state.days}
    day_of = rows.event_us // _DAY_US
    for day in np.unique(day_of).tolist():
        of_day = rows.features
        if rows.event_us.size != int(np.count_nonzero(day_of == day)):
            of_day = of_day.filter(day_of == day)
        counted = count(of_day, state.reference)
        by_day[day] = add(by_day[day], counted) if day in by_day else counted
    return replace(
        state,
        days=tuple(DayCounts(day, by_day[day]) for day in sorted(by_day)),
        counted_until_us=int(rows.event_us.max()) + 1,
    )


def _compare(
    state: MonitorState, now: datetime, options: MonitorOptions
) -> tuple[MonitorState, tuple[Alarm, ...]]:
    """Compare the window that ends with each day that is over and was not looked at yet."""
    newest = to_us(now) // _DAY_US - 1
    if newest <= state.looked_day:
        return state, ()
    raised: tuple[Alarm, ...] = ()
    # Part of a window would lack some weekdays.
    first = max(state.looked_day + 1, state.first_day + options.window_days - 1)
    last = state.days[-1].day + options.window_days if state.days else first
    for day in range(first, min(newest, last) + 1):
        if "drift" in state.raised:
            break
        alarm = _drift_until(state, day, now, options)
        if alarm is not None:
            raised = (alarm,)
            state = replace(state, raised=_with(state.raised, "drift"))
    # The next window ends a day later, so its first day is the oldest still needed.
    oldest = newest - options.window_days + 2
    kept = tuple(each for each in state.days if each.day >= oldest)
    return replace(state, days=kept, looked_day=newest), raised


def _drift_until(
    state: MonitorState, day: int, now: datetime, options: MonitorOptions
) -> Alarm | None:
    window = window_of(state, range(day - options.window_days + 1, day + 1))
    found = drift(state.reference, window, options)
    if not any(each.has_drifted for each in found):
        return None
    return drift_alarm(
        state.version_id,
        now,
        found,
        n_rows=window.n_rows,
        window_days=options.window_days,
        performance=state.performance,
    )


def _with(raised: tuple[AlarmKind, ...], kind: AlarmKind) -> tuple[AlarmKind, ...]:
    return tuple(sorted({*raised, kind}))
