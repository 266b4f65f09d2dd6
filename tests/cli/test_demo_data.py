"""The demo's tables: what they hold, and that nothing in them is known too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.metrics import roc_auc_score

from renewal.cli import demo_data
from renewal.cli.demo_data import FEATURES, between, flights, known_by, packaged
from renewal.cli.demo_model import pipeline
from renewal.core.errors import Invalid

KNOWN_ONLY_AFTERWARDS = {
    *("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum", "landed_at"),
}


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return flights()


def month(table: pa.Table, first: int, last: int) -> pa.Table:
    until = datetime(2014 if last == 12 else 2013, last % 12 + 1, 1, 5, tzinfo=UTC)
    return between(table, datetime(2013, first, 1, 5, tzinfo=UTC), until)


def test_all_flights_are_there_once_and_in_order(table: pa.Table) -> None:
    """A join that multiplies or loses rows, or a key that is not unique, breaks this."""
    assert table.num_rows == 336_776
    assert len(table["late"].drop_null()) == 327_346
    assert pc.sum(table["late"]).as_py() == 77_630
    assert len(pc.unique(table["flight_id"])) == 336_776
    times = table["sched_dep_at"].cast("int64").to_numpy()
    assert (times[1:] >= times[:-1]).all()


def test_no_input_is_known_only_after_departure(table: pa.Table) -> None:
    assert set(FEATURES).isdisjoint(KNOWN_ONLY_AFTERWARDS)
    inputs = set(table.column_names) - {"flight_id", "sched_dep_at", "late", "landed_at"}
    assert inputs == set(FEATURES)


def test_a_flight_of_summer_is_four_hours_behind_utc(table: pa.Table) -> None:
    """Reading local times as UTC, or as winter time, breaks this."""
    source = packaged("flights.csv.zip").query("month == 7 and day == 1").iloc[0]
    minutes = int(source["sched_dep_time"])
    key = f"{source['carrier']}{source['flight']}-{source['origin']}-2013-07-01"
    row = table.filter(pc.equal(table["flight_id"], key)).to_pylist()[0]
    local = datetime(2013, 7, 1, minutes // 100, minutes % 100, tzinfo=UTC)
    assert row["sched_dep_at"] == local + timedelta(hours=4)
    assert row["sched_minute"] == minutes // 100 * 60 + minutes % 100


def test_labels_come_when_flights_have_landed(table: pa.Table) -> None:
    """An arrival before its departure, or days later, would be a zone or a date gone wrong."""
    has_label = table["late"].is_valid()
    assert table["landed_at"].is_valid().equals(has_label)
    landed = table.filter(has_label)
    minutes = pc.divide(
        pc.subtract(landed["landed_at"].cast("int64"), landed["sched_dep_at"].cast("int64")),
        60_000_000,
    ).to_numpy()
    # The shortest hop takes half an hour; the longest recorded delay is 21.7 hours.
    assert minutes.min() >= 0
    assert minutes.max() < 2 * 24 * 60


def test_arrivals_agree_with_schedule_and_delay(table: pa.Table) -> None:
    """Two flights worked out by hand: one to another zone, one that lands after midnight."""
    by_key = {row["flight_id"]: row for row in table.slice(0, 900).to_pylist()}
    # 05:17 in Newark (10:17 UTC), 08:30 in Houston (14:30 UTC).
    assert by_key["UA1545-EWR-2013-01-01"]["landed_at"] == datetime(2013, 1, 1, 14, 30, tzinfo=UTC)
    # 23:59 scheduled, San Juan: an hour ahead of New York in winter.
    to_aguadilla = "month == 1 and day == 1 and dest == 'BQN' and hour == 23"
    source = packaged("flights.csv.zip").query(to_aguadilla)
    flight = source.iloc[0]
    row = by_key[f"{flight.carrier}{flight.flight}-{flight.origin}-2013-01-01"]
    arrival = int(flight.arr_time)
    assert row["landed_at"] == datetime(2013, 1, 2, tzinfo=UTC) + timedelta(
        hours=arrival // 100 + 4, minutes=arrival % 100
    )


def test_known_by_hides_labels_of_flights_in_the_air(table: pa.Table) -> None:
    now = datetime(2013, 1, 1, 18, tzinfo=UTC)
    day = between(table, datetime(2013, 1, 1, tzinfo=UTC), now)
    known = known_by(day, now)
    assert "landed_at" not in known.column_names
    hidden = pc.and_(day["late"].is_valid(), known["late"].is_null())
    assert pc.all(pc.greater(day.filter(hidden)["landed_at"], pa.scalar(now))).as_py()
    assert 0 < pc.sum(hidden).as_py() < day.num_rows
    assert known_by(day, now + timedelta(days=3))["late"].null_count == day["late"].null_count


def test_stretches_are_half_open_and_naive_instants_refused(table: pa.Table) -> None:
    first = table["sched_dep_at"][0].as_py()
    assert between(table, first - timedelta(hours=1), first).num_rows == 0
    assert between(table, first, first + timedelta(microseconds=1)).num_rows > 0
    with pytest.raises(Invalid, match="time zone"):
        between(table, datetime(2013, 1, 1), datetime(2013, 2, 1))  # noqa: DTZ001  # the point


def test_repeated_keys_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(file: str) -> pd.DataFrame:
        table = packaged(file)
        return pd.concat([table.head(3)] * 2) if file.startswith("flights") else table

    monkeypatch.setattr(demo_data, "packaged", twice)
    with pytest.raises(Invalid, match="3 repeated keys"):
        flights()


def auc(model: Any, rows: pa.Table) -> float:
    frame = rows.filter(rows["late"].is_valid()).to_pandas()
    scores = model.predict_proba(frame[list(FEATURES)])[:, 1]
    return float(roc_auc_score(frame["late"], scores))


def test_there_is_something_to_win(table: pa.Table) -> None:
    """The measurement the demo rests on: January's model ages, a retrained one does not.

    Seeded; the tolerance of .015 covers other versions of scikit-learn.
    """
    labelled = table.filter(table["late"].is_valid())

    def fitted(last: int) -> Any:
        frame = month(labelled, 1, last).to_pandas()
        return pipeline().fit(frame[list(FEATURES)], frame["late"])

    january = fitted(1)
    july = month(table, 7, 7)
    assert auc(january, month(table, 5, 5)) == pytest.approx(0.699, abs=0.015)
    assert auc(january, july) == pytest.approx(0.685, abs=0.015)
    assert auc(fitted(6), july) == pytest.approx(0.753, abs=0.015)
