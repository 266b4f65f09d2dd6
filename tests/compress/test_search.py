"""The search: it climbs each chain, halves the chains, keeps to its time and reads what was done.

What would break it: a level that is tried twice, a chain that fails and ends the others, a
search that was cut and begins anew, a line that nothing can hold and that is searched all the
same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from renewal.compress.book import MemoryBook
from renewal.compress.chain import Chain, parse_chain
from renewal.compress.goal import Goal
from renewal.compress.runner import Runner
from renewal.compress.search import Found, proxy, search
from renewal.compress.trial import Trial
from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.data.rows import Rows
from renewal.models.task import Task
from renewal.store.local import LocalStore
from renewal.testing.forms import fitted_case, numbers, rows_of

MakeRunner = Callable[..., Runner]
LOOSE = Goal(tau=-0.05, metric="accuracy")


def chains(*texts: str) -> list[Chain]:
    """Return chains."""
    return [parse_chain(each) for each in texts]


def tried(found: Found, name: str = "") -> list[str]:
    """Return what was tried, in order, of a technique."""
    return [each.chain for each in found.trials if name in each.chain]


def test_it_climbs_to_what_a_proof_could_reach(runner_of: MakeRunner, odd: ModuleType) -> None:
    runner, heard = runner_of(), []
    found = search(runner, chains("prune.trees:*"), LOOSE, tell=lambda *it: heard.append(it))
    assert found.trials[0].chain == "nothing"
    assert found.gains[found.trials[0].key] == 0.0
    assert found.margin == 0.05
    assert not found.is_cut
    # Bisected: no level twice, and every trial told once with its gain.
    assert len(set(tried(found))) == len(found.trials) == found.n_evaluated == runner.n_run
    assert odd.RAN["prune.trees"] == len(found.trials) - 1
    assert [each for each, _ in heard] == list(found.trials)
    assert [gain for _, gain in heard] == [found.gains[each.key] for each in found.trials]
    # Larger by a tree at least than what fails: 8 trees are level 0.
    sizes = [each.size.bytes for each in found.trials[1:] if each.size is not None]
    assert min(sizes) < max(sizes)


def test_gains_are_those_of_the_stored_scores(
    runner_of: MakeRunner, validation: Rows, forest: Any
) -> None:
    runner = runner_of()
    found = search(runner, chains("prune.forest:trees=2", "prune.forest:trees=6"), LOOSE)
    labels, classes = validation.label, np.array(forest.form.classes, dtype=object)
    parent = np.mean(classes[runner.scores(found.trials[0]).argmax(1)] == labels)
    for each in found.trials:
        share = np.mean(classes[runner.scores(each).argmax(1)] == labels)
        assert found.gains[each.key] == pytest.approx(share - parent)


def test_a_second_search_runs_nothing_and_finds_the_same(
    runner_of: MakeRunner, odd: ModuleType
) -> None:
    wanted = chains("prune.trees:*", "prune.raising", "distil.trees:*")
    first = search(runner_of(), wanted, LOOSE)
    n_run = sum(odd.RAN.values())
    again = search(runner_of(), wanted, LOOSE)
    assert again.n_evaluated == 0
    assert sum(odd.RAN.values()) == n_run
    assert [each.key for each in again.trials] == [each.key for each in first.trials]
    assert again.gains == first.gains


def test_chains_are_halved_after_one_trial_each_at_little_effort(
    runner_of: MakeRunner, odd: ModuleType
) -> None:
    """Breaks when all chains go on, or when the worse half does."""
    few = [f"distil.trees:last=yes,keep={at} > prune.forest:*" for at in (1, 2, 3, 4, 5, 6, 7, 8)]
    found = search(runner_of(), chains(*few), Goal(tau=-0.005, metric="accuracy"))
    little = [each for each in found.trials if each.effort == 0.25]
    # A forest of one tree has nothing to leave out, and does not begin.
    assert len(little) == 7
    whole = [each for each in found.trials[1:] if each.effort == 1.0 and each.failed is None]
    survivors = {each.chain.partition(" > ")[0] for each in whole}
    assert len(survivors) == 4
    assert odd.SHOWN, "the steps were handed material"
    assert {each.effort for each in odd.SHOWN} == {0.25, 1.0}
    # A single tree does not hold half a point; the whole forest does.
    assert not any("keep=1" in each for each in survivors)


def test_what_learns_is_tried_last(runner_of: MakeRunner, odd: ModuleType) -> None:
    found = search(runner_of(), chains("distil.trees:keep=4", "prune.trees:keep=4"), LOOSE)
    assert tried(found)[1:3] == ["prune.trees(keep=4)", "distil.trees(keep=4)"]
    assert odd.RAN["prune.trees"] == 1


class Clock:
    """A clock that a trial moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, odd: ModuleType, seconds: float) -> None:
        self.now = 0.0
        monkeypatch.setattr("renewal.compress.search.time.monotonic", lambda: self.now)
        plain = odd.Trees.apply

        def slow(*arguments: Any, **named: Any) -> Any:
            self.now += seconds
            return plain(*arguments, **named)

        monkeypatch.setattr(odd.Trees, "apply", slow)


def test_a_search_that_was_cut_goes_on_where_it_ended(
    runner_of: MakeRunner, odd: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when the time that a trial took once is asked for again to read it."""
    calm = search(runner_of(book=_fresh(runner_of)), chains("prune.trees:*"), LOOSE)
    odd.RAN.clear()
    clock = Clock(monkeypatch, odd, 10.0)
    founds: list[Found] = []
    for _ in range(20):
        founds.append(search(runner_of(), chains("prune.trees:*"), LOOSE, limit_s=25.0))
        clock.now += 1_000.0
        if not founds[-1].is_cut:
            break
    assert len(founds) > 1, "25 seconds are not enough at once"
    assert all(each.is_cut for each in founds[:-1])
    assert all(1 <= each.n_evaluated <= 4 for each in founds[:-1])
    assert [each.chain for each in founds[-1].trials] == [each.chain for each in calm.trials]
    assert odd.RAN["prune.trees"] == len(calm.trials) - 1
    assert all(each.trials[0].chain == "nothing" for each in founds)


def _fresh(runner_of: MakeRunner) -> Any:
    return MemoryBook(runner_of().book.store)


def test_no_time_at_all_leaves_the_parent(runner_of: MakeRunner, odd: ModuleType) -> None:
    found = search(runner_of(), chains("prune.trees:*", "prune.trees:keep=3"), LOOSE, limit_s=0.0)
    assert tried(found) == ["nothing"]
    assert found.is_cut
    assert not odd.RAN


def test_a_trial_that_would_end_too_late_does_not_begin(
    runner_of: MakeRunner, odd: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when the last trial of a search takes it far beyond its budget."""
    clock = Clock(monkeypatch, odd, 10.0)
    runner = runner_of()
    plain = runner.trial

    def timed(chain: Chain, effort: float = 1.0) -> Trial:
        began = clock.now
        trial = plain(chain, effort)
        return replace(trial, seconds=clock.now - began)

    monkeypatch.setattr(runner, "trial", timed)
    found = search(runner, chains("prune.trees:*"), LOOSE, limit_s=25.0)
    assert odd.RAN["prune.trees"] == 2
    assert found.is_cut
    assert clock.now <= 25.0


def test_every_chain_fails_and_the_parent_is_left(runner_of: MakeRunner, odd: ModuleType) -> None:
    wanted = ("prune.raising", "prune.nan", "prune.levelless:*", "prune.unlevelled:*",
              "quantize.static:*", "prune.raising > prune.trees:*")  # fmt: skip
    heard: list[float] = []
    found = search(runner_of(), chains(*wanted), LOOSE, tell=lambda _, gain: heard.append(gain))
    assert found.trials[0].failed is None
    failed = {each.chain: str(each.failed) for each in found.trials[1:]}
    assert failed.keys() == {parse_chain(each).label for each in wanted}
    assert "no level" in failed["prune.levelless(keep=*)"]
    assert "levels" in failed["prune.unlevelled(keep=*)"]
    static = failed[parse_chain("quantize.static:*").label]
    assert "needs a model of onnx or a network, which is exported first; got one of skl" in static
    assert all(len(each) <= 300 and "\n" not in each for each in failed.values())
    assert heard[0] == 0.0
    assert all(math.isnan(each) for each in heard[1:])
    assert list(found.gains) == [found.trials[0].key]
    assert odd.RAN["prune.trees"] == 0


def test_a_line_above_the_parents_own_value_is_not_searched(
    runner_of: MakeRunner, odd: ModuleType
) -> None:
    found = search(runner_of(), chains("prune.trees:*"), Goal(tau=0.999, metric="accuracy"))
    assert found.margin < 0.0
    assert tried(found) == ["nothing"]
    assert not odd.RAN


def test_where_nothing_holds_the_mildest_was_tried(runner_of: MakeRunner, odd: ModuleType) -> None:
    """Breaks when the search gives up before the mildest level has failed."""
    # No loss at all is never a safe bound, but it is what the whole forest seems to hold.
    found = search(runner_of(), chains("prune.trees:*"), Goal(tau=0.0, metric="accuracy"))
    assert "prune.trees(keep=8)" in tried(found)
    assert found.gains[found.trials[0].key] == 0.0
    assert odd.RAN["prune.trees"] <= 8


@pytest.mark.parametrize(
    ("objective", "smaller"), [("bytes", True), ("parameters", True), ("latency", True)]
)
def test_what_is_minimal_is_read_of_the_size(
    runner_of: MakeRunner, objective: Any, *, smaller: bool
) -> None:
    goal = Goal(tau=-0.1, metric="accuracy", objective=objective)
    found = search(runner_of(), chains("prune.forest:trees=2", "prune.forest:trees=8"), goal)
    two, eight = (proxy(each, goal) for each in found.trials[1:3])
    assert (two < eight) is smaller
    nothing = found.trials[0].size
    assert nothing is not None
    if objective == "latency":
        # What no clock has measured yet: comparisons of a row.
        assert proxy(found.trials[0], goal) == nothing.macs


def test_a_metric_without_a_value_is_refused(runner_of: MakeRunner, validation: Rows) -> None:
    one_class = validation.take(np.flatnonzero(validation.label == "yes"))
    with pytest.raises(Invalid, match="auc"):
        search(runner_of(validation=one_class), chains("nothing"), Goal(metric="auc", tau=-0.1))


def test_a_parent_that_cannot_be_scored_ends_the_search(
    runner_of: MakeRunner, odd: ModuleType, forest: Any
) -> None:
    broken = odd.Nan().apply(forest.form, None, forest.material, seed=0)
    found = search(runner_of(parent=broken, parent_key="broken"), chains("prune.trees:*"), LOOSE)
    assert len(found.trials) == 1
    assert "not finite" in str(found.trials[0].failed)
    assert (found.gains, found.n_evaluated) == ({}, 1)


def test_values_are_searched_by_their_loss(tmp_path: Path) -> None:
    features, labels = numbers(900, task="regression")
    recipe = RandomForestRegressor(8, max_depth=5, random_state=0)
    case = fitted_case("values", "sklearn", recipe, features, labels, task="regression")
    task: Task = load_plugin("tasks", "regression")()
    runner = Runner(
        case.form, "values", 100_000, material=case.material,
        validation=rows_of(case.features, labels[600:]), book=MemoryBook(LocalStore(tmp_path)),
    )  # fmt: skip
    found = search(runner, chains("prune.forest:*"), Goal(tau="-5%").settled(task))
    losses = {each.chain: found.gains[each.key] for each in found.trials}
    assert min(losses.values()) < -found.margin < 0.0 == losses["nothing"]
