"""How a feed's columns are encoded: by dictionary where text repeats, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from renewal.data.columns import KEY
from renewal.data.delta import AppendTable


def dictionaries(folder: Path) -> dict[str, bool]:
    """Say for each column of the newest file whether a dictionary is in it."""
    newest = max(folder.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    group = pq.ParquetFile(newest).metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    return {each.path_in_schema: each.has_dictionary_page for each in columns}


def test_only_text_that_repeats_has_a_dictionary_before_and_after_files_are_joined(
    tmp_path: Path,
) -> None:
    table = AppendTable(tmp_path / "rows", ("number",))
    rows = pa.table(
        {
            "number": np.zeros(100),
            "colour": ["red", "green"] * 50,
            KEY: [f"k{at}" for at in range(100)],
            "scores": [[0.25, 0.75]] * 100,
        }
    )
    expected = {"number": False, "colour": True, KEY: False, "scores.list.element": False}
    table.append(rows)
    assert dictionaries(table.path) == expected
    table.append(rows)
    assert table.compact()
    assert dictionaries(table.path) == expected
    found = table.read(table.view(), rows.column_names)
    assert found is not None
    assert found.num_rows == 200
