"""The set of seen rows: membership, union, bytes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Corrupt
from renewal.core.ids import key_hash
from renewal.core.spec import ModelSpec
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows, to_rows
from renewal.data.stamp import stamp

SPEC = ModelSpec("m", "binary", "late", key="k", group="g")

Pairs = list[tuple[str, str]]
PAIRS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvw")), max_size=12)


def rows_of(pairs: Pairs) -> Rows:
    keys, groups = [key for key, _ in pairs], [group for _, group in pairs]
    features = pa.table({"x": np.zeros(len(pairs))})
    text = pa.string()
    stamped = stamp(
        features, SPEC, arrived_us=0, key=pa.array(keys, text), group=pa.array(groups, text)
    )
    return to_rows(stamped)


@given(PAIRS, PAIRS, PAIRS)
def test_seen_is_membership_by_key_or_group(one: Pairs, other: Pairs, judged: Pairs) -> None:
    """Breaks when a group is forgotten, or a union loses a side: a model judged on its own rows."""
    both = KeySet.of(rows_of(one)).union(KeySet.of(rows_of(other)))
    keys = {key for key, _ in one + other}
    groups = {group for _, group in one + other}
    expected = [key in keys or group in groups for key, group in judged]
    assert both.seen(rows_of(judged)).tolist() == expected
    assert len(both) == len(keys)


@given(PAIRS, st.booleans())
def test_bytes_round_trip(pairs: Pairs, same: bool) -> None:  # noqa: FBT001  # drawn
    keyset = KeySet.of(rows_of([(key, key) for key, _ in pairs] if same else pairs))
    data = keyset.to_bytes()
    back = KeySet.from_bytes(data)
    assert np.array_equal(back.keys, keyset.keys)
    assert np.array_equal(back.groups, keyset.groups)
    assert back.to_bytes() == data
    if same:
        assert len(data) == 24 + 8 * len(keyset)


def test_bytes_are_part_of_the_format() -> None:
    keyset = KeySet.of(rows_of([("a", "a")]))
    head = b"RNWKEYS1" + (1).to_bytes(8, "little") + b"\xff" * 8
    assert keyset.to_bytes() == head + key_hash("a").to_bytes(8, "little")


@pytest.mark.parametrize("cut", [0, 7, 23, 24, -1, None])
def test_damaged_bytes_are_corrupt(cut: int | None) -> None:
    data = KeySet.of(rows_of([("a", "u"), ("b", "v")])).to_bytes()
    damaged = data + b"\x00" if cut is None else data[:cut]
    with pytest.raises(Corrupt):
        KeySet.from_bytes(damaged)
    with pytest.raises(Corrupt):
        KeySet.from_bytes(b"X" + data[1:])
