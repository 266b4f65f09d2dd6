"""The small form of `bench.leak`: three seeds, fewer fresh rows, every step the real one.

Breaks when a trained row is judged, when the recipe would no longer be fooled (then the
benchmark shows nothing), or when the gate says what its rows do not show.
"""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships none

from bench import leak
from renewal.data.keyset import KeySet
from renewal.evaluate.unseen import unseen


@pytest.fixture(scope="module")
def judged() -> list[tuple[leak.Judged, leak.Judged]]:
    """Return both ways' findings about the forest on three seeds."""
    found = []
    with threadpool_limits(1):
        for seed in range(3):
            data = leak.world(seed, n_truth=4000)
            found.append(
                (leak.by_resplit("forest", data, seed), leak.by_gate("forest", data, seed))
            )
    return found


def test_two_fifths_of_the_new_test_rows_were_trained_on(
    judged: list[tuple[leak.Judged, leak.Judged]],
) -> None:
    """1,600 of 4,000 rows trained the old model: 40%, standard error 1.7 points."""
    for naive, _ours in judged:
        assert naive.n_judged == 800
        assert naive.n_leaked / naive.n_judged == pytest.approx(0.40, abs=0.07)


def test_the_recipe_calls_the_better_forest_worse(
    judged: list[tuple[leak.Judged, leak.Judged]],
) -> None:
    for naive, _ours in judged:
        assert naive.said < -0.03
        assert naive.true > 0


def test_the_gate_judges_no_trained_row_and_rejects_no_better_model(
    judged: list[tuple[leak.Judged, leak.Judged]],
) -> None:
    for _naive, ours in judged:
        assert ours.verdict is not None
        assert ours.n_leaked == 0
        assert ours.verdict.n_seen == 0  # roles keep them apart; the key sets prove it
        assert ours.verdict.n_blocks == ours.n_judged > 700
        assert ours.true > 0
        assert ours.verdict.outcome != "reject"
        assert ours.verdict.lower < ours.true < ours.verdict.upper


def test_a_planted_training_row_is_set_aside() -> None:
    """The rows of the old fit, handed in for judging, do not come back."""
    data = leak.world(7, n_truth=10)
    trained = data.old.take(np.arange(1000))
    fresh, n_seen = unseen(data.both, [KeySet.of(trained)] * 2, [0, 0])
    assert n_seen == 1000
    assert set(fresh.key).isdisjoint(trained.key)


def test_the_figures_follow_from_the_tally(
    judged: list[tuple[leak.Judged, leak.Judged]], capsys: pytest.CaptureFixture[str]
) -> None:
    naive, ours = zip(*judged, strict=True)
    tallies = tuple(leak.Tally(name, (0.4, 0.6), naive, ours) for name in leak.MODELS)
    leak.show(tallies, 3)
    leak.tell(tallies, 3)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FIGURE")]
    assert all(len(line.split()) == 5 for line in lines)
    assert "FIGURE leak.resplit_calls_better_forest_worse 3 >=2 ok" in lines
    assert "FIGURE leak.gate_rejects_truly_better 0 0 ok" in lines
    assert "FIGURE leak.gate_rows_seen_in_training 0 0 ok" in lines
