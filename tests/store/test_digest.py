"""A digest names bytes for ever: the function and its form are part of the format."""

from __future__ import annotations

import pytest

from renewal.store.digest import digest, is_digest


def test_digest_is_the_published_blake3_vector() -> None:
    """Breaks when another hash, another length or a keyed mode is used: every id changes."""
    data = bytes(i % 251 for i in range(1024))
    assert digest(data) == "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"


def test_digest_takes_any_bytes_like() -> None:
    data = b"weights"
    assert digest(data) == digest(bytearray(data)) == digest(memoryview(data))


@pytest.mark.parametrize(
    "text", ["", "af", "AF" * 32, "g" * 64, "../" + "a" * 61, "af" * 32 + "\n", "\u0660" * 64]
)
def test_what_is_no_digest_is_told_apart(text: str) -> None:
    """Breaks when a path could be smuggled into the store as a digest."""
    assert not is_digest(text)
