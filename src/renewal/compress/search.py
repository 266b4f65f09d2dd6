"""The search: which chains, how far each, on validation rows; what it finds is then certified.

::

    nothing -> one level of every chain, at little effort -> the better half, climbed

Size falls and quality falls along a chain's levels, so the boldest level that a proof could
just reach is found by bisection (`renewal.compress.climb`), with milder and bolder ones around
it: certification starts from the safest.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from renewal.compress.chain import Chain
from renewal.compress.climb import Look, climb, look_of
from renewal.compress.estimate import gain_over, spread_of, value_of
from renewal.compress.goal import Goal
from renewal.compress.runner import NOT_OF_A_CHAIN, Runner, reason_of
from renewal.compress.trial import Trial
from renewal.core.errors import RenewalError
from renewal.core.progress import tell_progress
from renewal.models.task import Scores

_log = logging.getLogger(__name__)
_LITTLE = 0.25
# How many margins beyond the line a quarter of the recovery may leave a chain that holds it.
_NEARLY = 2.0
# Fewer chains than this all go on: halving saves nothing.
_FEW = 3
_NOTHING = Chain(())

Tell = Callable[[Trial, float], None]


def tell_no_trial(_trial: Trial, _gain: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search has found.

    Parameters
    ----------
    trials : tuple of Trial
        In the order in which they were carried out, the parent as it is first; failed ones,
        and chains that could not begin, are among them.
    gains : mapping of str to float
        By key of the trial: the metric on the validation rows less that of the parent,
        positive where better; of those that have not failed.
    margin : float
        Largest loss of gain that holds the line on the validation rows.
    n_evaluated : int
        Trials that were carried out now, and not read from the book.
    is_cut : bool
        Whether the budget ended it before all was tried.
    """

    trials: tuple[Trial, ...]
    gains: dict[str, float] = field(default_factory=dict)
    margin: float = 0.0
    n_evaluated: int = 0
    is_cut: bool = False


@dataclass(slots=True)
class _Walk:
    """A chain with the levels of its knob; one level where none is free."""

    chain: Chain
    levels: tuple[Any, ...]
    seen: dict[int, Trial] = field(default_factory=dict)

    def at(self, level: int) -> Chain:
        return self.chain if self.chain.free is None else self.chain.at(self.levels[level])


def search(
    runner: Runner,
    chains: Sequence[Chain],
    goal: Goal,
    *,
    limit_s: float = math.inf,
    tell: Tell = tell_no_trial,
) -> Found:
    """Look for small models that hold the line on the validation rows.

    Parameters
    ----------
    runner : Runner
        Carries chains out.
    chains : sequence of Chain
        Free knobs are turned; a chain without one is carried out once.
    goal : Goal
        Settled for the task.
    limit_s : float, seconds, default no limit
        When it is over no further trial begins, nor one that by what this chain took so far
        would end after it. The parent itself is always there.
    tell : callable
        Hears of each trial, with its gain over the parent; NaN of one that has failed.

    Returns
    -------
    Found
        Never empty: no compression is candidate 0.

    Raises
    ------
    Invalid
        When the metric is undefined on the validation rows.

    Notes
    -----
    A chain that survives the first round takes about as many trials as `climb` says. All of
    them are in the book, so that the same search runs nothing.
    """
    return _Search(runner, goal, time.monotonic() + limit_s, tell).run(chains)


class _Search:
    def __init__(self, runner: Runner, goal: Goal, until: float, tell: Tell) -> None:
        self.runner = runner
        self.goal = goal
        self.until = until
        self.tell = tell
        self.trials: dict[str, Trial] = {}
        self.gains: dict[str, float] = {}
        self.margin = 0.0
        self.is_cut = False
        self._parent_scores: Scores | None = None
        self._labels = runner.material.task.labels(runner.validation.label, who="compress")

    def run(self, chains: Sequence[Chain]) -> Found:
        before = self.runner.n_run
        nothing = self.runner.trial(_NOTHING)
        if nothing.failed is not None:
            # The parent itself cannot be scored here: there is nothing to compare with.
            return Found((nothing,), n_evaluated=self.runner.n_run - before)
        self._parent_scores = self.runner.scores(nothing)
        self.margin = self.goal.margin(self._value(nothing))
        self._note(nothing)
        walks = [each for each in map(self._begun, chains) if each is not None]
        for walk in self._halved(walks) if self.margin >= 0.0 else ():
            self._climb(walk)
        return Found(
            tuple(self.trials.values()),
            self.gains,
            self.margin,
            self.runner.n_run - before,
            self.is_cut,
        )

    def _begun(self, chain: Chain) -> _Walk | None:
        """Return a chain with its levels; None, and a failed trial, where it cannot begin."""
        if chain.free is None:
            return _Walk(chain, (None,))
        if not self._has_time(0.0):
            return None
        try:
            levels = self.runner.levels(chain)
        except (*NOT_OF_A_CHAIN, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # the plug-in border: a step may raise anything, even sys.exit
            if not isinstance(error, RenewalError):
                _log.info("the chain %s cannot begin", chain.label, exc_info=error)
            failed = reason_of(error)
            self._note(Trial(f"{chain.label}: cannot begin", chain.label, failed=failed))
            return None
        if not levels:
            self._note(Trial(f"{chain.label}: no level", chain.label, failed="it has no level"))
            return None
        return _Walk(chain, levels)

    def _halved(self, walks: list[_Walk]) -> list[_Walk]:
        """Try every chain once at little effort; return those worth more, the best first."""
        if len(walks) < 2:
            return walks
        tried: list[tuple[tuple[int, float], int, _Walk]] = []
        for walk in sorted(walks, key=_is_dear):
            mild = len(walk.levels) // 3
            trial = self._try(walk, mild, effort=_LITTLE)
            if trial is not None:
                tried.append((self._rank(trial), len(tried), walk))
        tried.sort(key=lambda each: each[:2])
        n_left = max(_FEW, math.ceil(len(tried) / 2))
        return [walk for _, _, walk in tried[:n_left]]

    def _climb(self, walk: _Walk) -> None:
        """Look at the levels of a chain around the boldest that a proof could just reach."""

        def look(level: int) -> Look | None:
            trial = self._try(walk, level)
            if trial is None:
                return "fails" if self._has_time(0.0) else None
            return look_of(self.gains[trial.key], self._error(trial), margin=self.margin)

        climb(len(walk.levels), look)

    def _try(self, walk: _Walk, level: int, effort: float = 1.0) -> Trial | None:
        """Carry out a level of a chain; None where the time is over or it has failed."""
        chain = walk.at(level)
        # What is in the book takes no time: a search that was cut goes on where it ended.
        trial = self.runner.known(chain, effort)
        if trial is None:
            took = max((each.seconds / each.effort for each in walk.seen.values()), default=0.0)
            if not self._has_time(took * effort):
                return None
            trial = self.runner.trial(chain, effort)
        walk.seen[level] = trial
        self._note(trial)
        return None if trial.failed is not None else trial

    def _note(self, trial: Trial) -> None:
        if trial.key in self.trials:
            return
        self.trials[trial.key] = trial
        gain = math.nan
        if trial.failed is None:
            gain = self.gains[trial.key] = self._gain(trial)
        self.tell(trial, gain)
        tell_progress(f"{len(self.trials)} trials: {trial.chain}")

    def _rank(self, trial: Trial) -> tuple[int, float]:
        """Order trials: those that hold the line, or may with all of the effort, by their size."""
        lacks = -self.margin - self.gains[trial.key]
        if lacks <= (_NEARLY * self.margin if trial.learned else 0.0):
            return (0 if lacks <= 0.0 else 1), proxy(trial, self.goal)
        return 2, lacks

    def _gain(self, trial: Trial) -> float:
        assert self._parent_scores is not None, "the parent is scored first"
        runner = self.runner
        return gain_over(
            runner.material.task,
            self.goal,
            (runner.scores(trial), trial.classes),
            (self._parent_scores, runner.parent.classes),
            self._labels,
        )

    def _error(self, trial: Trial) -> float:
        """Return the standard error of a trial's gain; 0 where an estimate has none by rows."""
        assert self._parent_scores is not None, "the parent is scored first"
        runner = self.runner
        spread = spread_of(
            runner.material.task,
            self.goal,
            (runner.scores(trial), trial.classes),
            (self._parent_scores, runner.parent.classes),
            self._labels,
        )
        return 0.0 if spread is None else spread.se(len(self._labels))

    def _value(self, trial: Trial) -> float:
        runner = self.runner
        return value_of(
            runner.material.task, self.goal, runner.scores(trial), trial.classes, self._labels
        )

    def _has_time(self, needed_s: float) -> bool:
        found = time.monotonic() + needed_s < self.until
        self.is_cut = self.is_cut or not found
        return found


def _is_dear(walk: _Walk) -> bool:
    """Whether a step of a chain learns: what only calibrates is tried first."""
    return any(step.does.learns for step in walk.chain.steps)


def proxy(trial: Trial, goal: Goal) -> float:
    """Return what the search minimises: the objective, or for latency, which is measured
    later and on few, multiplications, else bytes.
    """  # noqa: D205  # one sentence
    assert trial.size is not None, "only a trial that has not failed has a size"
    if goal.objective != "latency":
        return trial.size.of(goal.objective)
    return trial.size.of("macs") if trial.size.macs is not None else trial.size.of("bytes")
