"""Breaks when a disturbance changes a table's shape, or does nothing, or something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewal.core.plugin import load_plugin, plugin_names
from renewal.core.spec import Field, Signature
from renewal.evaluate.perturb import (
    Noise,
    Nulls,
    SwappedColumns,
    UnitChange,
    UnseenCategory,
)
from renewal.evaluate.robustness import Perturbation

TYPES = {
    "float": pa.float64(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "tensor": pa.list_(pa.float32(), 2),
}
VALUES: dict[str, Any] = {
    "float": st.floats(),
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "string": st.text(max_size=3),
    "bytes": st.binary(max_size=3),
    "tensor": st.lists(st.floats(width=32), min_size=2, max_size=2),
}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def signature(**kinds: str) -> Signature:
    """Return fields by name and kind; a kind that ends with '!' may not be null."""
    return Signature(
        tuple(
            Field(
                name,
                kind.rstrip("!"),  # type: ignore[arg-type]  # a kind
                not kind.endswith("!"),
                (2, 1) if kind.startswith("tensor") else (),
            )
            for name, kind in kinds.items()
        )
    )


@pytest.fixture
def table() -> pa.Table:
    """Return 1,000 rows of every kind, each with a null where it may have one."""
    n = 1000
    draw = np.random.default_rng(1)
    none = [None]
    return pa.table(
        {
            "f": pa.array([*draw.normal(5.0, 2.0, n - 1).tolist(), None], pa.float64()),
            "g": pa.array(draw.normal(size=n)),
            "i": pa.array([*range(n - 1), None], pa.int64()),
            "j": pa.array(draw.integers(0, 9, n)),
            "b": pa.array([True, False] * (n // 2)),
            "s": pa.array(none + ["x", "unseen", "y"] * 333, pa.string()),
        }
    )


KINDS = signature(f="float", g="float!", i="int", j="int!", b="bool!", s="string")


def differing(table: pa.Table, changed: pa.Table, name: str) -> int:
    both = zip(table[name].to_pylist(), changed[name].to_pylist(), strict=True)
    return sum(1 for one, other in both if one != other)


def test_the_built_ins_are_registered() -> None:
    names = plugin_names("perturbations")
    assert set(names) >= {"nulls", "noise", "unit_change", "unseen_category", "swapped_columns"}
    for name in names:
        assert load_plugin("perturbations", name)().name == name


def test_nulls_come_where_they_may(table: pa.Table) -> None:
    changed = Nulls().perturb(table, KINDS, rng())
    for name in ("f", "i", "s"):
        assert 60 <= changed[name].null_count <= 150
    for name in ("g", "j", "b"):
        assert changed[name].equals(table[name])


def test_noise_is_of_the_size_of_the_column(table: pa.Table) -> None:
    changed = Noise().perturb(table, KINDS, rng())
    for name in ("f", "g"):
        before, after = table[name].to_numpy(), changed[name].to_numpy()
        assert np.nanstd(after - before) == pytest.approx(np.nanstd(before), rel=0.1)
    assert changed["f"].null_count == 1
    for name in ("i", "j", "b", "s"):
        assert changed[name].equals(table[name])


def test_each_row_has_one_number_in_another_unit(table: pa.Table) -> None:
    changed = UnitChange().perturb(table, KINDS, rng())
    n_each = {name: differing(table, changed, name) for name in ("f", "g", "i", "j")}
    assert all(200 < n < 300 for name, n in n_each.items() if name != "j")  # j is 0 in a tenth
    moved = [row for row in range(999) if changed["i"][row].as_py() != table["i"][row].as_py()]
    assert all(changed["i"][row].as_py() == 1000 * table["i"][row].as_py() for row in moved)
    assert changed["i"].null_count == 1


def test_large_integers_stop_at_the_largest() -> None:
    largest = 2**63 - 1
    values = pa.table({"i": pa.array([largest, -(2**63), 9223372036854775, 10**16, -(10**16)])})
    changed = UnitChange().perturb(values, signature(i="int"), rng())
    found = changed["i"].to_pylist()
    assert found == [largest, -(2**63), 9223372036854775000, largest, -(2**63)]


def test_the_unseen_word_was_never_seen(table: pa.Table) -> None:
    """The column already holds the word 'unseen'."""
    changed = UnseenCategory().perturb(table, KINDS, rng())
    new = set(changed["s"].to_pylist()) - set(table["s"].to_pylist())
    assert new == {"unseen_"}
    assert changed["s"].null_count == 1
    assert 60 <= differing(table, changed, "s") <= 150


def test_swapped_columns_are_of_one_kind_and_nullability() -> None:
    n = 500
    columns = {
        name: pa.array(np.arange(at * n, (at + 1) * n, dtype=float))
        for at, name in enumerate("abc")
    }
    values = pa.table({**columns, "i": np.arange(n), "j": np.arange(n) + n})
    changed = SwappedColumns().perturb(
        values, signature(a="float", b="float", c="float!", i="int", j="int"), rng()
    )
    assert changed["c"].equals(values["c"])
    swapped = differing(values, changed, "a"), differing(values, changed, "i")
    assert sum(swapped) == n
    assert min(swapped) > 200
    before, after = (each.select(["a", "b"]).to_pylist() for each in (values, changed))
    assert all(
        sorted(one.values()) == sorted(two.values()) for one, two in zip(before, after, strict=True)
    )


@pytest.mark.parametrize(
    ("perturbation", "kinds", "why"),
    [
        (Nulls(), {"a": "int!"}, "no nullable column"),
        (Nulls(), {"a": "int!", "b": "bytes"}, "no nullable column but bytes and tensors"),
        (Nulls(), {"t": "tensor"}, "no nullable column but bytes and tensors"),
        (Noise(), {"a": "int", "b": "bytes"}, "no float column"),
        (UnitChange(), {"t": "tensor", "b": "bytes"}, "no numeric column"),
        (UnseenCategory(), {"b": "bytes"}, "no string column"),
        (SwappedColumns(), {"t": "tensor", "u": "tensor"}, "no two numeric columns of one kind"),
        (UnitChange(), {"a": "string", "b": "bool"}, "no numeric column"),
        (UnseenCategory(), {"a": "float"}, "no string column"),
        (SwappedColumns(), {"a": "float", "b": "int"}, "no two numeric columns of one kind"),
        (SwappedColumns(), {"a": "int", "b": "int!"}, "no two numeric columns of one kind"),
    ],
)
def test_what_does_not_apply_says_why(
    perturbation: Perturbation, kinds: dict[str, str], why: str
) -> None:
    assert perturbation.applies(signature(**kinds)) == why
    every = signature(a="float", b="float", i="int", s="string")
    assert perturbation.applies(every) is None


def test_noise_on_tensors_is_a_fifth_of_their_spread() -> None:
    """Breaks when a missing tensor moves the others, or NaN, infinities and bytes change."""
    values = np.random.default_rng(2).normal(3.0, 5.0, (2000, 2)).astype(np.float32)
    given_rows = [*values.tolist(), None, [float("nan"), float("inf")]]
    rows = pa.table(
        {"t": pa.array(given_rows, pa.list_(pa.float32(), 2)), "b": [b"x"] * len(given_rows)}
    )
    changed = Noise().perturb(rows, signature(t="tensor", b="bytes"), rng())
    assert changed.schema.equals(rows.schema)
    assert changed["b"].equals(rows["b"])
    tensors = changed["t"].to_pylist()
    assert tensors[2000] is None
    assert np.isnan(tensors[2001][0])
    assert tensors[2001][1] == np.inf
    assert 0.9 < (np.array(tensors[:2000]) - values).std() / (0.2 * 5.0) < 1.1


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 12))
def test_any_table_keeps_its_form(data: st.DataObject, n_rows: int) -> None:
    """Nulls, NaN, infinities, the largest numbers, no row: same schema, same rows, no crash.

    A column that may not be null has no null afterwards, and NaN is no null.
    """
    kinds = {
        name: data.draw(st.sampled_from([*TYPES, *(f"{kind}!" for kind in TYPES)]))
        for name in "abcd"
    }
    arrays = {}
    for name, kind in kinds.items():
        value = VALUES[kind.rstrip("!")]
        drawn = value if kind.endswith("!") else st.one_of(st.none(), value)
        column = data.draw(st.lists(drawn, min_size=n_rows, max_size=n_rows))
        arrays[name] = pa.array(column, TYPES[kind.rstrip("!")])
    given_table = pa.table(arrays)
    named = signature(**kinds)
    for kind in plugin_names("perturbations"):
        perturbation = load_plugin("perturbations", kind)()
        if perturbation.applies(named) is None:
            changed = perturbation.perturb(given_table, named, rng())
            assert changed.schema.equals(given_table.schema)
            assert changed.num_rows == n_rows
            again = perturbation.perturb(given_table, named, rng())
            assert str(again.to_pydict()) == str(changed.to_pydict())
            for field in named.fields:
                if not field.nullable:
                    assert changed[field.name].null_count == 0
