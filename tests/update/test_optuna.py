"""The tuner: what it finds, what it drops, and that a kill loses nothing."""

from __future__ import annotations

import json
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from renewal.core.plugin import load_plugin
from renewal.core.progress import hearing
from renewal.models.space import Dimension
from renewal.update.optuna import tune
from renewal.update.tuning import Plan, Try

SPACE = {
    "x": Dimension(-3.0, 3.0),
    "n": Dimension(1, 64, log=True),
    "kind": Dimension(choices=("plain", None, ["a", "b"])),
}
PLAN = Plan(
    "a study", SPACE, trials=18, seed=1, shares=(1 / 9, 1 / 3, 1.0), current={"x": 3.0, "n": 1}
)


def loss_of(params: Any, share: float) -> float:
    """Return how far off some parameters are; fewer rows make it look worse."""
    x, n = params.get("x", 3.0), params.get("n", 1)
    return float((x - 1) ** 2 + (n - 8) ** 2 / 64 + (params.get("kind") is not None) + 1 - share)


def evaluate(tries: Sequence[Try]) -> list[float | str]:
    return [loss_of(params, share) for params, share in tries]


def always(_share: float) -> bool:
    return True


def test_it_is_registered() -> None:
    assert load_plugin("tuners", "optuna") is tune


def test_it_finds_what_loses_less() -> None:
    """Breaks when the best is read off a share of the rows, or its values come back as places."""
    found = tune(replace(PLAN, trials=40), evaluate, always)
    assert found.loss is not None
    assert found.loss_as_it_is == loss_of({}, 1.0)
    assert found.loss < 1.0 < found.loss_as_it_is
    assert found.loss == pytest.approx(loss_of(found.best, 1.0))
    assert isinstance(found.best["n"], int)
    assert found.best["kind"] is None
    assert (found.n_trials, found.n_failed, found.is_cut_short) == (40, 0, False)


def test_hopeless_ones_are_dropped_early() -> None:
    """Breaks when every trial is fitted on all rows: that is what the shares are for."""
    asked: list[float] = []

    def counting(tries: Sequence[Try]) -> list[float | str]:
        asked.extend(share for _, share in tries)
        return evaluate(tries)

    found = tune(PLAN, counting, always)
    assert found.n_pruned > 9
    whole = asked.count(1.0) - 1  # the recipe as it is
    assert whole == 18 - found.n_pruned
    assert asked.count(1 / 9) == 18


def test_the_recipe_as_it_is_stays_where_nothing_is_better() -> None:
    """Breaks when a study that found nothing changes the recipe all the same."""
    found = tune(PLAN, lambda tries: [1.0 if params else 0.5 for params, _ in tries], always)
    assert (found.best, found.loss) == ({}, 0.5)


def test_the_last_studys_best_goes_first() -> None:
    """Breaks when every study begins from nothing."""
    tried: list[Any] = []

    def keeping(tries: Sequence[Try]) -> list[float | str]:
        tried.extend(params for params, _ in tries)
        return evaluate(tries)

    first = {"x": 1.25, "n": 9, "kind": ["a", "b"], "gone": 4}
    tune(replace(PLAN, trials=1, first=first), keeping, always)
    assert tried[:2] == [{}, {"x": 1.25, "n": 9, "kind": ["a", "b"]}]


def test_what_lies_outside_the_space_is_proposed_anew() -> None:
    """Breaks when a narrower space is answered with Optuna's own warning."""
    tried: list[Any] = []

    def keeping(tries: Sequence[Try]) -> list[float | str]:
        tried.extend(params for params, _ in tries)
        return evaluate(tries)

    first = {"x": 99.0, "n": 9, "kind": "gone"}
    tune(replace(PLAN, trials=1, first=first), keeping, always)
    assert tried[1]["n"] == 9
    assert -3.0 <= tried[1]["x"] <= 3.0


def test_failures_are_counted_and_do_not_win() -> None:
    """Breaks when a trial that raised, or has a loss of NaN, ends the study or wins it."""

    def breaking(tries: Sequence[Try]) -> list[float | str]:
        return [
            "ValueError: no"
            if params.get("x", -1) > 0.5
            else float("nan")
            if params.get("x", -1) > 0
            else loss_of(params, share)
            for params, share in tries
        ]

    found = tune(PLAN, breaking, always)
    assert found.n_failed > 0
    assert found.best["x"] <= 0
    assert found.why_failed in {"ValueError: no", "nan"}
    assert found.n_trials == 18


def test_time_that_is_up_ends_it_with_the_best_so_far() -> None:
    """Breaks when a budget is a wish."""
    left = iter([True] * 12)

    def allows(_share: float) -> bool:
        return next(left, False)

    found = tune(PLAN, evaluate, allows)
    assert found.is_cut_short
    assert 0 < found.n_trials < 18
    none = tune(PLAN, evaluate, lambda _share: False)
    assert (none.best, none.loss, none.n_trials) == ({}, None, 0)


def test_several_abreast_are_told_in_order() -> None:
    """Breaks when which of two ends first decides what is proposed next."""
    sizes: list[int] = []

    def counting(tries: Sequence[Try]) -> list[float | str]:
        sizes.append(len(tries))
        return evaluate(tries)

    plan = replace(PLAN, n_slots=4)
    one, other = (tune(plan, each, always) for each in (counting, evaluate))
    assert one == other
    assert max(sizes) == 4
    assert one.n_trials == 18


@pytest.mark.parametrize("n_slots", [2, 3, 4, 16])
def test_other_numbers_of_cores_find_the_same(n_slots: int) -> None:
    """Breaks when the same seed makes another candidate on another machine."""
    tried: dict[int, list[str]] = {}

    def keeping(tries: Sequence[Try]) -> list[float | str]:
        tried[n].extend(map(repr, tries))
        return evaluate(tries)

    found = []
    for n in (1, n_slots):
        tried[n] = []
        found.append(tune(replace(PLAN, n_slots=n), keeping, always))
    assert tried[1] == tried[n_slots]
    assert found[0] == found[1]


def test_time_that_is_up_among_some_abreast_counts_those_that_were_fitted() -> None:
    """Breaks when one slot is asked once for all that were proposed, and takes four times."""
    for n_fits in range(1, 9):
        n_called = 0

        def counting(tries: Sequence[Try]) -> list[float | str]:
            nonlocal n_called
            n_called += len(tries)
            return evaluate(tries)

        def allows(_share: float, n_fits: int = n_fits) -> bool:
            return n_called < n_fits  # noqa: B023  # asked in this turn alone

        found = tune(replace(PLAN, shares=(1.0,)), counting, allows)
        assert n_called == n_fits
        assert (found.n_trials, found.n_failed) == (n_fits - 1, 0)
        assert found.is_cut_short


def test_people_hear_how_far_it_is() -> None:
    heard: list[float | None] = []
    with hearing(lambda said: heard.append(said.share)):
        tune(PLAN, evaluate, always)
    assert heard[0] == 0.0
    assert heard[-1] == 1.0


class Killed(BaseException):
    """Stands for the end of the process: nothing of the study runs after it."""


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 13, 20, 24])
@pytest.mark.parametrize(("abreast", "n_slots"), [(1, 1), (4, 1), (4, 3)])
def test_a_study_goes_on_where_it_was(at: int, abreast: int, n_slots: int, tmp_path: Path) -> None:
    """Breaks when a kill loses a trial, counts one twice, or changes what is proposed next."""
    plan = replace(PLAN, abreast=abreast, n_slots=n_slots, first={"x": 0.5})
    plan = replace(plan, journal=tmp_path / "study.log")
    at = max(at // n_slots, 1)
    whole = tune(replace(plan, journal=None), evaluate, always)
    n_calls = 0

    def killing(tries: Sequence[Try]) -> list[float | str]:
        nonlocal n_calls
        n_calls += 1
        if n_calls == at:
            raise Killed
        return evaluate(tries)

    with pytest.raises(Killed):
        tune(plan, killing, always)
    assert asdict(tune(plan, evaluate, always)) == asdict(whole)


def test_a_real_kill_loses_nothing(tmp_path: Path) -> None:
    """Breaks when the journal is written late, or a dead process holds its lock."""
    script = Path(__file__).with_name("killed_study.py")
    journal = tmp_path / "study.log"
    done = subprocess.run([sys.executable, str(script), str(journal), "9"], check=False)
    assert done.returncode == -signal.SIGKILL
    child = runpy.run_path(str(script))
    plan = child["PLAN"]
    found = tune(replace(plan, journal=journal), child["evaluate"], always)
    assert found == tune(plan, child["evaluate"], always)


def test_a_finished_study_costs_nothing_again(tmp_path: Path) -> None:
    """Breaks when a step that is done again fits again."""
    plan = replace(PLAN, journal=tmp_path / "study.log")
    first = tune(plan, evaluate, always)
    again = tune(plan, _never, always)
    assert json.dumps(asdict(again)) == json.dumps(asdict(first))


def _never(tries: Sequence[Try]) -> list[float | str]:
    raise AssertionError(tries)
