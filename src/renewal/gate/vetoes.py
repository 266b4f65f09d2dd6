"""Vetoes: harms that are shown, after paying for how many were looked at.

A guard claims harm beyond a margin and has to show it: Holm over all guards of a policy keeps
the chance of vetoing a harmless candidate at `alpha`. Harm that is not shown is not excluded
either; the clause then says "cannot tell", unless the bound on the other side excludes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from renewal.core.verdict import Clause, State
from renewal.stats.homogeneity import holm


@dataclass(frozen=True, slots=True)
class Harm:
    """One harm that a guard looked for; plain numbers.

    Parameters
    ----------
    name : str
        Such as ``slice origin=JFK``.
    value : float
        Estimate, larger is worse; NaN where undefined.
    lower, upper : float
        One-sided bounds at the guards' alpha; NaN where nothing can be said.
    bound : float
        The most that is allowed, in the same unit.
    p_value : float
        One-sided, of "the harm is at most `bound`"; 1 where nothing can be told.
    n_rows, n_blocks : int
        Evidence.
    n_effective : float
        Blocks after their dependence is paid for.
    method : str
        The test.
    told : bool
        Whether there was evidence enough to show anything.
    words : str
        What is measured, such as ``log-loss of origin=JFK changes by``.
    n_digits : int, default 4
        Decimals worth printing.
    is_change : bool, default True
        Whether it is a change against the champion, to be written with its sign.
    is_harmful_below : bool, default False
        Whether what is measured harms by being small, such as a ratio; the numbers above are
        then its negatives, and the clause turns them back.
    """

    name: str
    value: float
    lower: float
    upper: float
    bound: float
    p_value: float
    n_rows: int
    n_blocks: int
    n_effective: float
    method: str
    told: bool
    words: str
    n_digits: int = 4
    is_change: bool = True
    is_harmful_below: bool = False


def untold(
    name: str, words: str, value: float, bound: float, *, n_rows: int, n_blocks: int
) -> Harm:
    """Return a harm about which too little evidence tells nothing."""
    return Harm(
        name=name,
        value=value,
        lower=math.nan,
        upper=math.nan,
        bound=bound,
        p_value=1.0,
        n_rows=n_rows,
        n_blocks=n_blocks,
        n_effective=float(n_blocks),
        method="",
        told=False,
        words=words,
    )


def failure(name: str, words: str, n_rows: int) -> Harm:
    """Return the harm of not answering at all where the champion answers: shown, not estimated."""
    return Harm(
        name=name,
        value=math.inf,
        lower=math.inf,
        upper=math.inf,
        bound=0.0,
        p_value=0.0,
        n_rows=n_rows,
        n_blocks=n_rows,
        n_effective=float(n_rows),
        method="seen",
        told=True,
        words=f"{words};",
    )


def vetoes(harms: Sequence[Harm], alpha: float) -> tuple[Clause, ...]:
    """Return one clause for each harm, judged together.

    Parameters
    ----------
    harms : sequence of Harm
        Everything that the policy's guards looked for at this look.
    alpha : float in (0, 1)
        Chance that any of them vetoes a candidate that does no harm.

    Returns
    -------
    tuple of Clause
        ``fails``: shown after Holm. ``holds``: the upper bound lies within what is allowed.
        ``cannot_tell``: neither; reported, and blocks only where the policy says so.

    Examples
    --------
    >>> harm = Harm("slice a=1", 0.09, 0.07, 0.11, 0.01, 1e-6, 900, 30, 30.0, "paired t", True,
    ...     "log-loss of a=1 changes by")
    >>> vetoes([harm], 0.05)[0].sentence
    'log-loss of a=1 changes by +0.0900 (at least +0.0700 at 95%), allowed +0.0100'
    """
    if not harms:
        return ()
    adjusted = holm([each.p_value for each in harms])
    return tuple(
        _clause(each, float(p_value), alpha) for each, p_value in zip(harms, adjusted, strict=True)
    )


def _clause(harm: Harm, p_value: float, alpha: float) -> Clause:
    state: State = "cannot_tell"
    if harm.told and p_value <= alpha:
        state = "fails"
    elif harm.told and harm.upper <= harm.bound:
        state = "holds"
    lower, upper = harm.lower, harm.upper
    sign = -1.0 if harm.is_harmful_below else 1.0
    if harm.is_harmful_below:
        lower, upper = -upper, -lower
    return Clause(
        name=harm.name,
        kind="veto_if_shown",
        state=state,
        value=sign * harm.value,
        lower=lower,
        upper=upper,
        bound=sign * harm.bound,
        n_rows=harm.n_rows,
        n_blocks=harm.n_blocks,
        n_effective=harm.n_effective,
        alpha=alpha,
        p_value=p_value,
        e_value=math.nan,
        method=harm.method,
        sentence=_sentence(harm, state, alpha),
    )


def _sentence(harm: Harm, state: State, alpha: float) -> str:
    turn = -1.0 if harm.is_harmful_below else 1.0

    def shown(value: float) -> str:
        sign = "+" if harm.is_change else ""
        return f"{round(turn * value, harm.n_digits) + 0.0:{sign},.{harm.n_digits}f}"

    if not harm.told:
        return f"{harm.words} too little evidence to tell: {harm.n_rows:,} rows"
    at = f"at {100 * (1 - alpha):g}%"
    least, most = ("at most", "at least") if harm.is_harmful_below else ("at least", "at most")
    bounds = {
        "fails": f"{least} {shown(harm.lower)} {at}",
        "holds": f"{most} {shown(harm.upper)} {at}",
        "cannot_tell": f"{shown(harm.lower)} to {shown(harm.upper)}, each {at}",
    }
    told = f"{harm.words} {shown(harm.value)} ({bounds[state]}), allowed {shown(harm.bound)}"
    return f"{told}: neither shown nor excluded" if state == "cannot_tell" else told
