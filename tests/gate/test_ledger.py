"""Breaks when a look is lost, or an earlier look does not keep its rows from counting twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from renewal.core.verdict import Verdict
from renewal.evaluate.report import Report
from renewal.gate.judge import first_look, go_on
from renewal.gate.ledger import last_judged_us, looks, record_look
from renewal.gate.options import GateOptions
from renewal.registry.db import Database
from renewal.registry.tables import models, versions

MakeReport = Callable[..., Report]
AT = datetime(2013, 3, 1, tzinfo=UTC)
CANDIDATE, BASELINE = "c" * 64, "b" * 64


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Return a database with one model and three versions."""
    found = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    with found.transaction() as connection:
        connection.execute(insert(models).values(name="flights", spec={}, created_at=AT))
        for number, version_id in enumerate((BASELINE, CANDIDATE, "d" * 64), 1):
            connection.execute(
                insert(versions).values(
                    id=version_id,
                    model="flights",
                    number=number,
                    manifest={},
                    facts={},
                    created_at=AT,
                    created_by="test",
                )
            )
    yield found
    found.close()


@pytest.fixture
def verdict(make_report: MakeReport) -> Verdict:
    """Return an undecided first look that ends at 2,000."""
    return first_look(make_report(np.tile([0.05, -0.04], 7)), GateOptions())


def record(db: Database, *verdicts: Verdict) -> None:
    """Write each verdict down in a transaction of its own, an hour apart."""
    for hour, each in enumerate(verdicts):
        with db.transaction() as connection:
            record_look(connection, "flights", each, AT + timedelta(hours=hour))


def test_looks_come_back_in_order_and_whole(
    db: Database, verdict: Verdict, make_report: MakeReport
) -> None:
    later = go_on(make_report([0.05] * 10), GateOptions())
    record(db, verdict, later)
    first, second = looks(db, "flights")
    assert (first.look, first.outcome, first.alpha) == ("first", "undecided", 0.025)
    assert (second.look, second.outcome) == ("sequential", "accept")
    assert (first.n_rows, first.n_blocks) == (verdict.n_rows, 14)
    assert (first.judged_from_us, first.judged_until_us) == (1_000, 2_000)
    assert (first.candidate, first.baseline, first.model) == (CANDIDATE, BASELINE, "flights")
    assert (first.at, second.at) == (AT, AT + timedelta(hours=1))
    assert looks(db, "others") == ()


def test_new_rows_begin_after_the_first_look(db: Database, verdict: Verdict) -> None:
    """A running test is one test: its own looks must not cut off what it has gathered."""
    assert last_judged_us(db, "flights", CANDIDATE, BASELINE) is None
    record(db, verdict, replace(verdict, look="sequential", judged_until_us=9_000))
    assert last_judged_us(db, "flights", CANDIDATE, BASELINE) == 2_001


def test_only_the_pair_counts(db: Database, verdict: Verdict) -> None:
    record(db, replace(verdict, candidate="d" * 64), replace(verdict, baseline="d" * 64))
    assert last_judged_us(db, "flights", CANDIDATE, BASELINE) is None


def test_a_look_is_written_with_its_transaction_or_not_at_all(
    db: Database, verdict: Verdict
) -> None:
    def crash() -> None:
        with db.transaction() as connection:
            record_look(connection, "flights", verdict, AT)
            message = "the lights go out"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="lights"):
        crash()
    assert looks(db, "flights") == ()


def test_a_look_at_an_unknown_version_is_no_look(db: Database, verdict: Verdict) -> None:
    with pytest.raises(IntegrityError):
        record(db, replace(verdict, candidate="e" * 64))
