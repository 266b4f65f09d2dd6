"""Keys and times of rows, and the split of rows over arms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.core.plan import Arm, Plan
from renewal.serve.routing import read_facts, read_instant, split_by_arm

NOW_US = 1_000


def plan(share: float) -> Plan:
    return Plan("m", "canary", (Arm("champion", "a", 1 - share), Arm("candidate", "b", share)))


def test_rows_without_parameters_get_defaults() -> None:
    facts = read_facts(None, ["P-0", "P-1"], NOW_US)
    assert facts.key == facts.group == facts.sticky == ["P-0", "P-1"]
    assert facts.event_us == [NOW_US, NOW_US]
    assert facts.block is None


def test_group_and_sticky_default_to_the_key() -> None:
    facts = read_facts({"key": ["x", 7]}, ["P-0", "P-1"], NOW_US)
    assert facts.key == facts.group == facts.sticky == ["x", "7"]


def test_a_list_may_be_sent_as_json_text() -> None:
    facts = read_facts({"key": '["x", "y"]', "event_time": "[5, 6]"}, ["0", "1"], NOW_US)
    assert (facts.key, facts.event_us) == (["x", "y"], [5, 6])


def test_text_that_only_looks_like_a_list_is_a_key() -> None:
    assert read_facts({"key": "[not json"}, ["0"], NOW_US).key == ["[not json"]


def test_one_value_holds_for_all_rows_but_never_a_key() -> None:
    facts = read_facts(
        {"sticky": "user", "group": "g", "block": "b", "event_time": "2026-01-01T00:00:00Z"},
        ["0", "1"],
        NOW_US,
    )
    assert (facts.sticky, facts.group, facts.block) == (["user"] * 2, ["g"] * 2, ["b"] * 2)
    assert facts.event_us == [1_767_225_600_000_000] * 2
    with pytest.raises(Invalid, match="2 values"):
        read_facts({"key": "x"}, ["0", "1"], NOW_US)


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": ["x"]},
        {"key": ["x", None]},
        {"key": ["x", ""]},
        {"key": [1.5, "x"]},
        {"key": [True, "x"]},
        {"key": {"a": 1}},
        {"sticky": 1.5},
        {"event_time": [1, "yesterday"]},
        {"event_time": [1, "2026-01-01T00:00:00"]},
        {"event_time": [1, 1.5]},
        {"event_time": [1, 10**30]},
        {"event_time": [1, True]},
        {"event_time": "0001-01-01T00:00:00+23:59"},
    ],
)
def test_wrong_parameters_are_invalid(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        read_facts(wrong, ["0", "1"], NOW_US)


def test_an_instant_keeps_its_zone() -> None:
    there = read_instant("1970-01-01T01:00:00+01:00", who="infer", name="event_time")
    assert there == 0


@given(st.lists(st.text(max_size=5), min_size=1, max_size=50), st.floats(0, 1))
def test_the_split_covers_every_row_once_and_equal_keys_go_together(
    sticky: list[str], share: float
) -> None:
    parts = split_by_arm(plan(share), sticky)
    rows = sorted(row for _, part in parts for row in part.tolist())
    assert rows == list(range(len(sticky)))
    arm_of: dict[str, str] = {}
    for arm, part in parts:
        assert arm.weight > 0
        for row in part.tolist():
            assert arm_of.setdefault(sticky[row], arm.name) == arm.name


def test_shares_are_what_the_plan_says() -> None:
    """20,000 keys at 10%: sd of the share is 0.0021; 5 sd fails equal code once in 1.7 M."""
    parts = {
        arm.name: len(rows)
        for arm, rows in split_by_arm(plan(0.1), [str(i) for i in range(20_000)])
    }
    assert abs(parts["candidate"] / 20_000 - 0.1) < 0.0106


@pytest.mark.parametrize(("share", "name"), [(0.0, "champion"), (1.0, "candidate")])
def test_no_share_and_all_of_it_are_exact(share: float, name: str) -> None:
    parts = split_by_arm(plan(share), [str(i) for i in range(5_000)])
    assert [(arm.name, len(rows)) for arm, rows in parts] == [(name, 5_000)]
