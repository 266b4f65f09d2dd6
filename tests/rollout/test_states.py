"""Rollouts in SQL: nothing lost, nobody overwritten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from renewal.core.errors import Conflict, NotFound
from renewal.registry.db import Database
from renewal.rollout.machine import Accepted, Rollback, Rollout, Tick, begin, step
from renewal.rollout.options import RolloutOptions
from renewal.rollout.states import all_rollouts, load, open_rollout, save

_START = datetime(2013, 2, 1, 3, 4, 5, 678901, tzinfo=UTC)
_OPTIONS = RolloutOptions()


def _begin(candidate: str = "b", verdict_id: str | None = None, days: int = 0) -> Rollout:
    return begin(
        "flights",
        champion="a",
        candidate=candidate,
        at=_START + timedelta(days=days),
        options=_OPTIONS,
        verdict_id=verdict_id,
    )


def test_every_state_comes_back_as_it_was(db: Database) -> None:
    """Breaks when a field, or a microsecond, is lost on the way to SQL and back."""
    forced = begin(
        "flights",
        champion="a",
        candidate="b",
        at=_START,
        options=RolloutOptions(canary=(1 / 3,)),
        forced_by="ann",
        forced_why="a try, ünïcode",
    )
    with db.transaction() as connection:
        save(connection, forced)
    with db.read() as connection:
        assert load(connection, forced.id) == forced
        assert open_rollout(connection, "flights") == forced
        assert open_rollout(connection, "other") is None


def test_a_rollout_moves_on_in_place_and_then_is_no_longer_open(db: Database) -> None:
    first = _begin()
    second = step(first, Accepted("v", _START), _OPTIONS)
    third = step(second, Rollback("ann", "a hunch", _START), _OPTIONS)
    with db.transaction() as connection:
        save(connection, first)
        save(connection, second, before=first)
        save(connection, third, before=second)
    later = _begin("c", days=1)
    with db.transaction() as connection:
        assert open_rollout(connection, "flights") is None
        save(connection, later)
        assert all_rollouts(connection, "flights") == (third, later)


def test_who_stepped_from_an_old_state_is_refused(db: Database) -> None:
    """Breaks when a watcher's tick overwrites the rollback that a person made meanwhile."""
    first = _begin(verdict_id="v")
    taken = step(first, Rollback("ann", "a hunch", _START), _OPTIONS)
    ticked = step(first, Tick(_START + timedelta(days=2)), _OPTIONS)
    with db.transaction() as connection:
        save(connection, first)
        save(connection, taken, before=first)
    with pytest.raises(Conflict, match="taken back by ann"), db.transaction() as connection:
        save(connection, ticked, before=first)
    with pytest.raises(Conflict, match="taken back by ann"), db.transaction() as connection:
        save(connection, ticked)
    with db.transaction() as connection:
        save(connection, taken)  # the same again is no conflict
        assert load(connection, first.id) == taken


def test_a_model_has_one_open_rollout(db: Database) -> None:
    with db.transaction() as connection:
        save(connection, _begin())
    with pytest.raises(Conflict, match="no open rollout"), db.transaction() as connection:
        save(connection, _begin("c"))
    with db.read() as connection:
        assert [each.candidate for each in all_rollouts(connection, "flights")] == ["b"]


def test_an_unknown_id_is_not_found(db: Database) -> None:
    with db.read() as connection, pytest.raises(NotFound, match="01X"):
        load(connection, "01X")
