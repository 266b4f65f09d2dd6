"""Breaks when scores of other rows, or of another version, are taken for those asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select

from renewal.data.rows import Rows
from renewal.evaluate.cache import cached_scores, rows_id
from renewal.evaluate.tables import score_cache
from renewal.registry.db import Database
from renewal.registry.tables import models, versions
from renewal.store.local import LocalStore

MakeRows = Callable[..., Rows]
AT = datetime(2013, 3, 1, tzinfo=UTC)
ONE, TWO, ROWS = "b" * 64, "c" * 64, "e" * 64


@dataclass
class Room:
    """A database and a store, and what was computed."""

    db: Database
    store: LocalStore
    calls: list[str] = field(default_factory=list)

    def scores(
        self, version: str = ONE, rows: str = ROWS, form: str = "native", *, n: int = 3
    ) -> Any:
        """Ask for scores; they tell whose they are."""
        key = (version, rows, form)

        def compute() -> Any:
            self.calls.append("|".join(key))
            return np.full((n, 2), 0.1) + len(self.calls)

        return cached_scores(self.db, self.store, key, compute, at=AT)

    def stored(self) -> list[str]:
        """Return the digests of everything cached."""
        with self.db.read() as connection:
            return list(connection.execute(select(score_cache.c.scores)).scalars())


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """Return a room with one model and two versions."""
    db = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    with db.transaction() as connection:
        connection.execute(insert(models).values(name="flights", spec={}, created_at=AT))
        for number, version_id in enumerate((ONE, TWO), 1):
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
    yield Room(db, LocalStore(tmp_path / "objects"))
    db.close()


def test_the_second_call_does_not_compute(room: Room) -> None:
    first = room.scores()
    second = room.scores()
    assert len(room.calls) == 1
    assert first.tobytes() == second.tobytes()
    assert (second.dtype, second.shape) == (np.float64, (3, 2))


def test_bits_are_kept(room: Room) -> None:
    """NaN too: what is wrong with a version must still be seen the second time."""
    odd = np.array([[0.1, np.nan], [5e-324, np.inf], [-0.0, 1 / 3]])
    key = (ONE, ROWS, "native")
    for _ in range(2):
        found = cached_scores(room.db, room.store, key, lambda: odd, at=AT)
        assert found.tobytes() == odd.tobytes()


def test_another_version_row_or_form_is_another_entry(room: Room) -> None:
    room.scores()
    room.scores(version=TWO)
    room.scores(rows="f" * 64)
    room.scores(form="onnx")
    assert len(room.calls) == len(set(room.calls)) == 4
    assert len(room.stored()) == 4
    room.scores(version=TWO)
    room.scores(form="onnx")
    assert len(room.calls) == 4


def test_a_damaged_blob_is_computed_again(room: Room, tmp_path: Path) -> None:
    room.scores()
    (digest,) = room.stored()
    (blob,) = [each for each in tmp_path.rglob("*") if each.is_file() and digest[2:] in each.name]
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-1] + b"\0")
    found = room.scores()
    assert len(room.calls) == 2
    assert found[0, 0] == pytest.approx(2.1)
    assert room.scores().tolist() == found.tolist()
    assert len(room.calls) == 2


def test_a_blob_that_was_swept_is_computed_again(room: Room, tmp_path: Path) -> None:
    room.scores()
    (digest,) = room.stored()
    (blob,) = [each for each in tmp_path.rglob("*") if each.is_file() and digest[2:] in each.name]
    blob.unlink()
    room.scores()
    assert len(room.calls) == 2
    assert len(room.stored()) == 1


def test_what_could_not_be_computed_is_not_cached(room: Room) -> None:
    def fail() -> Any:
        message = "no such column"
        raise KeyError(message)

    with pytest.raises(KeyError):
        cached_scores(room.db, room.store, (ONE, ROWS, "native"), fail, at=AT)
    assert room.stored() == []
    room.scores()
    assert len(room.calls) == 1


def test_who_comes_second_takes_what_it_computed(room: Room) -> None:
    """Two processes score the same rows; the second one must not fail for it."""

    def meanwhile() -> Any:
        room.scores()
        return np.full((3, 2), 9.0)

    found = cached_scores(room.db, room.store, (ONE, ROWS, "native"), meanwhile, at=AT)
    assert found[0, 0] == 9.0
    assert len(room.stored()) == 1


def test_rows_are_named_by_key_time_arrival_and_order(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1, 0], arrived_us=[5, 6, 7])
    name = rows_id(rows)
    assert name == rows_id(make_rows([0, 1, 0], arrived_us=[5, 6, 7]))
    assert len(name) == 64
    others = [
        make_rows([0, 1, 0], arrived_us=[5, 6, 8]),
        make_rows([0, 1, 0], arrived_us=[5, 6, 7], event_us=[0, 1, 3]),
        make_rows([0, 1, 0], arrived_us=[5, 6, 7], keys=["row0", "row1", "x"]),
        make_rows([0, 1], arrived_us=[5, 6]),
        rows.take(np.array([1, 0, 2])),
    ]
    assert len({name, *map(rows_id, others)}) == 6


def test_a_label_that_comes_later_leaves_the_name_as_it_is(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1, 0])
    assert rows.label is not None
    assert rows_id(replace(rows, label=rows.label[::-1].copy())) == rows_id(rows)
    assert rows_id(replace(rows, label_arrived_us=rows.label_arrived_us + 9)) == rows_id(rows)


def test_a_slice_of_an_array_is_read_in_its_order(make_rows: MakeRows) -> None:
    rows = make_rows([0, 1] * 4)
    every_second = rows.take(np.arange(0, 8, 2))
    strided = replace(every_second, key_hash=rows.key_hash[::2], event_us=rows.event_us[::2])
    assert rows_id(strided) == rows_id(every_second)
