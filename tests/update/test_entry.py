"""Entries: who wins, and what the journal keeps."""

from __future__ import annotations

import msgspec
import pytest

from renewal.update.entry import Entry, pick


def test_the_smallest_loss_wins_and_equals_go_to_the_first() -> None:
    entries = [
        Entry("keep", "made", "", 0.50),
        Entry("recalibrate", "made", "", 0.45),
        Entry("incremental", "not_possible", "no partial_fit"),
        Entry("retrain", "made", "", 0.45, 1.0),
        Entry("broken", "failed", "", 0.1),
        Entry("endless", "made", "", float("nan")),
    ]
    best = pick(entries)
    assert best is not None
    assert best.recipe == "recalibrate"


@pytest.mark.parametrize("losses", [(0.5, 0.5), (0.5, 0.6), (0.5, None), (None, None)])
def test_no_candidate_is_better_than_a_worse_one(losses: tuple[float | None, ...]) -> None:
    """Breaks when a candidate no better than the champion is sent to the gate."""
    names = ("keep", "retrain")
    entries = [Entry(name, "made", "", loss) for name, loss in zip(names, losses, strict=True)]
    assert pick(entries) is None


def test_an_entry_survives_the_journal() -> None:
    for entry in (
        Entry("retrain(window=8w)", "made", "5 rows", 0.25, 1.5),
        Entry("x", "skipped", "y"),
    ):
        assert msgspec.convert(msgspec.to_builtins(entry), Entry) == entry
