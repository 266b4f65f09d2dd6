"""The race between ways to make a candidate, under a budget: who starts, who goes on, who won.

::

    cheap starters  keep, former versions, recalibrate, incremental       on all rows, at once
    dear starters   retrain, fine_tune, ...      1/9 of the rows -> 1/3 -> all of them
                                                    | the worse half leaves, and whoever
                                                    v cannot catch up with the leader

Nothing here fits or scores: `race` asks for heats and decides by what comes back, so that it
runs the same way over a journal, in a benchmark and in a test.

References
----------
.. [1] Jamieson, Talwalkar (2016). Non-stochastic best arm identification and hyperparameter
   optimization. AISTATS (successive halving).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from renewal.update.budget import Budget
from renewal.update.entry import KEEP, Entry, is_clearly_ahead, is_fitted

SHARES = (1 / 9, 1 / 3, 1.0)
"""Of the rows: what dear starters are fitted on, one after the other."""

HALVE_FROM = 10_000
"""Rows from which a ninth of them says something about a fit on all."""

_NOISE = 2.0
_MANY_LOOKS = 3.0


@dataclass(frozen=True, slots=True)
class Starter:
    """One that wants to race.

    Parameters
    ----------
    label : str
        A recipe, ``keep``, or ``version:`` and an id.
    is_dear : bool, default False
        Whether its fit costs enough to be tried on a share of the rows first.
    expected_s : float or None, seconds, default None
        Of its fit on all rows, as far as anybody knows.
    rests : str or None, default None
        Why it sits this race out; None: it starts.
    why_not : str or None, default None
        Why it can make nothing of these rows, where that is known before a heat.
    is_straight : bool, default False
        Whether it needs no heat as long as nobody else clearly beats the champion; see
        `renewal.update.series.straight`.
    """

    label: str
    is_dear: bool = False
    expected_s: float | None = None
    rests: str | None = None
    why_not: str | None = None
    is_straight: bool = False


@dataclass(frozen=True, slots=True)
class Heat:
    """One fit, and its scores on the selection rows.

    Parameters
    ----------
    label : str
        Whose.
    share : float in (0, 1]
        Of the rows that may be fitted.
    limit_s : float, seconds, default infinite
        What is left of the budget: a fit that takes longer is killed where the engine can.
    """

    label: str
    share: float = 1.0
    limit_s: float = math.inf


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What came of a heat.

    Parameters
    ----------
    entry : Entry
        Of this heat alone: made, not_possible or failed; its loss and its cost.
    losses : float64 array of shape (n_selection_rows,) or None
        Of each row; None where nothing was scored.
    """

    entry: Entry
    losses: NDArray[np.float64] | None = None


Run = Callable[[Sequence[Heat]], Sequence[Result]]
"""Runs some heats side by side and returns their results in the order asked."""


def race(
    starters: Sequence[Starter],
    run: Run,
    budget: Budget,
    *,
    blocks: NDArray[np.int64],
    shares: Sequence[float] = SHARES,
    n_slots: int = 1,
    min_gain: float = 0.0,
) -> tuple[Entry, ...]:
    """Race the starters and return what became of each, in their order.

    Cheap starters run on all rows. Dear ones run on growing `shares` of them; after each
    share the worse half leaves, and so does whoever cannot pay: whose best case is no better
    than the leader. The best case after two shares assumes that every further share gains as
    much as the last one did, which curves that flatten never do, and two standard errors of
    luck.

    One that goes straight is fitted up to the cut without a heat before: what it made last
    time, the champion, stands in for it. Only where somebody is clearly ahead of the champion
    does it run, on the same rows as that one.

    Parameters
    ----------
    starters : sequence of Starter
        The champion (``keep``) first, then the cheapest.
    run : callable
        Makes and scores candidates.
    budget : Budget
        A heat starts only while something is left, and where its expected time fits.
    blocks : int64 array of shape (n_selection_rows,)
        The unit of independent evidence of each row.
    shares : sequence of float, default (1/9, 1/3, 1)
        The last one is 1.
    n_slots : int >= 1, default 1
        Heats that run side by side.
    min_gain : float >= 0, unit of the loss, default 0
        What an update must be ahead of the leader in its best case.

    Returns
    -------
    tuple of Entry
        Only ``made`` ones on all rows can win; see `renewal.update.entry.pick`.
    """
    course = _Course(run, budget, blocks, n_slots)
    for starter in starters:
        if starter.rests is not None:
            course.close(starter, "sat_out", starter.rests)
        elif starter.why_not is not None:
            course.close(starter, "not_possible", starter.why_not)
    going = [each for each in starters if each.why_not is None and each.rests is None]
    straight = [each for each in going if each.is_straight]
    others = [each for each in going if not each.is_straight]
    if straight and all(each.label == KEEP for each in others):
        for starter in others:
            course.close(starter, "sat_out", "nobody starts who could be compared with it")
        others = []
    course.heat([each for each in others if not each.is_dear], 1.0)
    dear = [each for each in others if each.is_dear]
    steps = tuple(shares) if len(dear) > 1 else (1.0,)
    for place, share in enumerate(steps):
        dear = course.heat(dear, share)
        if share < 1.0:
            dear = course.cut(dear, n_left=len(steps) - place - 1, min_gain=min_gain)
    if course.is_beaten():
        course.heat(straight, 1.0)
    else:
        for starter in straight:
            course.close(starter, "sure", "it won, and nobody since is clearly ahead")
    return tuple(course.entry(each.label) for each in starters)


def paired(
    losses: NDArray[np.float64], others: NDArray[np.float64], blocks: NDArray[np.int64]
) -> tuple[float, float]:
    """Return by how much `losses` are below `others`, and the standard error over blocks.

    Rows of one block are wrong together, so the error adds up each block's differences first.

    Parameters
    ----------
    losses, others : float64 arrays of shape (n_rows,)
        Of the same rows.
    blocks : int64 array of shape (n_rows,)
        Equal number, same block.

    Examples
    --------
    >>> paired(np.array([0.1, 0.3]), np.array([0.2, 0.5]), np.array([1, 2]))
    (0.15..., 0.05...)
    """
    difference = others - losses
    ahead = float(difference.mean())
    _, place = np.unique(blocks, return_inverse=True)
    sums = np.bincount(place, weights=difference - ahead)
    n_blocks = len(sums)
    if n_blocks < 2:  # one block says nothing about the next
        return ahead, math.inf
    scale = n_blocks / (n_blocks - 1)
    return ahead, float(np.sqrt(scale * np.sum(sums**2))) / len(difference)


class _Course:
    """A race that is under way: what was spent, and how far each starter has come."""

    def __init__(self, run: Run, budget: Budget, blocks: NDArray[np.int64], n_slots: int) -> None:
        self._run = run
        self._budget = budget
        self._blocks = blocks
        self._n_slots = max(n_slots, 1)
        self._entries: dict[str, Entry] = {}
        self._losses: dict[str, NDArray[np.float64]] = {}
        self._before: dict[str, float] = {}
        self._spent_s = 0.0
        self._n_trials = 0

    def entry(self, label: str) -> Entry:
        """Return what became of a starter, with what it cost."""
        entry = self._entries[label]
        return replace(entry, cost=self._budget.cost(entry.seconds))

    def heat(self, starters: Sequence[Starter], share: float) -> list[Starter]:
        """Run a heat of each that the budget allows; return those that came through."""
        waiting = list(starters)
        through: list[Starter] = []
        while waiting:
            group: list[tuple[Starter, Heat]] = []
            while waiting and len(group) < self._n_slots:
                starter = waiting.pop(0)
                if not self._is_too_dear(starter, share, n_beside=len(group)):
                    group.append((starter, self._heat(starter.label, share)))
            results = self._run([heat for _, heat in group]) if group else ()
            for (starter, heat), result in zip(group, results, strict=True):
                self._note(heat, result)
                if result.entry.outcome == "made":
                    through.append(starter)
        return through

    def cut(self, starters: Sequence[Starter], *, n_left: int, min_gain: float) -> list[Starter]:
        """Send the worse half home, and whoever cannot pay; return the others."""
        ranked = sorted(starters, key=lambda each: self._loss(each.label))
        staying = ranked[: math.ceil(len(ranked) / 2)]
        for starter in ranked[len(staying) :]:
            best = ranked[0].label
            self._leave(starter, f"behind {best} on {self._entries[best].share:.0%} of the rows")
        return [each for each in staying if not self._is_hopeless(each, n_left, min_gain)]

    def is_beaten(self) -> bool:
        """Whether anybody on all rows is ahead of the champion beyond the luck of many looks."""
        return any(
            each.outcome == "made" and is_clearly_ahead(each, _MANY_LOOKS)
            for each in self._entries.values()
        )

    def close(self, starter: Starter, outcome: str, reason: str) -> None:
        """Note the end of a starter that has no heat to show for it."""
        had = self._entries.get(starter.label)
        blank = Entry(starter.label, "skipped", reason)
        self._entries[starter.label] = replace(
            blank if had is None else had,
            outcome=outcome,  # type: ignore[arg-type]  # the callers' literals
            reason=reason,
        )

    def _heat(self, label: str, share: float) -> Heat:
        """Return a heat; only a fit is limited, since scoring alone is the yardstick of all."""
        left_s = self._budget.left_s(self._spent_s) if is_fitted(label) else math.inf
        return Heat(label, share, left_s)

    def _leave(self, starter: Starter, reason: str) -> None:
        self.close(starter, "behind", reason)

    def _is_too_dear(self, starter: Starter, share: float, *, n_beside: int) -> bool:
        """Whether the budget ends before a heat would; then it is noted as skipped."""
        if not is_fitted(starter.label):
            return False
        left_s = self._budget.left_s(self._spent_s)
        trials = self._budget.trials
        if left_s <= 0 or (trials is not None and self._n_trials + n_beside >= trials):
            self.close(starter, "skipped", "the budget was used up before its turn")
            return True
        expected_s = self._expected_s(starter, share)
        if expected_s is not None and expected_s > left_s:
            why = f"it would take about {expected_s:.3g} s, and {left_s:.3g} s are left"
            self.close(starter, "skipped", why)
            return True
        return False

    def _expected_s(self, starter: Starter, share: float) -> float | None:
        had = self._entries.get(starter.label)
        if had is not None and had.share < share:
            # What its last fit took, by rows; earlier ones are in the sum, which only adds.
            return had.seconds * share / had.share
        return None if starter.expected_s is None else starter.expected_s * share

    def _note(self, heat: Heat, result: Result) -> None:
        label, entry, had = heat.label, result.entry, self._entries.get(heat.label)
        if is_fitted(label) and entry.outcome != "not_possible":
            self._n_trials += 1
        self._spent_s += entry.seconds
        if had is not None:
            if had.loss is not None:
                self._before[label] = had.loss
            entry = replace(
                entry, seconds=entry.seconds + had.seconds, cpu_s=entry.cpu_s + had.cpu_s
            )
        if result.losses is not None:
            self._losses[label] = result.losses
            if KEEP in self._losses and label != KEEP:
                ahead, error = paired(result.losses, self._losses[KEEP], self._blocks)
                entry = replace(entry, ahead=ahead, ahead_se=error if error < math.inf else None)
        self._entries[label] = replace(entry, recipe=label, share=heat.share)

    def _loss(self, label: str) -> float:
        loss = self._entries[label].loss
        return math.inf if loss is None or math.isnan(loss) else loss

    def _is_hopeless(self, starter: Starter, n_left: int, min_gain: float) -> bool:
        label = starter.label
        complete = [
            each.recipe
            for each in self._entries.values()
            if each.outcome == "made" and each.share == 1.0 and each.loss is not None
        ]
        if label not in self._before or not complete:
            return False
        leader = min(complete, key=self._loss)
        step = max(self._before[label] - self._loss(label), 0.0)
        ahead, error = paired(self._losses[label], self._losses[leader], self._blocks)
        best_case = ahead + n_left * step + _NOISE * error
        if best_case > min_gain:
            return False
        self._leave(starter, f"its best case is {-best_case:.3g} worse than {leader}: cannot pay")
        return True
