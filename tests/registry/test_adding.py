"""Ids of verdicts sort in the order of storing, whatever the clocks say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from renewal.core.ids import new_id
from renewal.registry.adding import id_after

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@given(tail=st.text(DIGITS, min_size=25, max_size=25))
def test_an_id_sorts_after_the_newest_even_of_the_far_future(tail: str) -> None:
    """Breaks when a machine whose clock is behind stores a verdict before older ones."""
    newest = "6" + tail
    after = id_after(newest)
    assert after > newest
    assert len(after) == 26
    assert set(after) <= set(DIGITS)


def test_an_id_is_of_this_moment_where_it_can_be() -> None:
    before, made = new_id(), id_after(None)
    assert made[:8] >= before[:8]
    assert id_after(before) > before
