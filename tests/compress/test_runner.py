"""Chains carried out: each once, whatever they raise, and by the bytes that are stored.

What would break it: a key that leaves out what decides the result, or holds what does not; a
step whose error ends the search; scores of the estimator in memory instead of its stored bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from renewal.compress.chain import parse_chain
from renewal.compress.material import Material
from renewal.compress.measure import size_of
from renewal.compress.runner import Runner
from renewal.core.errors import Unavailable
from renewal.data.rows import Rows
from renewal.models.score_map import ScoreMap
from renewal.models.score_map_curves import Temperature
from renewal.testing.forms import FormCase

MakeRunner = Callable[..., Runner]


def test_a_chain_is_carried_out_once(runner_of: MakeRunner, odd: ModuleType) -> None:
    chain = parse_chain("prune.trees:keep=3")
    runner = runner_of()
    first = runner.trial(chain)
    assert (first.failed, first.chain, first.adapter) == (None, "prune.trees(keep=3)", "sklearn")
    assert runner.known(parse_chain("prune.trees:keep=2")) is None
    for again in (runner, runner_of()):
        assert again.known(chain) is not None
        assert again.trial(chain) == first
    assert odd.RAN["prune.trees"] == 1
    assert runner.n_run == 1


def _changes(material: Material, validation: Rows) -> dict[str, dict[str, Any]]:
    train = material.train
    most = np.arange(1, len(train))

    def other(rows: Rows = train, unlabelled: Any = None) -> Material:
        return Material(material.task, rows, material.parent, unlabelled=unlabelled)

    later = replace(train, label_arrived_us=train.label_arrived_us + 1)
    return {
        "parent": {"parent_key": "another"},
        "seed": {"seed": 1},
        "validation": {"validation": validation.take(np.arange(1, len(validation)))},
        "train": {"material": other(train.take(most))},
        "a corrected label": {"material": other(later)},
        "unlabelled": {"material": other(unlabelled=train.features.slice(0, 9))},
        "other unlabelled": {"material": other(unlabelled=train.features.slice(9, 9))},
    }


def test_a_trial_is_done_anew_when_anything_it_depends_on_differs(
    runner_of: MakeRunner, odd: ModuleType, forest: FormCase, validation: Rows
) -> None:
    chain = parse_chain("distil.trees:keep=3")
    keys = {runner_of().trial(chain).key, runner_of().trial(chain, 0.5).key}
    assert len(keys) == 2, "effort counts where a step learns"
    for what, changed in _changes(forest.material, validation).items():
        trial = runner_of(**changed).trial(chain)
        assert trial.key not in keys, what
        keys.add(trial.key)
    assert odd.RAN["distil.trees"] == len(keys)


def test_effort_and_unlabelled_rows_count_only_where_a_step_learns(
    runner_of: MakeRunner, odd: ModuleType, forest: FormCase
) -> None:
    chain = parse_chain("prune.trees:keep=3")
    first = runner_of().trial(chain, 0.25)
    assert (first.effort, first.learned) == (1.0, False)
    own = forest.material
    more = Material(own.task, own.train, own.parent, unlabelled=own.train.features)
    assert runner_of(material=more).trial(chain) == first
    assert odd.RAN["prune.trees"] == 1
    learned = runner_of().trial(parse_chain("distil.trees:keep=3"), 0.25)
    assert (learned.effort, learned.learned) == (0.25, True)
    assert odd.SHOWN[-1].effort == 0.25


def test_what_raises_is_a_failed_trial_with_a_short_reason_and_is_not_tried_again(
    runner_of: MakeRunner, odd: ModuleType
) -> None:
    runner = runner_of()
    for _ in range(2):
        failed = runner.trial(parse_chain("prune.raising"))
        assert failed.failed is not None
        assert failed.failed.startswith("ZeroDivisionError: a long story, told a long")
        assert len(failed.failed) <= 300
        assert "\n" not in failed.failed
        assert (failed.artifact, failed.scores, failed.size) == ("", "", None)
    assert odd.RAN["prune.raising"] == 1
    nan = runner.trial(parse_chain("prune.nan"))
    assert nan.failed is not None
    assert "500 not finite" in nan.failed or "1,000 not finite" in nan.failed
    other = runner.trial(parse_chain("quantize.dynamic:*").at(_level("quantize.dynamic")))
    assert other.failed is not None
    assert "got one of sklearn" in other.failed
    assert runner.trial(parse_chain("prune.trees:keep=2")).failed is None


def _level(name: str) -> Any:
    return parse_chain(name).steps[0].options


def test_want_of_memory_is_of_the_moment(runner_of: MakeRunner, odd: ModuleType) -> None:
    """Breaks when a full memory or disk is remembered as the chain's own fault."""
    chain = parse_chain("prune.full")
    assert runner_of().trial(chain).failed == "MemoryError:"
    assert runner_of().trial(chain).failed is None
    assert odd.RAN["prune.full"] == 2


@pytest.mark.usefixtures("odd")
def test_a_busy_room_says_nothing_about_the_chain(runner_of: MakeRunner) -> None:
    runner = runner_of()
    with pytest.raises(Unavailable):
        runner.trial(parse_chain("prune.busy"))
    assert runner.known(parse_chain("prune.busy")) is None


@pytest.mark.parametrize("text", ["nothing", "prune.forest:trees=3", "prune.forest:slim=yes"])
def test_what_is_scored_are_the_stored_bytes(
    runner_of: MakeRunner, validation: Rows, text: str
) -> None:
    runner = runner_of()
    trial = runner.trial(parse_chain(text))
    assert trial.failed is None
    form = runner.form(trial)
    np.testing.assert_array_equal(form.predict(validation.features), runner.scores(trial))
    n_bytes = len(runner.book.store.get(trial.artifact)) if trial.artifact else 1_000_000
    # Counted in what was loaded and made ready: the same as in what was loaded.
    assert trial.size == size_of(form, n_bytes)
    assert trial.signature == form.signature


def test_the_parent_is_not_changed(runner_of: MakeRunner, forest: FormCase) -> None:
    before = forest.form.runs.dump(forest.form.estimator)
    scores = forest.form.predict(forest.features)
    runner = runner_of()
    for text in ("prune.forest:trees=2,slim=yes", "prune.forest:leaves=3", "prune.features"):
        runner.trial(parse_chain(text))
    assert forest.form.runs.dump(forest.form.estimator) == before
    np.testing.assert_array_equal(forest.form.predict(forest.features), scores)


def test_a_chain_that_begins_alike_goes_on_from_there(
    runner_of: MakeRunner, odd: ModuleType
) -> None:
    runner = runner_of()
    for text in ("prune.trees:keep=4", "prune.trees:keep=4 > prune.forest:slim=yes"):
        assert runner.trial(parse_chain(text)).failed is None
    assert odd.RAN["prune.trees"] == 1


def test_a_map_of_scores_is_carried_along(
    runner_of: MakeRunner, forest: FormCase, validation: Rows
) -> None:
    """Breaks when a compressed version forgets its parent's recalibration."""
    sharper = ScoreMap((Temperature(0.5),))
    mapped = replace(forest.form, score_map=sharper)
    trial = runner_of(parent=mapped, parent_key="mapped").trial(parse_chain("prune.forest:trees=3"))
    plain = runner_of().trial(parse_chain("prune.forest:trees=3"))
    runner = runner_of(parent=mapped, parent_key="mapped")
    assert trial.artifact == plain.artifact
    expected = sharper.apply(runner.scores(plain))
    np.testing.assert_allclose(runner.scores(trial), expected)
    np.testing.assert_allclose(runner.form(trial).predict(validation.features), expected)
