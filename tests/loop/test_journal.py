"""The journal: finished steps are never repeated, lost leases record nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection

from renewal.core.clock import ReplayClock
from renewal.core.errors import Conflict
from renewal.core.spec import ModelSpec
from renewal.loop.journal import Journal, Output, last_runs, open_run, steps_of
from renewal.loop.lease import held
from renewal.registry.db import Database
from renewal.registry.registry import Registry

NOW = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    db = Database(f"sqlite:///{tmp_path}/registry.db")
    Registry(db, ReplayClock(NOW)).create_model(ModelSpec("m", "binary", "y"))
    yield db
    db.close()


@pytest.fixture
def journal(db: Database) -> Iterator[Journal]:
    with held(db, "watch:m") as (lease, fence):
        yield Journal(db, ReplayClock(NOW), lease, fence)


def test_finished_step_is_not_repeated(journal: Journal) -> None:
    run = journal.start("m", "update", {"why": "test"})
    done: list[str] = []

    def work() -> Output:
        done.append("worked")
        return {"n": 1}

    assert journal.step(run, "one", {"a": 1}, work) == {"n": 1}
    assert journal.step(run, "one", {"a": 1}, work) == {"n": 1}
    assert done == ["worked"]


def test_other_inputs_are_another_execution(journal: Journal, db: Database) -> None:
    run = journal.start("m", "update", {})
    journal.step(run, "one", {"a": 1}, lambda: {"n": 1})
    assert journal.step(run, "one", {"a": 2}, lambda: {"n": 2}) == {"n": 2}
    assert [each["attempt"] for each in steps_of(db, run.id)] == [2]


def test_failed_step_is_done_again(journal: Journal, db: Database) -> None:
    run = journal.start("m", "update", {})

    def fail() -> Output:
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        journal.step(run, "one", {}, fail)
    assert journal.step(run, "one", {}, lambda: {"n": 1}) == {"n": 1}
    assert [(each["state"], each["attempt"]) for each in steps_of(db, run.id)] == [("done", 2)]


def test_work_in_the_transaction_commits_with_its_record(journal: Journal, db: Database) -> None:
    run = journal.start("m", "update", {})

    def fail(connection: Connection) -> Output:
        Registry(db, ReplayClock(NOW)).note(
            "m", "told", who="w", why="y", details={}, connection=connection
        )
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError):
        journal.commit_step(run, "one", {}, fail)
    kinds = [event.kind for event in Registry(db, ReplayClock(NOW)).log("m")]
    assert "told" not in kinds


def test_one_open_run_a_model(journal: Journal, db: Database) -> None:
    run = journal.start("m", "update", {})
    with pytest.raises(Conflict):
        journal.start("m", "update", {})
    found = open_run(db, "m")
    assert found is not None
    assert found.id == run.id
    journal.finish(run, "done", {"n": 1})
    assert open_run(db, "m") is None
    assert last_runs(db, "m")[0].outcome == {"n": 1}


def test_watcher_that_lost_its_lease_records_nothing(db: Database) -> None:
    with held(db, "watch:m", ttl_s=30) as (lease, fence):
        journal = Journal(db, ReplayClock(NOW), lease, fence)
        run = journal.start("m", "update", {})
        lease.release()
        with held(db, "watch:m", ttl_s=30), pytest.raises(Conflict):
            journal.step(run, "one", {}, lambda: {"n": 1})
    assert steps_of(db, run.id) == ()
