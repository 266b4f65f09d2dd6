"""Options as text: types come from the fields, and what is written is read back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.core.option_text import parse_options, plain_options, show_options


@dataclass(frozen=True)
class Options:
    """One option of every type."""

    window: timedelta | None = None
    gap: timedelta = timedelta(days=1)
    rows: int = 10
    share: float = 0.5
    deep: bool = False
    kind: str = "plain"
    mode: Literal["fast", "Exact"] = "fast"
    cap: Optional[int] = 5  # noqa: UP045  # authors write it so
    made: str = field(default_factory=lambda: "x")


def test_types_come_from_the_fields() -> None:
    text = "window=8w, gap=90m,rows=7,share=.25,deep=yes,kind=odd,mode=exact,cap=none"
    assert parse_options(Options, text, who="t") == Options(
        window=timedelta(weeks=8),
        gap=timedelta(minutes=90),
        rows=7,
        share=0.25,
        deep=True,
        kind="odd",
        mode="Exact",
        cap=None,
    )


def test_nothing_means_the_defaults() -> None:
    assert parse_options(Options, "", who="t") == Options()
    assert show_options(Options()) == ""


@pytest.mark.parametrize(
    ("text", "came", "todo"),
    [
        ("windw=8w", "'windw'", "'window'"),
        ("zzz=1", "'zzz'", "Leave it out"),
        ("rows=ten", "'ten'", "Fix the value"),
        ("rows=1.5", "'1.5'", "Fix the value"),
        ("rows=none", "'none'", "Fix the value"),
        ("share=much", "'much'", "Fix the value"),
        ("deep=perhaps", "'perhaps'", "Choose one"),
        ("mode=slow", "'slow'", "Choose one"),
        ("window=8 weeks", "'8 weeks'", "units"),
        ("rows", "'rows'", "window=none"),
        ("rows=1,rows=2", "'rows=2'", "window=none"),
    ],
)
def test_a_wrong_option_is_named(text: str, came: str, todo: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_options(Options, text, who="The recipe 'x'")
    assert came in caught.value.came
    assert todo in caught.value.todo
    assert caught.value.who.startswith("The recipe 'x'")


def test_a_type_that_no_text_can_hold_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        weights: tuple[float, ...] = ()

    with pytest.raises(Invalid, match="plain type"):
        parse_options(Odd, "weights=1", who="t")


def test_text_that_could_not_be_read_back_is_refused() -> None:
    with pytest.raises(Invalid, match="read back"):
        show_options(Options(kind="a,b"))


def test_json_holds_every_option() -> None:
    plain = plain_options(Options(window=timedelta(weeks=8)))
    assert plain["window"] == "8w"
    assert plain["gap"] == "1d"
    assert set(plain) == set(Options.__dataclass_fields__)


durations = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000))


@given(
    st.builds(
        Options,
        window=st.none() | durations,
        gap=durations,
        rows=st.integers(),
        share=st.floats(allow_nan=False),
        deep=st.booleans(),
        kind=st.from_regex(r"[a-z0-9_.+-]+", fullmatch=True),
        mode=st.sampled_from(["fast", "Exact"]),
        cap=st.none() | st.integers(),
    )
)
def test_round_trip(options: Options) -> None:
    """Breaks on durations below a millisecond, on exponents, on booleans written as True."""
    again = parse_options(Options, show_options(options), who="t")
    assert again == options
    assert math.copysign(1, again.share) == math.copysign(1, options.share) or options.share == 0
