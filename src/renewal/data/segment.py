"""Segments: what a serving worker writes down by itself, until it is sealed into the feed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from renewal.core.errors import Corrupt, Invalid, Unavailable
from renewal.core.ids import new_id
from renewal.data.columns import PREDICTIONS_SCHEMA, SYSTEM_SCHEMA, rows_schema

__all__ = [
    "PREDICTIONS_SCHEMA",
    "SUFFIX",
    "Durability",
    "Segment",
    "SegmentWriter",
    "read_segment",
    "read_segments",
    "rows_schema",
    "segment_paths",
    "sync_folder",
    "write_segment",
]

Durability = Literal["interval", "fsync"]

SUFFIX = ".arrow"
_Part = tuple[pa.Table, pa.Table]


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Rows and predictions of one worker, in the order in which it wrote them.

    Parameters
    ----------
    worker : str
        One start of one process: no two writers share it.
    seq : int
        0, 1, 2, ... within the worker. The feed remembers the last one it took in.
    rows : pyarrow.Table
        With `rows_schema` of the model's signature.
    predictions : pyarrow.Table
        With `PREDICTIONS_SCHEMA`.
    """

    worker: str
    seq: int
    rows: pa.Table
    predictions: pa.Table

    @property
    def file_name(self) -> str:
        """The name of its file; names sort by worker and number."""
        return f"{self.worker}-{self.seq:010d}{SUFFIX}"


class SegmentWriter:
    """Gathers rows and predictions in memory and writes them as segments; thread-safe.

    Parameters
    ----------
    folder : Path
        Of one model; made where it does not exist.
    worker : str
        Name of the process, for people; a fresh id is put behind it, so that a worker that
        starts again under its old name never writes a number that the feed already has.
    durability : {"interval", "fsync"}, default "interval"
        interval: what was added since the last `flush` is lost when the process is killed.
        fsync: `add` returns when it is on disk, at the price of one file and one fsync each.

    Examples
    --------
    >>> import tempfile
    >>> from renewal.core.spec import ModelSpec
    >>> from renewal.data.stamp import stamp
    >>> spec = ModelSpec("flights", "binary", "late", key="flight")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = SegmentWriter(Path(folder), "http-1")
    ...     writer.add(stamp(pa.table({"hour": [7.0]}), spec, arrived_us=5, key=["UA1"]),
    ...                PREDICTIONS_SCHEMA.empty_table())
    ...     writer.flush(), [segment.rows.num_rows for segment in read_segments(Path(folder))]
    (1, [1])
    """

    def __init__(self, folder: Path, worker: str, *, durability: Durability = "interval") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.worker = f"{worker}.{new_id()}"
        self.durability = durability
        self.n_rows = 0
        self.n_predictions = 0
        self.n_segments = 0
        self._lock = threading.Lock()
        # Flushing holds its own lock: nobody who adds waits for the disk.
        self._flushing = threading.Lock()
        self._parts: list[_Part] = []

    @property
    def n_waiting(self) -> int:
        """Rows and predictions that were added and are not in a segment yet."""
        with self._lock:
            return sum(table.num_rows for part in self._parts for table in part)

    def add(self, rows: pa.Table, predictions: pa.Table) -> None:
        """Take rows and predictions; with durability ``fsync``, return when they are on disk.

        Parameters
        ----------
        rows : pyarrow.Table
            With `rows_schema`, from `renewal.data.stamp.stamp`; may be empty.
        predictions : pyarrow.Table
            With `PREDICTIONS_SCHEMA`; may be empty.

        Raises
        ------
        Invalid
            When a schema differs: a segment with it could never be sealed.
        Unavailable
            With durability ``fsync``, when the disk does not take it.
        """
        _check(rows, predictions)
        with self._lock:
            if rows.num_rows or predictions.num_rows:
                self._parts.append((rows, predictions))
        if self.durability == "fsync":
            self.flush()

    def flush(self) -> int:
        """Write what was added as a segment; as several, where one table cannot hold all rows.

        Returns
        -------
        int
            Number of rows written; 0 where there was nothing, and then no file.

        Raises
        ------
        Unavailable
            When the disk does not take it; it stays in memory for the next flush.
        """
        n_rows = 0
        with self._flushing:
            with self._lock:
                parts, self._parts = self._parts, []
            left = _joined(parts)
            try:
                while left:
                    n_rows += self._write(*left[0])
                    del left[0]
            except OSError as error:
                with self._lock:
                    self._parts[:0] = left
                raise Unavailable(
                    "SegmentWriter.flush",
                    needs=f"a disk that takes a segment in {self.folder}",
                    came=str(error),
                    todo="Make room there; nothing is lost while the process lives.",
                    retry_after_s=5.0,
                ) from error
        return n_rows

    def _write(self, rows: pa.Table, predictions: pa.Table) -> int:
        segment = Segment(self.worker, self.n_segments, rows, predictions)
        # Somebody may have cleared it away, or mounted another disk there.
        self.folder.mkdir(parents=True, exist_ok=True)
        write_segment(self.folder, segment)
        self.n_segments += 1
        self.n_rows += rows.num_rows
        self.n_predictions += predictions.num_rows
        return int(rows.num_rows)


def _joined(parts: list[_Part]) -> list[_Part]:
    """Return one part for all; where columns of one name differ in type, one for each schema.

    What the feed cannot hold beside the rest is then put aside by the sealer, and nothing else.
    """
    if not parts:
        return []
    rows = [each for each, _ in parts if each.num_rows] or [SYSTEM_SCHEMA.empty_table()]
    try:
        # Rows of two versions may differ by a column: nulls fill the gap.
        together = pa.concat_tables(rows, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        alike: dict[str, list[_Part]] = {}
        for part in parts:
            alike.setdefault(str(part[0].schema), []).append(part)
        if len(alike) == 1:
            raise
        return [whole for group in alike.values() for whole in _joined(group)]
    return [(together, pa.concat_tables([predictions for _, predictions in parts]))]


def write_segment(folder: Path, segment: Segment) -> Path:
    """Write a segment: a temporary file, fsync, rename, fsync of the folder.

    Two Arrow streams, rows and then predictions, lie one after the other in one file, so
    that both are there or neither.
    """
    path = folder / segment.file_name
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        for table in (segment.rows, segment.predictions):
            with pa.ipc.new_stream(file, table.schema) as stream:
                stream.write_table(table)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_folder(folder)
    return path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def segment_paths(folder: Path) -> tuple[Path, ...]:
    """Return the files of the segments of a folder, by worker and number."""
    return tuple(sorted(folder.glob(f"*{SUFFIX}"))) if folder.is_dir() else ()


def read_segment(path: Path) -> Segment:
    """Read one segment.

    Raises
    ------
    Corrupt
        When the file is cut off or no segment.
    FileNotFoundError
        When it was sealed meanwhile.
    """
    worker, _, seq = path.name.removesuffix(SUFFIX).rpartition("-")
    data = pa.BufferReader(path.read_bytes())
    try:
        with pa.ipc.open_stream(data) as stream:
            rows = stream.read_all()
        with pa.ipc.open_stream(data) as stream:
            predictions = stream.read_all()
        return Segment(worker, int(seq), rows, predictions)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Corrupt(
            "read_segment",
            needs="a whole segment",
            came=f"{path}: {error}",
            todo="Restore the file or move it away; the segments after it are sealed all the same.",
            path=str(path),
        ) from error


def read_segments(folder: Path) -> Iterator[Segment]:
    """Read the segments of a folder, by worker and number; ones sealed meanwhile are left out.

    Raises
    ------
    Corrupt
        When a file is cut off or no segment.
    """
    for path in segment_paths(folder):
        try:
            yield read_segment(path)
        except FileNotFoundError:
            continue


def _check(rows: pa.Table, predictions: pa.Table) -> None:
    system = [rows.schema.field(name) for name in SYSTEM_SCHEMA.names if name in rows.column_names]
    if pa.schema(system) != SYSTEM_SCHEMA:
        raise Invalid(
            "SegmentWriter.add",
            needs="rows with the system columns of rows_schema",
            came=f"the columns {', '.join(rows.column_names)}",
            todo="Make them with renewal.data.stamp.stamp.",
        )
    if predictions.schema != PREDICTIONS_SCHEMA:
        raise Invalid(
            "SegmentWriter.add",
            needs="predictions with PREDICTIONS_SCHEMA",
            came=str(predictions.schema).replace("\n", ", "),
            todo="Build them with pyarrow.table(..., schema=PREDICTIONS_SCHEMA).",
        )
