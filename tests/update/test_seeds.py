"""One seed, many steps."""

from __future__ import annotations

from renewal.update.seeds import divided_seed


def test_every_step_and_every_seed_has_its_own() -> None:
    """Breaks when folds and proposals share their chance, or a seed overflows 32 bits."""
    found = [divided_seed(seed, what) for seed in range(50) for what in ("folds", "study")]
    assert len(set(found)) == 100
    assert all(0 <= each < 2**31 for each in found)
    assert divided_seed(2**64, "folds") == divided_seed(2**64, "folds")
