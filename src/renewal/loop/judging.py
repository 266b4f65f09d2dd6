"""A candidate before the gate: what it is judged on, what is found, how it is written down.

The one fixed look is taken at rows that are there; after it one running test goes on over
the same blocks and every block since, so that nothing learned is thrown away and no error is
spent twice. Rows that informed a verdict on one candidate never count for another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from renewal.core.errors import Refused
from renewal.core.plugin import load_plugin
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.evaluate.report import Report
from renewal.evaluate.series import Series
from renewal.gate.approvals import ask
from renewal.gate.estimates import estimate_of
from renewal.gate.gathering import Undefined, carried, gather
from renewal.gate.judge import Evidence, Grant, judge, level_of_newest, not_judged, share_of_newest
from renewal.gate.ledger import grant, looks_at, record_look
from renewal.loop.asking import asked_of, told_spread, used_before, with_spread
from renewal.loop.comparing import Unscorable, evaluate_versions
from renewal.loop.guarding import vetoes_of
from renewal.loop.workshop import Workshop
from renewal.registry.codec import to_plain

RECIPES = "; or compare the recipes on all rows, weaker evidence: renewal compare-recipes"
"""Ends the next action of an undecided verdict on a model of few rows and no time."""
_FEW_LABELS = 100


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with what the ledger keeps beside it; plain values, for the journal.

    Parameters
    ----------
    verdict : Verdict
        What the gate says.
    rows : str or None
        Digest of the key set of the rows that it used.
    series : tuple of str
        Digests of the series that it was taken at.
    takes_over : str or None
        Id of the candidate whose place this one takes in its line.
    """

    verdict: Verdict
    rows: str | None = None
    series: tuple[str, ...] = ()
    takes_over: str | None = None


def first_verdict(shop: Workshop, candidate: Version, champion: Version, rows: Rows) -> Judged:
    """Take the one fixed look at a candidate.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate, champion : Version
        Who is judged beside whom.
    rows : Rows
        Labelled rows of the judged stretch, or of the role test.

    Returns
    -------
    Judged
        A verdict in every case: where the candidate cannot be scored it is rejected; where
        the champion cannot, or no row is left, or a claim is undefined on the rows, it is
        undecided and says why. A model of few rows hears that recipes can be compared.
    """
    shop = asked_of(shop, candidate)
    return _hinted(shop, _first_look(shop, candidate, champion, rows))


def _first_look(
    shop: Workshop,
    candidate: Version,
    champion: Version,
    rows: Rows,
    granted: Grant | None = None,
) -> Judged:
    pair = (candidate.id, champion.id)
    used = used_before(shop, candidate, pair)

    def compare() -> Report:
        return evaluate_versions(shop, (champion, candidate), rows, used=used)

    report = _or_reason(shop, candidate, champion, compare)
    if isinstance(report, Verdict):
        return Judged(report)
    try:
        evidence = gather(report, candidate.id, champion.id, shop.gate)
    except Undefined as error:
        return Judged(_undefined(shop, report, pair, error))
    spread = told_spread(candidate, champion)
    evidence = tuple(with_spread(each, spread) for each in evidence)
    verdict = judge(
        evidence,
        shop.gate,
        grant=granted or grant(shop.db, shop.spec.name, pair, shop.gate),
        is_first=True,
        vetoes=vetoes_of(shop, report, candidate, champion, is_first=True),
        notes=report.notes,
    )
    return _kept(shop, verdict, report.rows, [each.series for each in evidence])


def next_verdict(shop: Workshop, candidate: Version, champion: Version, report: Report) -> Judged:
    """Take the next look of the running test of a pair.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate, champion : Version
        Who is judged beside whom.
    report : Report
        All rows since the newest look that is in the ledger; none of its own rows.

    Returns
    -------
    Judged
        Guards are asked where the claims are proved, once more and at their own level.
    """
    shop = asked_of(shop, candidate)
    pair = (candidate.id, champion.id)
    before = looks_at(shop.db, shop.spec.name, *pair)
    earlier = _series(shop, before[-1].series or ()) if before else []
    if before:
        fresh = report.since(before[-1].judged_until_us + 1)
        if fresh is None:
            return Judged(replace(_nothing_new(shop, report, pair), look="sequential"))
        report = fresh
    try:
        evidence = carried(earlier, gather(report, candidate.id, champion.id, shop.gate))
    except Undefined as error:
        return Judged(replace(_undefined(shop, report, pair, error), look="sequential"))
    granted = grant(shop.db, shop.spec.name, pair, shop.gate)
    verdict = judge(evidence, shop.gate, grant=granted, is_first=False, notes=report.notes)
    if verdict.outcome == "accept":
        vetoes = vetoes_of(shop, report, candidate, champion, is_first=False)
        verdict = judge(
            evidence,
            shop.gate,
            grant=granted,
            is_first=False,
            vetoes=vetoes,
            notes=report.notes,
        )
    return _kept(shop, verdict, report.rows, [each.series for each in evidence])


def hand_over(
    shop: Workshop,
    candidate: Version,
    predecessor: Version,
    champion: Version,
    report: Report | None,
    *,
    rows: Rows,
) -> tuple[Judged, ...]:
    """Let a candidate take the place, and the evidence, of one that is on probation.

    Candidates that an update makes for the same champion are one line: the running test is
    about the line, and its claim, level and blocks go on. So a candidate that is replaced
    before its evidence suffices has not been watched for nothing. The newer one has its own
    first look besides, at its share of the level.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate : Version
        The newer one.
    predecessor : Version
        On probation beside the same champion.
    champion : Version
        Of both.
    report : Report or None
        The live pairs of the predecessor so far.
    rows : Rows
        Of the candidate's first look, as in `first_verdict`.

    Returns
    -------
    tuple of Judged
        To be recorded in this order; the last one is the decision. The last look at the
        predecessor, where new rows came; the first at the candidate; and, where that left it
        undecided, its start with the evidence of the line. A candidate that its first look
        rejects takes no place. Empty where the line does not look promising, or the
        predecessor is decided: then the candidate begins a claim of its own.
    """
    last = None if report is None else next_verdict(shop, predecessor, champion, report)
    before = looks_at(shop.db, shop.spec.name, predecessor.id, champion.id)
    if last is not None and last.series:
        verdict, digests = last.verdict, last.series
    elif before and before[-1].verdict is not None:
        last = None
        verdict = shop.registry.verdict(before[-1].verdict)
        digests = before[-1].series or ()
    else:
        return ()
    is_open = verdict.outcome == "undecided" and verdict.number > 0
    # The policy may ask for other claims by now.
    is_same = len(digests) == len(shop.gate.proofs)
    if not (is_open and is_same and verdict.gain > verdict.margin):
        return ()
    series = _series(shop, digests)
    granted = Grant(1.0 / verdict.threshold, verdict.number)
    running = judge(_evidence(shop, series), shop.gate, grant=granted, is_first=False)
    share = share_of_newest(series[0], running.e_value)
    if not share > 0.0:
        return ()
    own = replace(granted, level=level_of_newest(shop.gate, granted.level, share))
    first = _first_look(shop, candidate, champion, rows, own)
    if first.verdict.outcome == "reject":
        return (replace(first, verdict=replace(first.verdict, number=0)),)
    looks = (*([] if last is None else [last]), replace(first, takes_over=predecessor.id))
    if first.verdict.outcome == "accept":
        return looks
    series = [each.handed_to(candidate.id, share=share) for each in series]
    started = judge(_evidence(shop, series), shop.gate, grant=granted, is_first=False)
    kept = tuple(shop.store.put(each.to_bytes()) for each in series)
    start = replace(started, asked=to_plain(shop.gate))
    return (*looks, Judged(start, series=kept))


def running_verdict(shop: Workshop, candidate: Version, champion: Version, rows: Rows) -> Judged:
    """Score both versions on rows that came since the last look, and go on with its test.

    Parameters
    ----------
    shop, candidate, champion, rows
        As for `first_verdict`; rows of the pair's earlier looks are left out.
    """
    shop = asked_of(shop, candidate)
    used = used_before(shop, candidate)

    def compare() -> Report:
        return evaluate_versions(shop, (champion, candidate), rows, used=used)

    report = _or_reason(shop, candidate, champion, compare)
    if isinstance(report, Verdict):
        return _hinted(shop, Judged(replace(report, look="sequential")))
    return _hinted(shop, next_verdict(shop, candidate, champion, report))


def record(shop: Workshop, connection: Connection, judged: Judged, *, who: str) -> str:
    """Store a verdict, the error that its look spent, and a line of the log; return its id.

    Where the policy wants a person, an acceptance begins to wait for one here.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    connection : Connection
        In a transaction, with whatever acts on the verdict.
    judged : Judged
        To be stored.
    who : str
        Who asked for it.
    """
    name, verdict = shop.spec.name, judged.verdict
    verdict_id = shop.registry.add_verdict(name, verdict, connection=connection)
    record_look(
        connection,
        name,
        verdict,
        shop.clock.now(),
        rows=judged.rows,
        series=judged.series,
        verdict_id=verdict_id,
        takes_over=judged.takes_over,
    )
    if verdict.outcome == "accept" and shop.gate.approval == "person":
        ask(
            connection,
            name,
            candidate=verdict.candidate,
            verdict=verdict_id,
            at=shop.clock.now(),
            expires_at=shop.clock.now() + shop.gate.approval_for,
        )
    shop.registry.note(
        name,
        "verdict",
        who=who,
        why=f"{verdict.outcome}: {verdict.reason}",
        details={"verdict_id": verdict_id, "candidate": verdict.candidate},
        connection=connection,
    )
    return verdict_id


def _or_reason(
    shop: Workshop, candidate: Version, champion: Version, compare: Callable[[], Report]
) -> Report | Verdict:
    """Compare, or return the verdict on what could not be compared."""
    loss = load_plugin("tasks", shop.spec.task)().loss_name
    try:
        return compare()
    except Unscorable as error:
        is_candidate = error.fields["version_id"] == candidate.id
        return not_judged(
            candidate.id,
            champion.id,
            shop.gate,
            loss=loss,
            outcome="reject" if is_candidate else "undecided",
            reason=f"{'the candidate' if is_candidate else 'the champion'} "
            f"{candidate.name if is_candidate else champion.name} cannot be scored: {error.came}",
            next_action="mend the candidate"
            if is_candidate
            else "mend the champion, or promote by force with a name and a reason",
        )
    except Refused as error:
        return not_judged(
            candidate.id,
            champion.id,
            shop.gate,
            loss=loss,
            outcome="undecided",
            reason=f"no row to judge on: {error.came}",
            next_action="wait for labelled rows that no version has trained on and no verdict "
            "has used",
            n_seen=int(error.fields.get("n_rows", 0)),
        )


def _nothing_new(shop: Workshop, report: Report, pair: tuple[str, str]) -> Verdict:
    return not_judged(
        *pair,
        shop.gate,
        loss=report.task.loss_name,
        outcome="undecided",
        reason="no row has come since the last look",
        next_action="wait for labelled rows",
        n_seen=report.n_rows,
    )


def _undefined(shop: Workshop, report: Report, pair: tuple[str, str], error: Undefined) -> Verdict:
    return not_judged(
        *pair,
        shop.gate,
        loss=report.task.loss_name,
        outcome="undecided",
        reason=f"{error.who} cannot be judged: {error.came}",
        next_action="wait for rows of every class, or claim something else",
        n_seen=report.n_seen,
    )


def _hinted(shop: Workshop, judged: Judged) -> Judged:
    """Name what a model without time can still ask where its rows will hardly ever do."""
    verdict = judged.verdict
    is_small = shop.spec.time is None and shop.feed.n_labels() < _FEW_LABELS
    if verdict.outcome != "undecided" or not is_small:
        return judged
    return replace(judged, verdict=replace(verdict, next_action=verdict.next_action + RECIPES))


def _kept(shop: Workshop, verdict: Verdict, rows: Rows, series: Sequence[Series]) -> Judged:
    return Judged(
        replace(verdict, asked=to_plain(shop.gate)),
        rows=shop.store.put(KeySet.of(rows).to_bytes()),
        series=tuple(shop.store.put(each.to_bytes()) for each in series),
    )


def _evidence(shop: Workshop, series: Sequence[Series]) -> list[Evidence]:
    return [
        Evidence(proof, each, estimate_of(each))
        for proof, each in zip(shop.gate.proofs, series, strict=True)
    ]


def _series(shop: Workshop, digests: Sequence[str]) -> list[Series]:
    return [Series.from_bytes(shop.store.get(each)) for each in digests]
