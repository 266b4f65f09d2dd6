"""The line before the library's own format."""

from __future__ import annotations

import pytest

from renewal.core.errors import Invalid
from renewal.models.boosters_bytes import from_bytes, to_bytes

DATA = to_bytes({"classes": ["a", "b"], "columns": None}, b"trees\nand more\x00")


def test_what_went_in_comes_out() -> None:
    assert from_bytes(DATA, who="a test") == (
        {"classes": ["a", "b"], "columns": None},
        b"trees\nand more\x00",
    )


def test_a_flipped_bit_anywhere_is_noticed() -> None:
    """Breaks when damaged bytes reach the library, which may crash the process on them."""
    for at in range(len(DATA)):
        damaged = DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :]
        with pytest.raises(Invalid):
            from_bytes(damaged, who="a test")


def test_a_missing_end_is_noticed() -> None:
    for end in range(len(DATA)):
        with pytest.raises(Invalid):
            from_bytes(DATA[:end], who="a test")
