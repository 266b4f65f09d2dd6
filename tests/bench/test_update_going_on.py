"""Going on beside beginning anew, in a small world that turns back and forth.

Breaks when a way is measured that is another one, when a block is served by a model that has
seen it, or when what grows is not counted.
"""

from __future__ import annotations

from lightgbm import LGBMClassifier

from bench.update.going_on import UNCAPPED, lines
from bench.update.worlds import last_label, turning


def test_ways_of_one_model() -> None:
    world = turning(n_blocks=6)
    estimator = LGBMClassifier(n_estimators=10, n_jobs=1, verbosity=-1)
    ways = (
        "retrain",
        f"incremental:way=boost,rounds=5,{UNCAPPED}",
        f"incremental:way=leaves,{UNCAPPED}",
    )
    found = {each.way: each for each in lines(world, "LightGBM", estimator, ways)}
    assert list(found) == [
        "never",
        "retrain",
        "incremental:way=boost,rounds=5",
        "incremental:way=leaves",
    ]
    sizes = {way: each.size for way, each in found.items()}
    assert sizes["never"] == sizes["retrain"] == sizes["incremental:way=leaves"] == 10
    grown = sizes["incremental:way=boost,rounds=5"]
    assert grown is not None
    assert grown == 10 + 5 * 5  # five blocks have new rows before them
    # After the world has turned whoever was left alone is wrong, and leaves turn with it.
    never, leaves = found["never"].lived, found["incremental:way=leaves"].lived
    assert never.accuracy < 0.8
    assert never.n_swaps == 0 < leaves.n_swaps
    # Nobody knows a row before its block is served: the turn itself costs everyone.
    assert all(each.lived.accuracy < 0.97 for each in found.values())
    assert 0.0 < last_label(world).mean() < 0.7
