"""Several versions side by side: which is the best, and is that more than the luck of many.

Of five equal candidates the best looks better than the baseline at a plain 5% in every fifth
test: whoever takes the largest of several must pay for having looked at several.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal

from renewal.core.errors import Invalid
from renewal.evaluate.gains import loss_series
from renewal.evaluate.report import Report
from renewal.gate.estimates import estimate_of
from renewal.gate.wording import counted, digits, level, shown_metric
from renewal.stats.checked import check_share
from renewal.stats.homogeneity import holm

Standing = Literal["better", "worse", "cannot_tell"]


@dataclass(frozen=True, slots=True)
class Contender:
    """One version beside the baseline.

    Parameters
    ----------
    version_id, name : str
        Which.
    mean_loss : float
        Over all rows, in the unit of the loss.
    gain, lower, upper : float
        Mean loss of the baseline less its own, and one-sided bounds that hold for all
        versions together, each side with error `Ranking.alpha`; NaN where one block, or
        none, bounds nothing.
    p_value : float
        One-sided, of "it is no better than the baseline", after Holm.
    state : {"better", "worse", "cannot_tell"}
        What is shown, each way with error `Ranking.alpha` over all versions.
    """

    version_id: str
    name: str
    mean_loss: float
    gain: float
    lower: float
    upper: float
    p_value: float
    state: Standing


@dataclass(frozen=True, slots=True)
class Ranking:
    """Versions by their gain over a baseline.

    Parameters
    ----------
    baseline, baseline_name : str
        Id and name of the version that stays unless another is proved better.
    baseline_loss : float
        Its mean loss.
    loss : str
        Name of the loss.
    alpha : float
        Chance that any version is wrongly called better than the baseline.
    contenders : tuple of Contender
        All others, the largest gain first.
    winner : str or None
        Id of the largest gain among those proved better; None: the baseline stays.
    runner_up : str or None
        Id of the best of the rest, which may be the baseline; None without a winner.
    is_separable : bool
        Whether the winner is shown to be better than the runner-up, too, with the same error
        over all pairs.
    n_rows, n_blocks : int
        What they were compared on.
    sentence : str
        The same in words.
    """

    baseline: str
    baseline_name: str
    baseline_loss: float
    loss: str
    alpha: float
    contenders: tuple[Contender, ...]
    winner: str | None
    runner_up: str | None
    is_separable: bool
    n_rows: int
    n_blocks: int
    sentence: str

    def of(self, version_id: str) -> Contender:
        """Return the standing of one version; `Invalid` for the baseline and strangers."""
        for each in self.contenders:
            if each.version_id == version_id:
                return each
        raise Invalid(
            "Ranking.of",
            needs="a version beside the baseline",
            came=repr(version_id),
            todo=f"Name one of {', '.join(each.name for each in self.contenders)}.",
        )


def rank(report: Report, baseline_id: str, *, alpha: float, min_blocks: int = 7) -> Ranking:
    r"""Rank versions by the task's loss, and say which is proved better than the baseline.

    Each version's gain is tested by itself on paired blocks, and the p-values are stepped
    down by Holm's method: the chance that any version no better than the baseline is called
    better is at most `alpha`, however many there are. The winner is then held against the
    runner-up: every ordered pair of versions is one hypothesis, "the first is no better", and
    Holm runs over all of them, which pays for the pair having been picked by its result.

    Parameters
    ----------
    report : Report
        The baseline and at least one other version on the same unseen rows.
    baseline_id : str
        What stays unless another is proved better, such as the champion.
    alpha : float in (0, 1)
        Error of each of the two questions.
    min_blocks : int >= 2, default 7
        Below this nothing is told apart, however far it lies apart.

    Returns
    -------
    Ranking
        With one plain sentence.

    Raises
    ------
    Invalid
        When the baseline is not in the report, or it is alone.

    Notes
    -----
    One look at a number of blocks that was fixed before; a champion is made by the gate,
    whose error is kept for life. With k versions :math:`k (k - 1)` paired tests of
    O(n_rows). Of three (five) versions equal to the baseline one is called better in 5.0% (4.9%)
    of 4,000 simulated runs of 28 blocks at 5%; without Holm in 14.3% (22.5%).

    References
    ----------
    .. [1] Holm (1979). A simple sequentially rejective multiple test procedure.
       Scandinavian Journal of Statistics 6(2).
    """
    check_share(alpha, who="rank", name="alpha")
    others = _others(report, baseline_id)
    contenders, n_blocks = _contenders(report, others, baseline_id, alpha, min_blocks=min_blocks)
    winner = next((each for each in contenders if each.state == "better"), None)
    runner_up = None if winner is None else _runner_up(contenders, winner, baseline_id)
    old = report.of(baseline_id)
    found = Ranking(
        baseline=baseline_id,
        baseline_name=old.scored.name or baseline_id[:12],
        baseline_loss=old.mean_loss,
        loss=report.task.loss_name,
        alpha=alpha,
        contenders=contenders,
        winner=None if winner is None else winner.version_id,
        runner_up=runner_up,
        is_separable=winner is not None
        and (runner_up == baseline_id or _is_separable(report, others, winner, runner_up, alpha)),
        n_rows=report.n_rows,
        n_blocks=n_blocks,
        sentence="",
    )
    return replace(found, sentence=_sentence(found, report.blocks.unit, min_blocks))


def _others(report: Report, baseline_id: str) -> list[str]:
    report.of(baseline_id)
    others = [each.version_id for each in report.versions if each.version_id != baseline_id]
    if not others:
        raise Invalid(
            "rank",
            needs="at least one version beside the baseline",
            came="the baseline alone",
            todo="Evaluate two versions or more on the same rows.",
        )
    return others


def _contenders(
    report: Report, others: Sequence[str], baseline_id: str, alpha: float, *, min_blocks: int
) -> tuple[tuple[Contender, ...], int]:
    """Return every other version beside the baseline, and the blocks they were compared on."""
    series = [loss_series(report, each, baseline_id) for each in others]
    estimates = [estimate_of(each) for each in series]
    turned = [estimate_of(replace(each, gains=-each.gains)) for each in series]
    better = holm([each.bounds.p_value(0.0) for each in estimates]).tolist()
    worse = holm([each.bounds.p_value(0.0) for each in turned]).tolist()
    n_blocks = estimates[0].n_blocks
    found = []
    for at, (version_id, estimate) in enumerate(zip(others, estimates, strict=True)):
        measured = report.of(version_id)
        state: Standing = "cannot_tell"
        if n_blocks >= min_blocks and better[at] <= alpha:
            state = "better"
        elif n_blocks >= min_blocks and worse[at] <= alpha:
            state = "worse"
        found.append(
            Contender(
                version_id=version_id,
                name=measured.scored.name or version_id[:12],
                mean_loss=measured.mean_loss,
                gain=estimate.gain,
                lower=_or_nan(estimate.bounds.lower(alpha / len(others))),
                upper=_or_nan(estimate.bounds.upper(alpha / len(others))),
                p_value=better[at],
                state=state,
            )
        )
    return tuple(sorted(found, key=lambda each: -each.gain)), n_blocks


def _or_nan(bound: float) -> float:
    return bound if math.isfinite(bound) else math.nan


def _runner_up(contenders: Sequence[Contender], winner: Contender, baseline_id: str) -> str:
    """Return who would have won without the winner; the baseline where all others lose to it."""
    rest = [each for each in contenders if each is not winner and each.gain > 0.0]
    return rest[0].version_id if rest else baseline_id


def _is_separable(
    report: Report,
    others: Sequence[str],
    winner: Contender,
    runner_up: str | None,
    alpha: float,
) -> bool:
    pairs = list(permutations(others, 2))
    p_values = [
        estimate_of(loss_series(report, one, other)).bounds.p_value(0.0) for one, other in pairs
    ]
    adjusted = dict(zip(pairs, holm(p_values).tolist(), strict=True))
    return bool(adjusted[winner.version_id, str(runner_up)] <= alpha)


def _sentence(found: Ranking, unit: str, min_blocks: int) -> str:
    evidence = f"on {found.n_rows:,} rows in {counted(found.n_blocks, unit)}"
    loss = shown_metric(found.loss)
    if found.n_blocks < min_blocks:
        return (
            f"Cannot tell: {counted(found.n_blocks, unit)} of at least {min_blocks}; "
            f"{found.baseline_name} stays."
        )
    if found.winner is None:
        count = len(found.contenders)
        whom = (
            f"none of the {count} others is" if count > 1 else f"{found.contenders[0].name} is not"
        )
        return f"{found.baseline_name} stays: {whom} proved better by {loss} {evidence}."
    winner = found.of(found.winner)
    n_digits = digits(found.baseline_loss)
    # The later steps of Holm prove more than bounds that hold for all versions together.
    proof = f"at least {-winner.lower:+.{n_digits}f} at {level(found.alpha)}"
    if not winner.lower > 0.0:
        proof = f"p = {winner.p_value:.2g} after Holm"
    head = (
        f"{winner.name} wins: {loss} {-winner.gain:+.{n_digits}f} against {found.baseline_name} "
        f"({proof}), {evidence}"
    )
    if found.runner_up in {None, found.baseline}:
        return f"{head}."
    second = found.of(str(found.runner_up)).name
    if found.is_separable:
        return f"{head}; it is shown to be better than {second}, too."
    return f"{head}; it cannot be told apart from {second}, the next best."
