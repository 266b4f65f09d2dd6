"""How far a fine-tuning goes: as far as there is time, and no further than in the race."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from renewal.core.errors import Refused
from renewal.models.layers import LayeredAdapter, Lesson, Tuning
from renewal.update.contract import Means, Parent

CUT_TO = "cut_to"
"""The fact of a fine-tuning that its budget has shortened: the steps that were left."""

# How many steps are timed before it is known how many fit into the budget, and what part of
# it they may take: a checkpoint, a look at the watched rows and the way back need time, too.
_TIMED_STEPS = 4
_SHARE_OF_BUDGET = 0.8


def as_raced(how: Tuning, means: Means, *, is_watched: bool) -> Tuning:
    """Return how to tune for the last time: for as long as was best in the race.

    Of timed data the last fit takes in the rows on which the race chose. With nothing to watch
    it would train on where the race had stopped, and without a budget for as long as the
    recipe says, where the race had time for a part of it: what then goes to the gate is not
    what won.

    Parameters
    ----------
    how : Tuning
        As the recipe says, with a patience where the best epoch counts.
    means : Means
        What was `found` in the race, and whether this fit has validation rows and a budget.
    is_watched : bool
        Whether there are rows that say when to stop.
    """
    best = means.found.get("best_epoch")
    if not is_watched and best and how.patience is not None:
        how = replace(how, epochs=best)
    cut_to = means.found.get(CUT_TO)
    if cut_to is None or (means.validation is not None and means.budget_s is not None):
        return how  # a heat, whose own budget decides
    return replace(how, steps=cut_to if how.steps is None else min(cut_to, how.steps))


class Training:
    """One estimator, what it is to learn from, and where it may leave checkpoints.

    Parameters
    ----------
    base : Parent
        What goes on learning.
    lesson : Lesson
        To learn from.
    watched : Lesson or None
        For early stopping.
    seed : int
        Of all that is random in it.
    scratch : Path or None
        A folder that survives a kill.
    """

    def __init__(
        self, base: Parent, lesson: Lesson, watched: Lesson | None, seed: int, scratch: Path | None
    ) -> None:
        self.base, self.lesson, self.watched = base, lesson, watched
        self.seed, self.scratch = seed, scratch

    def run(self, how: Tuning) -> Any:
        """Return a copy that has gone on learning."""
        return self._tuned(self.lesson, self.watched, how, self.scratch)

    def within(self, how: Tuning, budget_s: float | None, began: float) -> Tuning:
        """Return `how` with as many steps as the budget has room for.

        A few steps are timed. What was decided is written down, so that a killed run goes on
        as the same one.

        Parameters
        ----------
        how : Tuning
            As far as it may go.
        budget_s : float or None
            None: as far as it may go.
        began : float
            When the budget began, by `time.perf_counter`.

        Raises
        ------
        Refused
            When there is no time for one step.
        """
        if budget_s is None:
            return how
        n_rows = len(self.lesson.labels)  # a heat on more of them needs a plan of its own
        plan = None if self.scratch is None else self.scratch / f"plan-{n_rows}.json"
        if plan is not None and plan.exists():
            return replace(how, steps=json.loads(plan.read_text())["steps"])
        n_timed = min(_TIMED_STEPS, self._planned(how))
        a_step_s = self._a_step_s(how, n_timed)
        left_s = _SHARE_OF_BUDGET * budget_s - (time.perf_counter() - began)
        steps = min(self._planned(how), int(left_s / a_step_s))
        if steps < 1:
            raise cannot_tune(
                f"one step over {how.batch * how.accumulate:,} rows takes {a_step_s:.2g} s, and "
                f"{max(left_s, 0.0):.2g} of {budget_s:.2g} s are left",
                "Give it more time, or a smaller batch.",
            )
        if plan is not None:
            plan.parent.mkdir(parents=True, exist_ok=True)
            plan.write_text(json.dumps({"steps": steps}))
        return replace(how, steps=steps)

    def cut(self, asked: Tuning, how: Tuning) -> Mapping[str, int]:
        """Return as a fact to how many steps `asked` was shortened; nothing where it was not."""
        steps = self._planned(how)
        return {} if steps >= self._planned(asked) else {CUT_TO: steps}

    def _planned(self, how: Tuning) -> int:
        # As the training loop counts: a last step of one row joins the one before it.
        a_step = how.batch * how.accumulate
        all_steps = how.epochs * max(1, math.ceil((len(self.lesson.labels) - 1) / a_step))
        return all_steps if how.steps is None else min(how.steps, all_steps)

    def _a_step_s(self, how: Tuning, n_steps: int) -> float:
        """Return what a step takes, the looks at the watched rows included."""
        some = _first(self.lesson, n_steps * how.batch * how.accumulate)
        for _ in range(2):  # the first time warms up, for as long as hundreds of small steps
            start = time.perf_counter()
            self._tuned(some, None, replace(how, epochs=n_steps, steps=n_steps), None)
        a_step_s = (time.perf_counter() - start) / n_steps
        if self.watched is not None:
            # A forward pass is about a third of a step, and an epoch ends with one over them.
            a_step_s *= 1.0 + len(self.watched.labels) / (3.0 * len(self.lesson.labels))
        return a_step_s

    def _tuned(
        self, lesson: Lesson, watched: Lesson | None, how: Tuning, scratch: Path | None
    ) -> Any:
        adapter = cast("LayeredAdapter", self.base.adapter)
        return adapter.fine_tune(
            self.base.estimator, lesson, watched, how, seed=self.seed, scratch=scratch
        )


def cannot_tune(reason: str, todo: str) -> Refused:
    """Return the error of a champion that cannot be fine-tuned."""
    return Refused(
        "fine_tune",
        needs="a champion that can be fine-tuned on these rows",
        came=f"one that cannot: {reason}",
        todo=todo,
    )


def _first(lesson: Lesson, n_rows: int) -> Lesson:
    return Lesson(
        lesson.features.slice(0, n_rows),
        lesson.labels[:n_rows],
        None if lesson.weights is None else lesson.weights[:n_rows],
        None if lesson.teacher is None else lesson.teacher[:n_rows],
    )
