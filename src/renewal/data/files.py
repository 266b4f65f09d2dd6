"""The files of one version of a Delta table: their ranges, and which a reader may skip."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable
from pyarrow.fs import LocalFileSystem

from renewal.data.segment import sync_folder

Bounds = Mapping[str, tuple[Any, Any]]
"""For each column the smallest and largest value wanted, both included; None: no bound."""

TARGET_BYTES = 32 * 2**20
"""Size of a file that compaction aims at."""

_SMALL_BYTES = TARGET_BYTES // 2
# Delta keeps the statistics of instants in milliseconds, cut off; a largest value of
# 12:00:00.123 may hide 12:00:00.123999. Skipping files without this loses rows.
_CUT_OFF_US = 999


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The files of a table at one version, with the range of each; immutable.

    Parameters
    ----------
    version : int
        Of the Delta table.
    schema : pyarrow.Schema
        Of its columns.
    fragments : tuple of pyarrow.dataset.Fragment
        Its files; they remember their own footers.
    low, high : mapping of str to list
        Smallest and largest value of each column with statistics, by file; None: unknown.
    n_rows, n_small : int
        Rows in all, and files that a compaction would join.
    """

    version: int
    schema: pa.Schema
    fragments: tuple[ds.Fragment, ...]
    low: Mapping[str, list[Any]]
    high: Mapping[str, list[Any]]
    n_rows: int
    n_small: int

    def within(self, bounds: Bounds) -> list[ds.Fragment]:
        """Return the files that may hold a row within the bounds."""
        ranges = [
            (self.low[name], self.high[name], low, high)
            for name, (low, high) in bounds.items()
            if name in self.low
        ]
        return [
            fragment
            for at, fragment in enumerate(self.fragments)
            if all(_overlaps(lows[at], highs[at], low, high) for lows, highs, low, high in ranges)
        ]


def view_of(table: DeltaTable, path: Path, statistics: tuple[str, ...], known: View | None) -> View:
    """List the files of a table.

    Parameters
    ----------
    table : DeltaTable
        At the version wanted.
    path : Path
        Its folder.
    statistics : tuple of str
        Columns whose ranges are kept; files come in the order of the first.
    known : View or None
        Another version, whose opened files are used again.
    """
    files = pa.table(table.get_add_actions(flatten=True))
    low = {name: _limits(files, f"min.{name}", 0) for name in statistics}
    high = {name: _limits(files, f"max.{name}", _CUT_OFF_US) for name in statistics}
    paths = [str(path / name) for name in files["path"].to_pylist()]
    opened = {} if known is None else {file.path: file for file in known.fragments}
    parquet, disk = ds.ParquetFileFormat(), LocalFileSystem()
    fragments = [opened.get(path) or parquet.make_fragment(path, filesystem=disk) for path in paths]
    first = low[statistics[0]]
    at = sorted(
        range(len(paths)), key=lambda file: (first[file] is not None, first[file], paths[file])
    )
    return View(
        version=table.version(),
        schema=pa.schema(table.schema().to_arrow()),
        fragments=tuple(fragments[file] for file in at),
        low={name: [values[file] for file in at] for name, values in low.items()},
        high={name: [values[file] for file in at] for name, values in high.items()},
        n_rows=pc.sum(files["num_records"]).as_py() or 0,
        n_small=pc.sum(pc.less(files["size_bytes"], _SMALL_BYTES)).as_py() or 0,
    )


def sync_commits(path: Path, before: int, after: int) -> None:
    """Sync the files of the commits after `before`: Delta's writer leaves that to the system."""
    for version in range(before + 1, after + 1):
        entry = entry_path(path, version)
        for line in entry.read_text().splitlines():
            added = json.loads(line).get("add")
            if added is not None and (path / added["path"]).exists():
                _sync_file(path / added["path"])
        _sync_file(entry)
    sync_folder(path)
    sync_folder(path / "_delta_log")


def entry_path(path: Path, version: int) -> Path:
    """Return where the log entry of a version stands."""
    return path / "_delta_log" / f"{version:020d}.json"


def _limits(files: pa.Table, name: str, beyond: int) -> list[Any]:
    """Return a column of statistics as Python values; instants as microseconds."""
    if name not in files.column_names:
        return [None] * files.num_rows
    column = files[name]
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    us = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return list(pc.add(us, beyond).to_pylist())


def _overlaps(file_low: Any, file_high: Any, low: Any, high: Any) -> bool:
    if file_low is None or file_high is None:
        return True
    return not ((low is not None and file_high < low) or (high is not None and file_low > high))


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
