"""From requests to rows and predictions: whatever is gathered together is found again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renewal.core.spec import Field, ModelSpec, Signature
from renewal.data.columns import PREDICTIONS_SCHEMA, SYSTEM_SCHEMA, hash_keys
from renewal.data.rowkey import row_keys
from renewal.serve.features import Features
from renewal.serve.gathered import ROOM, Gathered, Sorter
from renewal.serve.records import tables_of
from renewal.serve.routing import RowFacts
from renewal.serve.served import Served

Make = Callable[..., Served]
SPEC = ModelSpec("flights", "binary", "late", key="flight")


def gathered(*entries: Served) -> list[Gathered]:
    """Gather entries as the log does, two at a time."""
    sorter = Sorter()
    for at in range(0, len(entries), 2):
        sorter.add(entries[at : at + 2])
    return sorter.taken()


def predictions_of(*entries: Served, spec: ModelSpec = SPEC) -> list[dict[str, Any]]:
    tables = [tables_of(spec, each)[1] for each in gathered(*entries)]
    assert all(table.schema == PREDICTIONS_SCHEMA for table in tables)
    return [row for table in tables for row in table.to_pylist()]


def rows_of(*entries: Served, spec: ModelSpec = SPEC) -> list[dict[str, Any]]:
    return [row for each in gathered(*entries) for row in tables_of(spec, each)[0].to_pylist()]


def test_every_row_of_a_split_request_bears_the_version_that_answered_it(served: Make) -> None:
    entry = served("P", n_rows=5, split=("a", "b"))._replace(facts=None)
    found = predictions_of(entry)
    versions = {row["prediction_id"]: row["version_id"] for row in found}
    assert versions == {"P-0": "a", "P-2": "a", "P-4": "a", "P-1": "b", "P-3": "b"}
    assert all(row["key"] == row["prediction_id"] for row in found)
    assert [row["key_hash"] for row in found] == hash_keys([row["key"] for row in found]).view(
        np.int64
    ).tolist()


def test_what_a_split_request_says_of_its_rows_goes_with_them(served: Make) -> None:
    """Breaks when a row gets the key, group or time of another of its request."""
    entry = served("P", n_rows=5, split=("a", "b"))
    names = [f"k{row}" for row in range(5)]
    groups = [f"g{row % 2}" for row in range(5)]
    facts = RowFacts(names, groups, names, [10, 11, 12, 13, 14])
    found = rows_of(served("O"), entry._replace(facts=facts), served("Q"))
    own = {row["renewal_key"]: row for row in found}
    assert len(found) == 7
    group_hash = dict(zip(names, hash_keys(groups).view(np.int64).tolist(), strict=True))
    for at, name in enumerate(names):
        assert own[name]["renewal_event_at"].timestamp() * 1e6 == 10 + at
        assert own[name]["renewal_group_hash"] == group_hash[name]
        assert own[name]["renewal_sticky"] is None
    assert own["O-0"]["renewal_group_hash"] == own["O-0"]["renewal_key_hash"]


def test_a_header_routes_the_whole_request_and_nobody_elses(served: Make) -> None:
    entries = [served("A"), served("B", n_rows=2)._replace(sticky="user 7", facts=None)]
    sticky = {row["renewal_key"]: row["renewal_sticky"] for row in rows_of(*entries)}
    assert sticky == {"A-0": None, "B-0": "user 7", "B-1": "user 7"}


def test_a_shadow_and_a_refused_request_bring_no_rows(served: Make) -> None:
    shadow = served("A", is_shadow=True)
    refused = served("B", has_failed=True)._replace(is_refused=True)
    failed = served("C", has_failed=True)
    found = predictions_of(shadow, refused, failed)
    assert [(row["shadow"], row["failed"], row["scores"] is None) for row in found] == [
        (True, False, False),
        (False, True, True),
        (False, True, True),
    ]
    assert [row["renewal_key"] for row in rows_of(shadow, refused, failed)] == ["C-0"]
    (none,) = gathered(shadow)
    assert tables_of(SPEC, none)[0].schema == SYSTEM_SCHEMA


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.booleans()), max_size=12),
    st.sampled_from([SPEC, ModelSpec("flights", "binary", "late")]),
)
def test_together_is_what_each_is_alone(
    served: Make, requests: list[tuple[int, bool, bool]], spec: ModelSpec
) -> None:
    """Breaks when what is gathered shifts between requests; matrices, tables, facts and none."""
    (one,) = served("P").parts
    signature = Signature((Field("x", "float"), Field("y", "float")))
    random = np.random.default_rng(len(requests))
    entries = []
    for at, (size, is_matrix, brings) in enumerate(requests):
        values = random.normal(size=(size, 2))
        values[0, 1] = np.nan
        table = pa.table({"x": values[:, 0], "y": pa.array(values[:, 1], from_pandas=True)})
        features = (
            Features(signature, matrix=values) if is_matrix else Features(signature, table=table)
        )
        names = [f"k{at}-{row}" for row in range(size)]
        facts = RowFacts(names, names, ["s"] * size, [at] * size) if brings else None
        scores = random.uniform(size=(size, 2))
        part = one._replace(rows=np.arange(size), scores=scores)
        plain = served(f"P{at}")._replace(features=features, facts=facts, parts=(part,))
        entries.append(plain._replace(predicted_us=7 + at))
        if not brings and spec is not SPEC:
            alone = rows_of(entries[-1], spec=spec)
            assert [row["renewal_key"] for row in alone] == row_keys(table)
    assert len(gathered(*entries)) == len({is_matrix for _, is_matrix, _ in requests})
    for made in (predictions_of, rows_of):
        together = made(*entries, spec=spec)
        alone = [row for entry in entries for row in made(entry, spec=spec)]
        for row in (*together, *alone):
            row.pop("renewal_order", None)
            # Null and the key mean the same.
            row["renewal_sticky"] = row.get("renewal_sticky") or row.get("renewal_key")
        assert sorted(together, key=repr) == sorted(alone, key=repr)


def test_a_request_larger_than_the_room_fits_alone(served: Make) -> None:
    entry = served("P", n_rows=ROOM + 5)
    assert len(predictions_of(entry)) == ROOM + 5
    (full,) = gathered(entry)
    assert not full.has_room(1)
