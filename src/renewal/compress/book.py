"""The book of trials: what was carried out once is read, never done again."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Protocol

import numpy as np
from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from renewal.compress.tables import compress_trials
from renewal.compress.trial import Trial
from renewal.core.clock import Clock
from renewal.core.errors import Corrupt, NotFound
from renewal.models.task import Scores
from renewal.registry.codec import from_plain, to_plain
from renewal.registry.db import Database
from renewal.store.contract import Store


class Book(Protocol):
    """Where trials and their bytes are kept."""

    @property
    def store(self) -> Store:
        """Holds artifacts and scores."""
        ...

    def find(self, key: str) -> Trial | None:
        """Return the trial of a key whose bytes are all there; None where there is none."""
        ...

    def write(self, trial: Trial) -> None:
        """Keep a trial; the same one twice is once."""
        ...


class MemoryBook:
    """A book that lasts as long as the process: for benches, and searches without a home.

    Parameters
    ----------
    store : Store
        Holds the bytes.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._trials: dict[str, Trial] = {}

    def find(self, key: str) -> Trial | None:
        """Return the trial of a key."""
        return self._trials.get(key)

    def write(self, trial: Trial) -> None:
        """Keep a trial."""
        self._trials[trial.key] = trial


class SqlBook:
    """The book of one model of a home.

    Parameters
    ----------
    db, store : Database, Store
        Where records and bytes are kept.
    model : str
        Whose.
    clock : Clock
        The time that is written beside them.
    """

    def __init__(self, db: Database, store: Store, model: str, clock: Clock) -> None:
        self.store = store
        self._db = db
        self._model = model
        self._clock = clock

    def find(self, key: str) -> Trial | None:
        """Return the trial of a key; one whose bytes are gone or damaged is done again."""
        with self._db.read() as connection:
            body = connection.execute(
                select(compress_trials.c.body).where(compress_trials.c.key == key)
            ).scalar()
        if body is None:
            return None
        trial = from_plain(Trial, body)
        needed = [each for each in (trial.artifact, trial.scores) if each]
        # Each is renewed, so that no sweep takes it before it is read.
        there = [self.store.renew(each) for each in needed]
        if all(there) and all(map(self._is_whole, needed)):
            return trial
        with self._db.transaction() as connection:
            connection.execute(delete(compress_trials).where(compress_trials.c.key == key))
        return None

    def _is_whole(self, digest: str) -> bool:
        try:
            self.store.get(digest)
        except (Corrupt, NotFound):
            return False
        return True

    def write(self, trial: Trial) -> None:
        """Keep a trial."""
        values = {
            "key": trial.key,
            "model": self._model,
            "body": to_plain(trial),
            "at": self._clock.now(),
        }
        try:
            with self._db.transaction() as connection:
                connection.execute(insert(compress_trials).values(**values))
        except IntegrityError:
            # Another process did the same trial meanwhile: equal inputs, equal result.
            return


def forget_trials(db: Database, model: str, before: datetime) -> tuple[str, ...]:
    """Delete the records of trials of a model that are older; return the digests they named.

    Parameters
    ----------
    db : Database
        Of the home.
    model : str
        Whose.
    before : datetime
        Only those that were written until then.

    Returns
    -------
    tuple of str
        Artifacts and scores; what a version or a younger trial shares is among them.
    """
    old = (compress_trials.c.model == model, compress_trials.c.at <= before)
    with db.transaction() as connection:
        bodies = connection.execute(select(compress_trials.c.body).where(*old)).scalars().all()
        connection.execute(delete(compress_trials).where(*old))
    return tuple(named_by([from_plain(Trial, each) for each in bodies]))


def trials_of(db: Database) -> tuple[Trial, ...]:
    """Return every trial that a home has on record."""
    with db.read() as connection:
        bodies = connection.execute(select(compress_trials.c.body)).scalars().all()
    return tuple(from_plain(Trial, each) for each in bodies)


def named_by(trials: list[Trial] | tuple[Trial, ...]) -> set[str]:
    """Return the digests that trials name."""
    return {each for trial in trials for each in (trial.artifact, trial.scores) if each}


def kept_scores(store: Store, scores: Scores) -> str:
    """Store scores; return their digest."""
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(scores, dtype=np.float64), allow_pickle=False)
    return store.put(out.getvalue())


def read_scores(store: Store, digest: str) -> Scores:
    """Return stored scores.

    Raises
    ------
    NotFound, Corrupt
        As the store says.
    """
    scores: Scores = np.load(io.BytesIO(store.get(digest)), allow_pickle=False)
    return scores
