"""The verdict: every claim proved, no harm shown, within errors that were fixed before.

Evidence is counted in blocks. Rows of one day err together, and a test that took them for
independent called every third of two equal models the better one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from renewal.core.clock import from_us
from renewal.core.verdict import Clause, Outcome, Verdict
from renewal.evaluate.series import Series
from renewal.gate.claims import Proof
from renewal.gate.estimates import estimate_of
from renewal.gate.options import GateOptions
from renewal.gate.proving import Estimate, levels_of, lines_of, prove
from renewal.gate.waiting import Missing, is_futile, missing
from renewal.gate.wording import Telling, counted, sentence


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The evidence for one claim.

    Parameters
    ----------
    proof : Proof
        The claim.
    series : Series
        By block.
    estimate : Estimate
        Of that series.
    """

    proof: Proof
    series: Series
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Grant:
    """What the life of the model leaves to one candidate.

    Parameters
    ----------
    level : float in (0, 1)
        Chance of a wrong acceptance, over all looks at it.
    number : int >= 1
        Which claim of the model's life it is.
    """

    level: float
    number: int


def judge(
    evidence: Sequence[Evidence],
    options: GateOptions,
    *,
    grant: Grant,
    is_first: bool,
    vetoes: Sequence[Clause] = (),
    notes: Sequence[str] = (),
) -> Verdict:
    """Judge a candidate: accept, reject or undecided, with its reason and what to do.

    Parameters
    ----------
    evidence : sequence of Evidence
        One for each claim of the policy, the headline first.
    options : GateOptions
        Levels, the least and most evidence.
    grant : Grant
        What the ledger leaves to this candidate.
    is_first : bool
        The one fixed look at rows already there; else a look of the running test, over the
        blocks of the fixed look and everything since.
    vetoes : sequence of Clause
        What the guards found on the same rows.
    notes : sequence of str
        What a reader must know; ends the reason.

    Returns
    -------
    Verdict
        accept: every claim holds and no veto is shown. reject: a veto is shown, a claim is
        refuted, or waiting has become futile or reached `max_blocks`. undecided: neither.

    Examples
    --------
    >>> import numpy as np
    >>> from renewal.gate.estimates import estimate_of
    >>> gains = 0.02 + 0.01 * np.sin(np.arange(14.0) * 2)
    >>> series = Series("log_loss", "a", "b", 0.43, 0.41, "day", np.arange(14),
    ...     np.full(14, 900), gains, 0, 14 * 86_400_000_000)
    >>> options = GateOptions()
    >>> evidence = [Evidence(options.proofs[0], series, estimate_of(series))]
    >>> verdict = judge(evidence, options, grant=Grant(0.05, 1), is_first=True)
    >>> print(verdict)
    accept: log-loss -0.0204 (at least -0.0153 at 97.5%), 12,600 unseen rows in 14 days,
    worth 10 independent ones
    """
    claims = [_told(each, options, grant.level, is_first=is_first) for each in evidence]
    outcome, end = _outcome(claims, evidence, vetoes, options, grant=grant, is_first=is_first)
    head = evidence[0]
    series, clause = head.series, claims[0]
    lines = lines_of(head.proof, series.baseline_value, options)
    lacking = None
    if outcome == "undecided":
        lacking = _lacking(evidence, options, grant)
    return Verdict(
        outcome=outcome,
        candidate=series.candidate,
        baseline=series.baseline,
        claim=head.proof.kind,
        loss=series.metric,
        gain=clause.value,
        lower=clause.lower,
        upper=clause.upper,
        margin=lines.margin,
        smallest_gain=lines.smallest_gain,
        alpha=clause.alpha,
        look="first" if is_first else "sequential",
        n_rows=series.n_rows,
        n_blocks=clause.n_blocks,
        n_effective=clause.n_effective,
        n_seen=series.n_seen,
        judged_from_us=series.from_us,
        judged_until_us=series.until_us,
        reason=_reason(outcome, claims, vetoes, end=end, notes=notes),
        next_action=_next_action(outcome, lacking, head, vetoes, options),
        clauses=(*claims, *vetoes),
        e_value=min(each.e_value for each in claims),
        threshold=1.0 / grant.level,
        number=grant.number,
        seed=options.seed,
        missing_blocks=None if lacking is None else lacking.n_blocks,
        missing_rows=None if lacking is None else lacking.n_rows,
        missing_until_us=None if lacking is None else lacking.at_us,
    )


def share_of_newest(series: Series, e_value: float) -> float:
    """Return what the next candidate of a line has of its running test, for itself alone.

    A running test is worth its e-value. Where a line begins, half of that stays with it, a
    quarter goes to the newcomer and a quarter is kept; each further newcomer has half of what
    is left. Nothing is added, so the line errs as seldom as the test that it began as. Where
    the test has gained, the newcomer has no more than where it stood at its start.

    Parameters
    ----------
    series : Series
        Of the candidate that is replaced.
    e_value : float >= 0
        Of its running test so far, the smallest of all claims.

    Returns
    -------
    float
        At most 1/4.

    Notes
    -----
    Averages of e-values: Vovk and Wang, E-values: calibration, combination and applications,
    2021.
    """
    return series.share / 2.0 if series.n_before else min(1.0, e_value) / 4.0


def level_of_newest(options: GateOptions, level: float, share: float) -> float:
    """Return the level for both looks, the first and the running, of a line's newest alone.

    Parameters
    ----------
    options : GateOptions
        `first_look_share`: the line's own first look is spent, so only the rest is divided.
    level : float in (0, 1)
        Granted to the claim.
    share : float in (0, 1)
        As of `share_of_newest`.
    """
    return level * share * (1.0 - options.first_look_share)


def _told(evidence: Evidence, options: GateOptions, level: float, *, is_first: bool) -> Clause:
    if evidence.series.n_before and not is_first:
        return _told_of_line(evidence, options, level)
    return _told_of(evidence, options, level, is_first=is_first)


def _told_of_line(evidence: Evidence, options: GateOptions, level: float) -> Clause:
    """Prove a claim by the whole line of candidates, or by the newest alone.

    The line has half of the running test, the newest its `share_of_newest`; the average of
    their e-values by these weights is an e-value. The line speaks for its newest candidate only
    where that has blocks enough of its own, and a gain in them; and it never speaks against it.
    """
    series = evidence.series
    own_level = level_of_newest(options, level, series.share)
    line = _told_of(evidence, options, level / 2.0, is_first=False)
    days = counted(series.n_before, series.unit)
    line = replace(
        line, sentence=f"{line.sentence}, {days} of them of candidates whose place it took"
    )
    own = series.own
    least = options.least(is_ordered=series.is_ordered)
    if len(own.blocks) < least:
        return replace(line, state="cannot_tell", e_value=line.e_value / 2.0)
    alone = replace(evidence, series=own, estimate=estimate_of(own))
    newest = _told_of(alone, options, own_level, is_first=False)
    e_value = line.e_value / 2.0 + newest.e_value * own_level / level
    if newest.state != "cannot_tell":
        return replace(newest, e_value=e_value)
    is_proved = line.state == "holds" and newest.value > newest.bound
    return replace(line, state="holds" if is_proved else "cannot_tell", e_value=e_value)


def _told_of(evidence: Evidence, options: GateOptions, level: float, *, is_first: bool) -> Clause:
    proof, series = evidence.proof, evidence.series
    clause = prove(proof, series, evidence.estimate, options, level=level, is_first=is_first)
    telling = Telling(
        proof,
        clause,
        lines_of(proof, series.baseline_value, options),
        series,
        levels_of(options, level, is_first=is_first).reject,
        series.higher_is_better,
    )
    return replace(clause, sentence=sentence(telling))


def _outcome(
    claims: Sequence[Clause],
    evidence: Sequence[Evidence],
    vetoes: Sequence[Clause],
    options: GateOptions,
    *,
    grant: Grant,
    is_first: bool,
) -> tuple[Outcome, str]:
    """Return the outcome, and why waiting ends where it is that which decides."""
    if any(each.state == "fails" for each in (*claims, *vetoes)):
        return "reject", ""
    if all(each.state == "holds" for each in claims):
        held_back = options.guards.if_cannot_tell == "block" and any(
            each.state == "cannot_tell" for each in vetoes
        )
        return ("undecided" if held_back else "accept"), ""
    later = levels_of(options, grant.level, is_first=False)
    for clause, each in zip(claims, evidence, strict=True):
        if clause.state == "holds":
            continue
        lines = lines_of(each.proof, each.series.baseline_value, options)
        least = options.least(is_ordered=each.series.is_ordered)
        most = options.most(is_ordered=each.series.is_ordered)
        # The wait is for the candidate itself, whatever came before it in its line.
        n_own = clause.n_blocks - each.series.n_before
        if not is_first and n_own >= most:
            return "reject", "not proved after the longest that this gate waits"
        if n_own < least:
            continue
        own = estimate_of(each.series.own) if each.series.n_before else each.estimate
        # One look at rows already there may be larger than the longest wait.
        if n_own < most and is_futile(
            own, lines, later, futility=options.futility, least=least, most=most
        ):
            within = counted(most, each.series.unit)
            return "reject", f"a proof within {within} has become too unlikely to wait for"
    return "undecided", ""


def _reason(
    outcome: Outcome,
    claims: Sequence[Clause],
    vetoes: Sequence[Clause],
    *,
    end: str,
    notes: Sequence[str],
) -> str:
    shown = [each.sentence for each in vetoes if each.state == "fails"]
    others = [
        f"{each.name} {'is refuted' if each.state == 'fails' else 'is not proved'}: {each.sentence}"
        for each in claims[1:]
        if each.state != "holds"
    ]
    cannot = [each for each in vetoes if each.state == "cannot_tell"]
    if outcome == "accept":
        # The evidence is told once; of the further claims their numbers.
        others = [f"{each.sentence.partition('), ')[0]})" for each in claims[1:]]
    parts = [*shown, claims[0].sentence, *others, *([end] if end else [])]
    if cannot and outcome != "reject":
        names = ", ".join(each.name for each in cannot[:3])
        more = f" and {len(cannot) - 3} more" if len(cannot) > 3 else ""
        parts.append(f"too little evidence to tell about {names}{more}")
    return "; ".join([*parts, *notes]) if len(parts) + len(notes) > 1 else parts[0]


def _lacking(evidence: Sequence[Evidence], options: GateOptions, grant: Grant) -> Missing | None:
    """Return the most that any claim still lacks; None where one can never be proved."""
    later = levels_of(options, grant.level, is_first=False)
    found = []
    for each in evidence:
        lines = lines_of(each.proof, each.series.baseline_value, options)
        span = (each.series.from_us, each.series.until_us)
        least = options.least(is_ordered=each.series.is_ordered)
        lack = missing(each.estimate, lines, later, least=least, span_us=span)
        if lack is None:
            return None
        found.append(lack)
    return max(found, key=lambda lack: lack.n_blocks)


def _next_action(
    outcome: Outcome,
    lacking: Missing | None,
    head: Evidence,
    vetoes: Sequence[Clause],
    options: GateOptions,
) -> str:
    if outcome == "accept":
        return "roll out" if options.approval == "none" else "approve or decline"
    if outcome == "reject" or lacking is None:
        shown = [each.name for each in vetoes if each.state == "fails"]
        return (
            f"try another strategy, without harm to {shown[0]}"
            if shown
            else ("try another strategy")
        )
    more = counted(lacking.n_blocks, f"more {head.series.unit}")
    most = options.most(is_ordered=head.series.is_ordered)
    left = max(0, most - head.estimate.n_blocks + head.series.n_before)
    if lacking.n_blocks > left:
        return f"try another strategy: a proof takes about {more}, and the gate waits for {left:,}"
    if lacking.at_us is not None and head.series.is_ordered:
        return f"wait for {more}, about until {from_us(lacking.at_us):%Y-%m-%d}"
    if lacking.n_rows == lacking.n_blocks:
        return f"wait for about {counted(lacking.n_rows, 'more labelled row')}"
    return f"wait for {more}, about {counted(lacking.n_rows, 'labelled row')}"


def not_judged(
    candidate: str,
    baseline: str,
    options: GateOptions,
    *,
    loss: str,
    outcome: Outcome,
    reason: str,
    next_action: str,
    n_seen: int = 0,
) -> Verdict:
    """Return the verdict on what could not be compared: no number, a reason, what to do.

    Parameters
    ----------
    candidate, baseline : str
        Version ids.
    options : GateOptions
        For the claim.
    loss : str
        Name of the metric of the headline.
    outcome : {"reject", "undecided"}
        reject where the candidate itself is at fault; undecided where rows are missing or
        the baseline cannot run. Never a pass.
    reason, next_action : str
        One plain sentence each.
    n_seen : int, default 0
        Rows that were set aside.
    """
    return Verdict(
        outcome=outcome,
        candidate=candidate,
        baseline=baseline,
        claim=options.proofs[0].kind,
        loss=loss,
        gain=math.nan,
        lower=math.nan,
        upper=math.nan,
        margin=0.0,
        smallest_gain=0.0,
        alpha=0.0,
        look="first",
        n_rows=0,
        n_blocks=0,
        n_effective=0.0,
        n_seen=n_seen,
        judged_from_us=0,
        judged_until_us=0,
        reason=reason,
        next_action=next_action,
        seed=options.seed,
    )
