"""A tiny form of the benchmark of policies: a made-up world that turns back and forth.

Breaks when a policy is served rows that it was fitted on, when the race no longer follows the
world, or when a fit of the race is not on its bill.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none

from bench.update import policies
from bench.update.living import Errors, Fits, Race
from bench.update.worlds import last_label, turning


def test_it_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    world = turning(n_blocks=12)
    lived = policies.measured(world, 0, max_iter=8)
    by_name = {each.name: each for each in lived}
    never, window, race = (by_name[name] for name in ("never", "window", "race"))
    assert window.accuracy > never.accuracy + 0.05
    assert race.accuracy > never.accuracy + 0.05
    assert (never.n_swaps, never.bill.n_fits) == (0, 1)
    assert by_name["every"].bill.n_fits == 13
    assert window.n_flips > 0
    policies.show(world, lived)
    policies.tell(world, [lived])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FIGURE")]
    found = {line.split()[1]: line.split()[2:] for line in lines}
    assert all(len(each) == 3 for each in found.values())
    assert "update.turning.race_minus_best" in found


def test_no_row_is_served_by_who_has_seen_it() -> None:
    """Labels come a day late: neither a fit nor a choice may reach into that day."""
    world = turning(n_blocks=6)
    fits = Fits(world, HistGradientBoostingClassifier(max_iter=4), 0)
    race = Race(fits, [world.recipe, "retrain"], straight=True, task=Errors())
    champion = fits.first
    for start_us, block in world.blocks():
        with threadpool_limits(1):  # few rows: threads would only wait for each other
            champion = race.next(champion, start_us)
        known = world.known(start_us)
        assert champion.until_us <= start_us
        assert int(known.label_arrived_us.max()) <= start_us
        assert champion.parent.keyset is not None
        assert not champion.parent.keyset.seen(block).any()
        assert np.isin(champion.parent.keyset.keys, known.key_hash).all()
    assert len(race.past) == 6


def test_the_last_label_is_one_that_is_known() -> None:
    world = turning(n_blocks=3)
    right = last_label(world)
    assert len(right) == 600
    label = world.rows.label
    assert label is not None
    assert right[0] == (label[400] == label[400 - 24])
