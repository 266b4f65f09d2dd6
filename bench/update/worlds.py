"""Streams cut into blocks, whose labels come late: what the policies of updating live through."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from renewal.cli.demo_data import FEATURES, KEY, LABEL_AT, TARGET, TIME, flights
from renewal.core.duration import format_duration
from renewal.core.spec import ModelSpec
from renewal.data.rows import Rows, to_rows
from renewal.data.stamp import stamp

ELEC2 = Path(os.environ.get("RENEWAL_DATA", "../shared/data")) / "elec2.parquet"
_MICROSECOND = timedelta(microseconds=1)
_HALF_HOUR = timedelta(minutes=30)
_DAY = timedelta(days=1)
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class World:
    """A stream in blocks.

    Parameters
    ----------
    name : str
        Of the data.
    rows : Rows
        All of them, by event time; `label_arrived_us` says when each label comes.
    first_us : int, microseconds since 1970
        Where the first block begins; what lies before is for the first fit.
    block : timedelta
        Length of a block.
    delay : timedelta
        How late labels are.
    window : timedelta
        Of the policy that forgets.
    """

    name: str
    rows: Rows
    first_us: int
    block: timedelta
    delay: timedelta
    window: timedelta

    @property
    def recipe(self) -> str:
        """The recipe that forgets, as a policy file writes it."""
        return f"retrain:window={format_duration(self.window)}"

    def blocks(self) -> Iterator[tuple[int, Rows]]:
        """Yield the start of each block, microseconds, and the rows that are served in it."""
        last_us = int(self.rows.event_us[-1])
        step_us = us(self.block)
        for start_us in range(self.first_us, last_us + 1, step_us):
            yield start_us, between(self.rows, start_us, start_us + step_us)

    def known(self, now_us: int) -> Rows:
        """Return the rows whose labels are all there: those before the delay."""
        return between(self.rows, None, now_us - us(self.delay))


def us(length: timedelta) -> int:
    """Return a length in microseconds."""
    return length // _MICROSECOND


def between(rows: Rows, since_us: int | None, until_us: int) -> Rows:
    """Return the rows of a stretch, the end excluded; `rows` lie by event time."""
    first = 0 if since_us is None else int(np.searchsorted(rows.event_us, since_us))
    last = int(np.searchsorted(rows.event_us, until_us))
    return rows.take(np.arange(first, last))


def last_label(world: World) -> NDArray[np.bool_]:
    """Return which served rows the newest label that is known by then would have had right."""
    rows = world.rows
    newest = np.searchsorted(rows.event_us, rows.event_us - us(world.delay), side="right") - 1
    served = rows.event_us >= world.first_us
    return np.asarray(labels_of(rows)[newest[served]] == labels_of(rows)[served], np.bool_)


def labels_of(rows: Rows) -> NDArray[Any]:
    """Return the labels; every row here has one."""
    assert rows.label is not None
    return rows.label


def elec2(*, n_rows: int | None = None) -> World:
    """Return the prices of electricity, without the date: blocks of 1,000, labels 48 rows late.

    Parameters
    ----------
    n_rows : int or None
        The first rows only.
    """
    table = pq.read_table(ELEC2).slice(0, n_rows)
    event_us = np.arange(table.num_rows, dtype=np.int64) * us(_HALF_HOUR)
    label = table["class"].to_numpy(zero_copy_only=False).astype(object)
    return World(
        "elec2",
        _rows(table.drop_columns(["date", "class"]), event_us, label, delay=48 * _HALF_HOUR),
        first_us=2000 * us(_HALF_HOUR),
        block=1000 * _HALF_HOUR,
        delay=48 * _HALF_HOUR,
        window=5000 * _HALF_HOUR,
    )


def new_york(*, n_weeks: int | None = None) -> World:
    """Return the flights of 2013 week by week after the first four, labels a day late.

    No flight that leaves on one day lands later than on the next, so that a day after the
    departure the label is there.
    """
    table = flights()
    table = table.filter(table[TARGET].is_valid())
    event_us = table[TIME].cast(pa.int64()).to_numpy()
    landed_us = table[LABEL_AT].cast(pa.int64()).to_numpy()
    start_us = int(event_us[0]) // us(_DAY) * us(_DAY)
    until_us = int(event_us[-1]) + 1 if n_weeks is None else start_us + n_weeks * us(_WEEK)
    in_time = (event_us < until_us) & (landed_us <= event_us + us(_DAY))
    table, event_us = table.filter(pa.array(in_time)), event_us[in_time]
    label = table[TARGET].to_numpy().astype(object)
    return World(
        "flights",
        _rows(table.select(list(FEATURES)), event_us, label, table[KEY], delay=_DAY),
        first_us=start_us + 4 * us(_WEEK),
        block=_WEEK,
        delay=_DAY,
        window=8 * _WEEK,
    )


def turning(*, n_blocks: int, rows_a_block: int = 200, turn_every: int = 5, seed: int = 0) -> World:
    """Return a made-up world that turns back and forth, in hours; for the tests."""
    n_rows = (n_blocks + 2) * rows_a_block
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n_rows, 3))
    era = np.arange(n_rows) // (rows_a_block * turn_every) % 2
    noise = rng.normal(scale=0.3, size=n_rows)
    label = (np.where(era == 0, inputs[:, 0], -inputs[:, 0]) + noise > 0).astype(object)
    hour = timedelta(hours=1)
    table = pa.table({f"x{at}": inputs[:, at] for at in range(3)})
    event_us = np.arange(n_rows, dtype=np.int64) * us(hour)
    return World(
        "turning",
        _rows(table, event_us, label, delay=24 * hour),
        first_us=2 * rows_a_block * us(hour),
        block=rows_a_block * hour,
        delay=24 * hour,
        window=2 * rows_a_block * hour,
    )


def _rows(
    features: pa.Table,
    event_us: NDArray[np.int64],
    label: NDArray[Any],
    key: Any = None,
    *,
    delay: timedelta,
) -> Rows:
    spec = ModelSpec("stream", "binary", "label", key="key", time="at", label_delay=delay)
    key = [f"row {at}" for at in range(features.num_rows)] if key is None else key
    stamped = stamp(features, spec, arrived_us=event_us, key=key, event_us=event_us)
    return to_rows(stamped, label, event_us + us(delay))
