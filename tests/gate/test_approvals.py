"""Breaks when an approval is decided twice, or waits for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from renewal.core.errors import Conflict
from renewal.gate.approvals import ask, decide, newest_approval, waiting
from renewal.registry.db import Database
from renewal.registry.tables import verdicts

AT = datetime(2013, 3, 1, tzinfo=UTC)
CANDIDATE, BASELINE = "c" * 64, "b" * 64


@pytest.fixture
def asked(db: Database) -> Database:
    """Return a database in which one approval waits for a week."""
    with db.transaction() as connection:
        connection.execute(
            insert(verdicts).values(
                id="V1",
                model="flights",
                candidate=CANDIDATE,
                baseline=BASELINE,
                outcome="accept",
                body={},
                at=AT,
            )
        )
        ask(
            connection,
            "flights",
            candidate=CANDIDATE,
            verdict="V1",
            at=AT,
            expires_at=AT + timedelta(days=7),
        )
    return db


def test_it_waits_until_somebody_decides(asked: Database) -> None:
    with asked.transaction() as connection:
        (found,) = waiting(connection, "flights")
        assert (found.state, found.verdict, found.who) == ("asked", "V1", "")
        decide(connection, found, "approved", who="ada", why="looks right", at=AT)
        assert waiting(connection, "flights") == ()
        after = newest_approval(connection, "flights", CANDIDATE)
    assert after is not None
    assert (after.state, after.who, after.why) == ("approved", "ada", "looks right")


def test_the_first_decision_stands(asked: Database) -> None:
    with asked.transaction() as connection:
        (found,) = waiting(connection, "flights")
        decide(connection, found, "declined", who="ada", why="no", at=AT)
    with pytest.raises(Conflict, match="nobody has decided"), asked.transaction() as connection:
        decide(connection, found, "approved", who="bob", why="yes", at=AT)
    with asked.read() as connection:
        after = newest_approval(connection, "flights", CANDIDATE)
    assert after is not None
    assert after.state == "declined"


def test_it_is_over_when_its_time_is(asked: Database) -> None:
    with asked.read() as connection:
        (found,) = waiting(connection, "flights")
    assert not found.is_over(AT + timedelta(days=6))
    assert found.is_over(AT + timedelta(days=7))


def test_nothing_is_asked_of_another_candidate(asked: Database) -> None:
    with asked.read() as connection:
        assert newest_approval(connection, "flights", "d" * 64) is None
        assert waiting(connection, "other") == ()
