"""The monitor in SQL: what one process wrote another reads word for word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np

from renewal.core.clock import to_us
from renewal.data.rows import Rows
from renewal.monitor.alarm import Alarm
from renewal.monitor.options import MonitorOptions
from renewal.monitor.performance import BlockLoss
from renewal.monitor.reference import reference_of
from renewal.monitor.states import add_alarms, alarms_since, load_state, save_state
from renewal.monitor.watch import begin, look
from renewal.registry.db import Database

_START = datetime(2013, 2, 1, tzinfo=UTC)


def test_a_state_is_replaced_by_the_next(db: Database, make_rows: Callable[..., Rows]) -> None:
    """Breaks when anything of a state is lost, or a second version overwrites the first."""
    options = MonitorOptions()
    rng = np.random.default_rng(1)
    features = {"x": rng.normal(size=300), "c": rng.choice(["ä", "b"], 300)}
    at_us = to_us(_START) + np.arange(300) * 60_000_000
    rows = make_rows(features, event_us=at_us)
    first = begin("flights", "a", reference_of(rows, options), _START)
    other = begin("flights", "b", reference_of(rows, options), _START)
    now = _START + timedelta(days=3)
    losses = [BlockLoss(day, 0.4 + day / 100, 9) for day in range(8)]
    second, _ = look(first, rows, losses, now, options)
    with db.transaction() as connection:
        assert load_state(connection, "flights", "a") is None
        save_state(connection, first, _START)
        save_state(connection, other, _START)
        save_state(connection, second, now)
    with db.read() as connection:
        assert load_state(connection, "flights", "a") == second
        assert load_state(connection, "flights", "b") == other


def test_alarms_are_kept_in_order_and_found_by_version_and_time(db: Database) -> None:
    days = [_START + timedelta(days=day) for day in range(3)]
    raised = (
        Alarm("drift", "a", days[0], {"features": {"x": {"psi": 0.5}}}, "x drifted", None),
        Alarm("performance", "a", days[1], {"excess": 0.1}, "losses rose", 91.5),
        Alarm("drift", "b", days[2], {}, "y drifted", 0.0),
    )
    with db.transaction() as connection:
        add_alarms(connection, "flights", raised[:2])
        add_alarms(connection, "flights", raised[2:])
    with db.read() as connection:
        assert alarms_since(connection, "flights") == raised
        assert alarms_since(connection, "flights", "a") == raised[:2]
        assert alarms_since(connection, "flights", since=days[1]) == raised[1:]
        assert alarms_since(connection, "flights", "b", days[0]) == raised[2:]
        assert alarms_since(connection, "unknown") == ()
