"""Columns as tensors: the same for every row, whatever comes later."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from renewal.core.errors import Invalid
from renewal.models.torch_inputs import (
    Reading,
    finished,
    inputs_of_json,
    learn_inputs,
    tensors_of,
)

ROWS = pa.table(
    {
        "hour": pa.array([6.0, None, 10.0]),
        "stops": pa.array([1, 1, 1]),
        "carrier": pa.array(["UA", None, "AA"]),
    }
)


def _made(rows: pa.Table, reading: Reading = Reading(), later: pa.Table | None = None) -> Any:  # noqa: B008  # frozen
    inputs = learn_inputs(rows, reading, who="test")
    return tensors_of(inputs, rows if later is None else later, who="test")


def test_gaps_become_the_mean_and_a_constant_column_zero() -> None:
    numbers, codes = _made(ROWS)
    assert numbers.tolist() == [[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]
    assert codes.tolist() == [[2], [0], [1]]


def test_later_rows_are_read_by_the_statistics_of_the_fit() -> None:
    """Breaks when rows are standardized by themselves: a single one would always be 0."""
    later = pa.table({"carrier": ["??"], "stops": [2], "hour": [12.0]})
    numbers, codes = _made(ROWS, later=later)
    assert numbers.tolist() == [[2.0, 1.0]]
    assert codes.tolist() == [[0]]


def test_texts_as_columns() -> None:
    (numbers,) = _made(ROWS, Reading(standardize=False, texts="one_hot"))
    assert numbers.tolist() == [[6.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0], [10.0, 1.0, 1.0, 0.0]]


def test_only_the_most_frequent_texts_are_known() -> None:
    rows = pa.table({"a": ["x", "y", "y", "z", "z"]})
    (codes,) = _made(rows, Reading(vocabulary=2))
    assert codes[:, 0].tolist() == [0, 1, 1, 2, 2]


def _picture(level: int, size: tuple[int, int] = (4, 3), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (level, 0, 255)).save(file, kind)
    return file.getvalue()


def test_pictures_are_kept_as_bytes_until_their_batch() -> None:
    rows = pa.table({"picture": pa.array([_picture(0), _picture(255)], pa.binary())})
    inputs = learn_inputs(rows, Reading(), who="test")
    raw = tensors_of(inputs, rows, who="test")
    assert (raw[0].dtype, tuple(raw[0].shape)) == (torch.uint8, (2, 3, 3, 4))
    (made,) = finished(inputs, raw)
    # Red has mean 0.5 and spread 0.5; green and blue never change, and are shifted alone.
    assert made[:, :, 0, 0].tolist() == [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]


def test_pictures_of_several_sizes_need_to_be_scaled() -> None:
    rows = pa.table({"picture": pa.array([_picture(0), _picture(9, (8, 8), "JPEG")], pa.binary())})
    with pytest.raises(Invalid, match=r"row 1.*images=\(height, width\)"):
        _made(rows)
    assert _made(rows, Reading(images=(2, 2), channels=1))[0].shape == (2, 1, 2, 2)


@pytest.mark.parametrize("data", [None, b"", b"GIF89a", _picture(1)[:40]])
def test_what_is_no_picture(data: bytes | None) -> None:
    rows = pa.table({"picture": pa.array([_picture(0), data], pa.binary())})
    with pytest.raises(Invalid, match=r"row 1.*JPEG or PNG"):
        _made(rows)


@pytest.mark.parametrize("form", ["noted", "nested", "arrow"])
def test_a_tensor_column_gets_its_shape_back(form: str) -> None:
    values = np.arange(12, dtype=np.float32)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(values), 6)
    field = pa.field("pixels", flat.type, metadata={"renewal.shape": "[2, 3]"})
    rows = pa.table([flat], schema=pa.schema([field]))
    if form == "nested":
        rows = pa.table({"pixels": pa.FixedSizeListArray.from_arrays(
            pa.FixedSizeListArray.from_arrays(pa.array(values), 3), 2)})  # fmt: skip
    if form == "arrow":
        kind = pa.fixed_shape_tensor(pa.float32(), (2, 3))
        rows = pa.table({"pixels": pa.ExtensionArray.from_storage(kind, flat)})
    (made,) = _made(rows)
    assert torch.equal(made, torch.from_numpy(values.reshape(2, 2, 3)))
    # Requests come flat, and a slice of a column must not bring its neighbors.
    (sliced,) = _made(rows, later=rows.slice(1, 1))
    assert sliced[0, 0, 0] == 6.0
    with pytest.raises(Invalid, match=r"shape \(2, 3\)"):
        _made(rows, later=pa.table({"pixels": pa.array([[1.0]], pa.list_(pa.float32(), 1))}))


def test_a_missing_tensor_is_named() -> None:
    rows = pa.table({"a": pa.array([[1.0], [2.0]], pa.list_(pa.float32(), 1))})
    later = pa.table({"a": pa.array([[1.0], None], pa.list_(pa.float32(), 1))})
    with pytest.raises(Invalid, match="1 rows without one"):
        _made(rows, later=later)


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (pa.table({"hour": [1.0], "stops": [1]}), "none called 'carrier'"),
        (pa.table({"hour": ["six"], "stops": [1], "carrier": ["UA"]}), "type string"),
        (pa.table({"hour": [np.inf], "stops": [1], "carrier": ["UA"]}), "'hour'"),
        (pa.table({"hour": [1e300], "stops": [1], "carrier": ["UA"]}), "'hour'"),
    ],
)
def test_rows_of_another_form(later: pa.Table, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        _made(ROWS, later=later)


def test_a_column_of_which_no_tensor_is_made() -> None:
    with pytest.raises(Invalid, match="timestamp"):
        _made(pa.table({"at": [datetime(2024, 1, 1, tzinfo=UTC)]}))


def prepare(rows: pa.Table) -> torch.Tensor:
    return torch.tensor(rows["hour"].fill_null(0.0).to_pylist())[:, None]


def test_a_function_of_ones_own_sees_the_table() -> None:
    inputs = learn_inputs(ROWS, Reading(prepare="nets:prepare"), who="test")
    (made,) = tensors_of(inputs, ROWS, who="test", prepare=prepare)
    assert made[:, 0].tolist() == [6.0, 0.0, 10.0]
    with pytest.raises(Invalid, match="3 rows"):
        tensors_of(inputs, ROWS, who="test", prepare=lambda _: torch.zeros(2))


def test_what_is_learned_survives_json_and_keeps_the_order_of_columns() -> None:
    """Breaks when columns come back sorted: the network would read one for another."""
    inputs = learn_inputs(ROWS.select(["stops", "hour", "carrier"]), Reading(), who="test")
    again = inputs_of_json(json.loads(json.dumps(inputs.to_json(), sort_keys=True)))
    assert again == inputs
    assert list(again.numbers) == ["stops", "hour"]
