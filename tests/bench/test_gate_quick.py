"""Tiny forms of the gate's simulations: every step the real one, a few paths each.

Breaks when a part no longer runs, when a figure's line cannot be split, when the arrays of
`bench.gate.candidates` are no longer what the gate itself decides, or when the naive rules
would no longer be fooled (then the benchmark shows nothing).
"""

from __future__ import annotations

import numpy as np
import pytest

from bench.gate import nulls, power
from bench.gate.candidates import decided, effective, judge_one, log_t_e, see
from renewal.gate.options import GateOptions
from renewal.stats.anytime import log_t_e_values
from renewal.stats.paired import PRIOR_BLOCKS_LOOKING, effective_n


def figures(printed: str) -> dict[str, tuple[str, str, str]]:
    """Return what the figures' lines say, by name."""
    found = {}
    for line in printed.splitlines():
        if line.startswith("FIGURE"):
            _word, name, value, target, word = line.split()
            found[name] = (value, target, word)
    return found


def test_nulls_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """40 paths a row; the gate errs so seldom that not one of them is promoted."""
    nulls.run(quick=True, size=nulls.Size(n_paths=40, n_lives=3, n_updates=30, n_checked=6))
    found = figures(capsys.readouterr().out)
    for n in nulls.N_LOOKS:
        assert found[f"nulls.promoted_level_alpha_{n}_looks"][1:] == ("<=0.05", "ok")
    assert found["nulls.promoted_32_candidates"][1:] == ("<=0.05", "ok")
    # 80.6% on average; 4 standard errors of 40 lives are 25 points.
    assert float(found["nulls.naive_32_candidates"][0]) > 0.55
    assert found["nulls.judged_alike_by_the_gate"] == ("6of6", "6of6", "ok")
    assert sum(name.startswith("nulls.accepted_") for name in found) == 20


def test_power_prints_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    power.run(quick=True, n_runs=5)
    found = figures(capsys.readouterr().out)
    assert sum(name.endswith(("_as_planned", "_4_times")) for name in found) == 4 * 4 * 2
    value, target, word = found["power.gate_decides_there"]
    assert value == target
    assert word == "ok"


def test_the_arrays_are_the_formulas_of_the_library() -> None:
    """Three paths of 14 to 54 blocks, seed 0, to nine digits."""
    paths = np.random.default_rng(0).normal(0.5, 1.0, size=(3, 54))
    for n in (14, 20, 33, 54):
        ours = effective(paths[:, :n])
        assert ours == pytest.approx(
            [effective_n(path[:n], prior_blocks=PRIOR_BLOCKS_LOOKING) for path in paths], rel=1e-9
        )
        r = paths[:, :n].sum(axis=1) / np.sqrt((paths[:, :n] ** 2).sum(axis=1))
        theirs = [log_t_e_values(path[:n])[-1] for path in paths]
        assert log_t_e(r, n) == pytest.approx(theirs, rel=1e-9)


def test_the_gate_rejects_where_the_arrays_do() -> None:
    """12 paths from surely worse to surely better, seed 1: all three outcomes, or two."""
    gains = np.random.default_rng(1).normal(size=(12, 40)) + np.linspace(-2, 2, 12)[:, None]
    options = GateOptions()
    outcomes = decided(see(gains, options), 0.01, options).tolist()
    assert outcomes == [judge_one(path, 0.01, options) for path in gains]
    assert {-1, 1} <= set(outcomes)


@pytest.mark.parametrize("by", [power.by_mcnemar, power.by_betting])
def test_rows_without_gain_or_loss_only_pass_the_time(by: object) -> None:
    """The row of decision is counted in all rows, silent ones too."""
    assert callable(by)
    gains = np.zeros(100)
    gains[9::10] = 1.0
    row = by(gains)
    assert row % 10 == 0
    assert 50 <= row <= 100
    assert by(np.zeros(5)) == 0
