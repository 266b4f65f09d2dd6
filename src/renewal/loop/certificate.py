"""A certificate: what was certified, on which rows, at which level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from renewal.compress.certify import Certified, Status
from renewal.compress.goal import Goal
from renewal.compress.report import CompressionReport, Latency, Side, report_of
from renewal.compress.runner import Runner
from renewal.compress.search import Found
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.evaluate.cache import rows_id
from renewal.gate.ledger import grant
from renewal.gate.proving import levels_of
from renewal.loop.asking import gate_for
from renewal.loop.certifying import Entrant, certified, claim_of
from renewal.loop.entrants import latencies, points_of
from renewal.loop.journal import COMPRESS, Run, last_runs, steps_of
from renewal.loop.judging import Judged
from renewal.loop.workshop import Workshop

_HALF = 0.5
_ALL_RUNS = 10_000
_NO_PART = {"roll_out": None, "budget_s": None}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was certified, as the journal keeps it: plain values.

    Parameters
    ----------
    certified : Certified
        Status, bounds, and every model that was tested.
    parent_value : float
        Of the metric, on the test rows.
    n_rows : int
        Test rows.
    rows : str
        Digest that names them.
    keys : str
        Digest of their key set in the store; empty where there is none.
    report : CompressionReport
        Size, time, flips and bound beside the parent, and the front.
    """

    certified: Certified
    parent_value: float
    n_rows: int
    rows: str
    report: CompressionReport
    keys: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """A search that has ended, as its certificate needs it.

    Parameters
    ----------
    runner : Runner
        Loads its models.
    found : Found
        What it found.
    goal : Goal
        Settled.
    source : Version
        What was compressed.
    """

    runner: Runner
    found: Found
    goal: Goal
    source: Version


def certificate_of(
    shop: Workshop,
    run: Run,
    search: Search,
    entrants: Sequence[Entrant],
    rows: Rows,
    *,
    share: float,
) -> Certificate:
    """Certify the front of a search on the test rows, and report what came of it.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    run : Run
        That certifies.
    search : Search
        Whose front.
    entrants : sequence of Entrant
        The front, in the order of the tests.
    rows : Rows
        Test rows; where there is none, the result says so.
    share : float in (0, 1]
        Of the level.

    Raises
    ------
    Invalid
        When the metric is undefined on these rows.
    """
    runner, found, goal = search.runner, search.found, search.goal
    named, value, fast = rows_id(rows), math.nan, (Latency(), Latency())
    if len(rows):
        alpha = share * level_of(shop, run, goal, search.source.id, rows)
        parent = (search.source, runner.parent)
        result, value = certified(shop, parent, entrants, rows, goal, alpha=alpha)
        fast = latencies(shop, parent, entrants, rows, result)
    else:
        result = _nothing_to_test_on(found, goal)
    chosen = next((each for each in found.trials if each.key == result.best), None)
    loads = {each.trial.key: each.memory_bytes for each in entrants}
    report = report_of(
        result,
        goal,
        parent=Side(search.source.name, found.trials[0].size, fast[0]),
        model=None
        if chosen is None
        else Side(chosen.chain, chosen.size, fast[1], loads.get(chosen.key)),
        points=points_of(runner, found, goal),
    )
    keys = shop.store.put(KeySet.of(rows).to_bytes()) if len(rows) else ""
    return Certificate(result, value, len(rows), named, report, keys)


def level_of(shop: Workshop, run: Run, goal: Goal, source: str, rows: Rows) -> float:
    """Return the level of a certification: of the goal, and no more than the gate grants.

    What is certified is then accepted by the gate at its own level, on the same rows and by
    the same test. Each earlier compression of the same source has told whoever asks again one
    bit about its rows, whether something was certified, and halves the level; where only a
    share of them is among these, by that share: a new row beside old ones is no new look.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    run : Run
        That certifies.
    goal : Goal
        Its `alpha`.
    source : str
        Id of what is compressed.
    rows : Rows
        Test rows.
    """
    options = gate_for(shop.gate, claim_of(goal, 1.0))
    granted = grant(shop.db, shop.spec.name, ("", source), options)
    level = min(goal.alpha, levels_of(options, granted.level, is_first=True).accept)
    earlier = [
        max((_shared(shop, told, rows) for told in _tested(shop, each)), default=0.0)
        for each in _before(shop, run)
        if each.spec.get("source") == source
    ]
    return float(level * _HALF ** sum(earlier))


def answered(shop: Workshop, run: Run, rows: str) -> Run | None:
    """Return the earlier run that was asked the same on the same test rows, and finished.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    run : Run
        That asks.
    rows : str
        Digest that names the test rows.
    """
    for each in _before(shop, run):
        is_whole = each.state == "done" and not (each.outcome or {}).get("is_cut", True)
        # How long it might take, and whether it is rolled out, is no part of the question.
        is_same = {**each.spec, **_NO_PART} == {**run.spec, **_NO_PART}
        if is_whole and is_same and _used(shop, each, str(run.spec.get("source")), rows):
            return each
    return None


def no_further(judged: Judged, certificate: Certificate) -> Judged:
    """Return a look that accepts nothing that was not certified.

    Parameters
    ----------
    judged : Judged
        The gate's look at what was registered.
    certificate : Certificate
        Of the same model.

    Notes
    -----
    The gate asks for the metric on all rows, at its own level. The certificate asks for slices,
    further limits and the order of the tests besides, and pays for having been asked before.
    """
    verdict = judged.verdict
    if verdict.outcome != "accept" or is_certified(certificate):
        return judged
    reason = f"{verdict.reason}; but not certified: {certificate.certified.reason}"
    held = replace(
        verdict, outcome="undecided", reason=reason, next_action="certify it on more rows"
    )
    return replace(judged, verdict=held)


def is_certified(certificate: Certificate) -> bool:
    """Whether something was certified."""
    return certificate.certified.status == "certified"


def _before(shop: Workshop, run: Run) -> list[Run]:
    """Return earlier compressions of the model; what only repeats an answer is none."""
    found = last_runs(shop.db, shop.spec.name, kind=COMPRESS, limit=_ALL_RUNS)
    return [each for each in found if each.id < run.id and not (each.outcome or {}).get("same_as")]


def _nothing_to_test_on(found: Found, goal: Goal) -> Certified:
    """Return the result of a search whose test rows are all used up, or not there yet."""
    best = [
        each for each in found.trials if each.artifact and found.gains[each.key] >= -found.margin
    ]
    reason = "No test row is left that neither model has trained on: wait for labels."
    status: Status = "uncertified" if best else "infeasible"
    key = min(best, key=lambda each: each.size.bytes).key if best else None  # type: ignore[union-attr]  # what has an artifact has a size
    return Certified(status, found.margin, goal.alpha, (), None, key, None, reason)


def _used(shop: Workshop, run: Run, source: str, rows: str) -> bool:
    """Whether an earlier run has tested a model of a source on the same rows."""
    is_same = run.spec.get("source") == source
    return is_same and any(each.get("rows") == rows for each in _tested(shop, run))


def _tested(shop: Workshop, run: Run) -> list[Mapping[str, Any]]:
    """Return the certificates of a run for which a model was tested; others have told nothing."""
    done = [each for each in steps_of(shop.db, run.id) if each["name"].startswith("certify")]
    found: list[Mapping[str, Any]] = [each["output"] or {} for each in done]
    return [
        each
        for each in found
        if any(one.get("claims") for one in (each.get("certified") or {}).get("tested") or ())
    ]


def _shared(shop: Workshop, certificate: Mapping[str, Any], rows: Rows) -> float:
    """Return which share of some rows an earlier certification has looked at."""
    if certificate.get("rows") == rows_id(rows) or not certificate.get("keys"):
        return 1.0
    earlier = KeySet.from_bytes(shop.store.get(str(certificate["keys"])))
    return float(np.isin(rows.key_hash, earlier.keys).mean())
