"""Which release is newer."""

from __future__ import annotations

import pytest

from renewal.models.release import is_newer


@pytest.mark.parametrize(
    ("wrote", "installed", "newer"),
    [
        ("1.10.0", "1.9.1", True),
        ("2.0", "1.99", True),
        ("1.9.9", "1.9.1", False),
        ("1.9rc1", "1.9.0", False),
        ("0.24.2", "1.0", False),
        ("2", "1.9", True),
        ("unknown", "1.9", False),
    ],
)
def test_major_and_minor_decide(wrote: str, installed: str, newer: bool) -> None:  # noqa: FBT001  # a column of the table
    """Broken by comparing as text ("1.10" < "1.9"), or by refusing a patch release."""
    assert is_newer(wrote, installed) is newer
