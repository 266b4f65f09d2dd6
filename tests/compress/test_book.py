"""The book of trials: what was done is found, what was swept is done again.

What would break it: a record whose bytes are gone, two processes that write the same trial, a
trial of another model that is forgotten with the first one's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from renewal.compress.book import (
    MemoryBook,
    SqlBook,
    forget_trials,
    kept_scores,
    named_by,
    read_scores,
    trials_of,
)
from renewal.compress.size import Size
from renewal.compress.trial import Trial
from renewal.core.clock import ReplayClock
from renewal.core.errors import NotFound
from renewal.core.spec import Field, ModelSpec, Signature
from renewal.registry.db import Database
from renewal.registry.registry import Registry
from renewal.store.local import LocalStore

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> ReplayClock:
    """Stand at the start."""
    return ReplayClock(START)


@pytest.fixture
def db(tmp_path: Path, clock: ReplayClock) -> Iterator[Database]:
    """Open a database that knows two models."""
    opened = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    registry = Registry(opened, clock)
    for name in ("flights", "games"):
        registry.create_model(ModelSpec(name, "binary", "late"))
    yield opened
    opened.close()


@pytest.fixture
def book(db: Database, tmp_path: Path, clock: ReplayClock) -> SqlBook:
    """Return the book of the first model."""
    return SqlBook(db, LocalStore(tmp_path / "objects"), "flights", clock)


def trial_of(book: SqlBook, key: str, data: bytes = b"forest") -> Trial:
    """Return a trial whose bytes are stored."""
    scores = kept_scores(book.store, np.frombuffer(data, np.uint8).astype(float)[:, None])
    signature = Signature((Field("x", "float"), Field("p", "tensor", shape=(3, 2))))
    size = Size(10, 9, 8, 7.5, None)
    return Trial(
        key * 64, "prune.forest(trees=3)", None, "sklearn", book.store.put(data), signature,
        ("no", "yes"), size, scores, True, 0.5, 0.25,
    )  # fmt: skip


def test_a_trial_is_read_as_it_was_written(book: SqlBook, db: Database) -> None:
    trial = trial_of(book, "a")
    assert book.find(trial.key) is None
    book.write(trial)
    assert book.find(trial.key) == trial
    failed = Trial("b" * 64, "prune.path", "it takes trees")
    book.write(failed)
    assert book.find(failed.key) == failed
    assert set(map(str, trials_of(db))) == {str(trial), str(failed)}


def test_the_same_key_twice_is_once_and_the_first_stays(book: SqlBook, db: Database) -> None:
    trial = trial_of(book, "a")
    book.write(trial)
    book.write(replace(trial, seconds=9.0))
    assert trials_of(db) == (trial,)


@pytest.mark.parametrize("gone", ["artifact", "scores"])
def test_what_was_swept_is_forgotten_and_can_be_done_again(
    book: SqlBook, db: Database, gone: str
) -> None:
    trial = trial_of(book, "a")
    book.write(trial)
    book.store.delete(getattr(trial, gone))
    assert book.find(trial.key) is None
    assert trials_of(db) == ()
    again = trial_of(book, "a")
    book.write(again)
    assert book.find(trial.key) == again


def test_only_old_trials_of_the_model_are_forgotten(
    book: SqlBook, db: Database, clock: ReplayClock
) -> None:
    theirs = SqlBook(db, book.store, "games", clock)
    old, other = trial_of(book, "a"), trial_of(book, "b", b"other")
    book.write(old)
    theirs.write(other)
    clock.move_to(START + DAY)
    young = trial_of(book, "c", b"young")
    book.write(young)
    assert set(forget_trials(db, "flights", START)) == named_by([old])
    assert {each.key for each in trials_of(db)} == {other.key, young.key}
    assert forget_trials(db, "flights", START) == ()
    assert named_by([Trial("d" * 64, "nothing", "why")]) == set()


def test_scores_come_back_in_double_precision(book: SqlBook) -> None:
    scores = np.random.default_rng(0).normal(size=(5, 3))
    again = read_scores(book.store, kept_scores(book.store, scores))
    np.testing.assert_array_equal(again, scores)
    assert again.dtype == np.float64
    with pytest.raises(NotFound):
        read_scores(book.store, "0" * 64)


def test_a_book_in_memory_keeps_what_a_book_on_disk_keeps(book: SqlBook) -> None:
    trial = trial_of(book, "a")
    memory = MemoryBook(book.store)
    assert memory.find(trial.key) is None
    memory.write(trial)
    assert memory.find(trial.key) == trial
