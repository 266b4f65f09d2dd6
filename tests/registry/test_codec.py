"""Records come back as what they were, from JSON that any database and reader takes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.core.plan import Arm, Plan
from renewal.core.spec import Field, ModelSpec, Signature
from renewal.core.verdict import Verdict
from renewal.core.version import Manifest, Snapshot
from renewal.registry.codec import canonical, from_plain, manifest_digest, manifest_plain, to_plain

NAIVE = datetime(1900, 1, 1)  # noqa: DTZ001  # it is what must be refused
NOW = datetime(2013, 6, 1, 12, 30, 0, 123456, tzinfo=UTC)


def through_json(value: Any) -> Any:
    """Write and read as a strict JSON column does: NaN and Infinity are refused."""
    return json.loads(json.dumps(to_plain(value), allow_nan=False))


def rich_manifest(manifest: Manifest) -> Manifest:
    return replace(
        manifest,
        classes=("late", 1, 1.0, True),
        options={"window": timedelta(weeks=8), "nested": {"$us": 5, "rate": math.inf}, "n": None},
        parent="cd" * 32,
        trained_keys="ef" * 32,
        trained_until=NOW,
        snapshot=Snapshot("flights", 3, -1, 2, NOW),
        environment={"python": "3.11.2"},
    )


@pytest.mark.parametrize("block", [None, "day", "1d", timedelta(days=1)])
def test_a_specification_comes_back(block: timedelta | str | None) -> None:
    """Breaks when a block of one day and a column named "1d" are written alike."""
    spec = ModelSpec("m", "binary", "y", block=block, label_delay=timedelta(hours=3))
    again = from_plain(ModelSpec, through_json(spec))
    assert again == spec
    assert type(again.block) is type(block)


def test_a_manifest_comes_back_with_its_types(manifest: Manifest) -> None:
    """Breaks when classes 1, 1.0 and True, or a duration in the options, are mixed up."""
    rich = rich_manifest(manifest)
    again = from_plain(Manifest, through_json(rich))
    assert again == rich
    assert [type(each) for each in again.classes] == [str, int, float, bool]
    assert isinstance(again.signature.fields[0], Field)


def test_a_verdict_that_can_say_nothing_comes_back(judged: Callable[..., Verdict]) -> None:
    verdict = replace(judged("a", "b"), gain=math.nan, lower=-math.inf, upper=math.inf)
    again = from_plain(Verdict, through_json(verdict))
    assert math.isnan(again.gain)
    assert (again.lower, again.upper) == (-math.inf, math.inf)
    assert replace(again, gain=0.0) == replace(verdict, gain=0.0)


def test_a_plan_comes_back() -> None:
    plan = Plan("m", "canary", (Arm("champion", "a", 0.9), Arm("candidate", "b", 0.1)), ("b",))
    assert from_plain(Plan, through_json(plan)) == plan


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.timedeltas(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def equal(one: Any, other: Any) -> bool:
    """Compare with NaN equal to NaN, and with types."""
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    if isinstance(one, list):
        pairs = zip(one, other, strict=True)
        return isinstance(other, list) and all(equal(a, b) for a, b in pairs)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


@given(value=st.dictionaries(st.text(), JSON))
@settings(max_examples=50)
def test_any_options_come_back(value: dict[str, Any]) -> None:
    """Breaks on a key that looks like a tag, on NaN, on -0.0, on any text."""
    assert equal(from_plain(dict[str, Any], through_json(value)), value)


@given(
    at=st.datetimes(min_value=NAIVE, timezones=st.timezones()),
    length=st.timedeltas(),
)
def test_instants_and_durations_are_exact(at: datetime, length: timedelta) -> None:
    again, long = from_plain(tuple[datetime, timedelta], through_json((at, length)))
    assert again == at.astimezone(UTC)
    assert again.utcoffset() == timedelta(0)
    assert long == length


def test_numpy_values_become_plain_ones() -> None:
    """Breaks when classes taken from an estimator cannot be stored."""
    values = (np.int64(3), np.float64(2.5), np.str_("a"), np.bool_(True), np.arange(2))
    plain = to_plain(values)
    assert plain == [3, 2.5, "a", True, [0, 1]]
    assert [type(each) for each in plain] == [int, float, str, bool, list]


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"a": object()}, r"value\['a'\]"),
        ([{1, 2}], r"value\[0\]"),
        ({1: 2}, "the key 1"),
        (b"bytes", "bytes"),
        (NAIVE, "time zone"),
    ],
)
def test_what_has_no_json_form_is_refused_and_located(value: Any, where: str) -> None:
    with pytest.raises(Invalid, match=where):
        to_plain(value)


@dataclass(frozen=True, slots=True)
class Grown:
    """A record that has got a field since."""

    kind: Literal["a", "b"]
    numbers: tuple[int, ...] = ()
    pair: tuple[str, float] | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"kind": "c"},
        {"kind": "a", "colour": "red"},
        {"kind": "a", "numbers": [1, "2"]},
        {"kind": "a", "numbers": [True]},
        {"kind": "a", "numbers": [1.0]},
        {"kind": "a", "numbers": "12"},
        {"kind": "a", "pair": ["x"]},
        {"kind": "a", "pair": ["x", "y"]},
        {"kind": "a", "facts": {"x": "y"}},
        {"kind": "a", "names": {"x": 1}},
        ["a"],
        None,
    ],
)
def test_what_does_not_fit_is_refused(plain: Any) -> None:
    """Breaks when a wrong or a newer record is read as if it fitted."""
    with pytest.raises(Invalid, match="Grown"):
        from_plain(Grown, plain)


def test_a_missing_field_takes_its_default() -> None:
    """Breaks when a record that was written before a field existed cannot be read."""
    assert from_plain(Grown, {"kind": "a"}) == Grown("a")
    full = Grown("b", (1, 2), ("x", 1.0), {"x": 2.0}, ["n"])
    assert from_plain(Grown, through_json(full)) == full


def test_an_id_is_its_content_and_nothing_else(manifest: Manifest) -> None:
    rich = rich_manifest(manifest)
    again = from_plain(Manifest, through_json(rich))
    assert manifest_digest(again) == manifest_digest(rich)
    changed = (
        replace(rich, seed=1),
        replace(rich, classes=("late", 1, 1.0, False)),
        replace(rich, options={**rich.options, "n": 0}),
        replace(rich, signature=Signature(rich.signature.fields[::-1])),
        replace(rich, trained_until=NOW + timedelta(microseconds=1)),
    )
    assert len({manifest_digest(each) for each in (rich, *changed)}) == 1 + len(changed)


def test_the_order_of_options_is_no_identity(manifest: Manifest) -> None:
    one = replace(manifest, options={"a": 1, "b": 2})
    other = replace(manifest, options={"b": 2, "a": 1})
    assert manifest_digest(one) == manifest_digest(other)


def test_the_zone_in_which_an_instant_was_written_is_no_identity(manifest: Manifest) -> None:
    east = NOW.astimezone(timezone(timedelta(hours=5)))
    one, other = replace(manifest, trained_until=NOW), replace(manifest, trained_until=east)
    assert manifest_digest(one) == manifest_digest(other)


def test_the_id_of_a_manifest_never_changes(manifest: Manifest) -> None:
    """Breaks when the canonical form changes: every version of every home loses its name."""
    assert canonical(to_plain(rich_manifest(manifest))).startswith(b'{"adapter":"sklearn",')
    assert manifest_digest(rich_manifest(manifest)) == (
        "15b0f1ba0109d3401dff8bf8a4c9ad1e528dfe2adb0ef15c2604bbb8b20e83b5"
    )


def test_what_manifests_got_later_changes_no_id(manifest: Manifest) -> None:
    """Breaks when a field's new member is written while it is empty; only a tensor has one."""
    assert "parts" not in manifest_plain(manifest)
    assert all("shape" not in field for field in manifest_plain(manifest)["signature"]["fields"])
    tensor = replace(manifest, signature=Signature((Field("a", "tensor", shape=(3, 2)),)))
    turned = replace(manifest, signature=Signature((Field("a", "tensor", shape=(2, 3)),)))
    assert manifest_digest(tensor) != manifest_digest(turned)
    for each in (manifest, tensor):
        assert from_plain(Manifest, through_json(manifest_plain(each))) == each
