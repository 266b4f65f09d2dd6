"""Rhythms of updating in a small world that turns back and forth.

Breaks when a rhythm fits more or less often than it says, or when it sees a block before it is
served.
"""

from __future__ import annotations

from bench.update.how_often import rhythms
from bench.update.worlds import turning


def test_each_rhythm_fits_as_often_as_it_says() -> None:
    world = turning(n_blocks=8)
    found = {each.name: each for each in rhythms(world, steps=(1, 4))}
    fits = {name: each.bill.n_fits for name, each in found.items()}
    # The first fit, and one before each block but the first that the rhythm names.
    assert fits == {
        "never": 1,
        f"{world.recipe}, every 4": 2,
        f"{world.recipe}, every 1": 8,
        "retrain, every 4": 2,
        "retrain, every 1": 8,
    }
    assert found["never"].n_flips == 0
    # The world turns, so a window that follows it closely is right more often.
    assert found[f"{world.recipe}, every 1"].accuracy > found["never"].accuracy
    assert all(each.accuracy < 0.97 for each in found.values())
