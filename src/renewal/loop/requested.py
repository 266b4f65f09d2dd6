"""The verdict on labels that were asked for, and rows that no other comparison may count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renewal.core.plugin import load_plugin
from renewal.core.verdict import Clause, Verdict
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.evaluate.metrics import metric
from renewal.gate.claims import LOSS, Proof
from renewal.gate.judge import judge, not_judged
from renewal.gate.ledger import grant
from renewal.gate.options import GateOptions
from renewal.gate.requests import (
    LEAST_SHARE,
    Answer,
    Frame,
    LabelRequest,
    evidence_of,
    is_complete,
)
from renewal.gate.vetoes import untold, vetoes
from renewal.loop.judging import Judged
from renewal.loop.labelling import counted_rows
from renewal.loop.sampled import frame_of
from renewal.loop.workshop import Workshop
from renewal.models.task import Classes, Task


def requested_verdict(
    shop: Workshop, candidate: Version, champion: Version, request: LabelRequest
) -> Judged:
    """Take the one fixed look at a pair on the labels that were asked for it.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate, champion : Version
        The pair of the request.
    request : LabelRequest
        Newest of the pair.

    Returns
    -------
    Judged
        Undecided, with what is missing, while fewer than nine of ten asked labels came; no
        error is spent then. All rows of the frame count as used: they informed the verdict.
        Guards cannot tell: the labels were chosen to compare, not to look for harm.

    Notes
    -----
    No version is loaded: what they said is kept with the request.
    """
    frame = frame_of(shop, request)
    rows, at = counted_rows(shop, frame)
    came = np.zeros(len(frame.at), np.bool_)
    came[at[rows.has_label]] = True
    n_came = int((came & frame.is_asked).sum())
    if request.n_asked and not is_complete(n_came / request.n_asked):
        return Judged(_incomplete(shop, candidate, champion, request, n_came))
    task = load_plugin("tasks", shop.spec.task)()
    classes = (champion.manifest.classes, candidate.manifest.classes)
    evidence = []
    for proof in shop.gate.proofs:
        answer = _answer(task, proof, frame, (rows.labelled(), came), classes)
        evidence.append(evidence_of(proof, request, frame, answer))
    pair = (candidate.id, champion.id)
    verdict = judge(
        evidence,
        shop.gate,
        grant=grant(shop.db, shop.spec.name, pair, shop.gate),
        is_first=True,
        vetoes=_untold(shop.gate, int(came.sum()), len(frame.blocks)),
        notes=_notes(request, frame, n_came),
    )
    keys, groups = np.unique(frame.key_hash), np.unique(frame.group_hash)
    used = KeySet(keys, keys if np.array_equal(keys, groups) else groups)
    return Judged(
        verdict,
        rows=shop.store.put(used.to_bytes()),
        series=tuple(shop.store.put(each.series.to_bytes()) for each in evidence),
    )


def _incomplete(
    shop: Workshop, candidate: Version, champion: Version, request: LabelRequest, n_came: int
) -> Verdict:
    n_missing = request.n_asked - n_came
    loss = load_plugin("tasks", shop.spec.task)().loss_name
    proof = shop.gate.proofs[0]
    return not_judged(
        candidate.id,
        champion.id,
        shop.gate,
        loss=loss if proof.metric == LOSS else proof.metric,
        outcome="undecided",
        reason=f"{n_came:,} of {request.n_asked:,} asked labels came; "
        f"{LEAST_SHARE:.0%} are needed before anything is looked at",
        next_action=f"label the other {n_missing:,} rows: renewal label-request, then "
        "renewal feedback",
    )


def _answer(
    task: Task,
    proof: Proof,
    frame: Frame,
    labelled: tuple[Rows, NDArray[np.bool_]],
    classes: tuple[Classes, Classes],
) -> Answer:
    """Measure both versions, as they were when they were asked, on the labels that came."""
    rows, came = labelled
    named = None if proof.metric == LOSS else metric(proof.metric)
    found = []
    both = (frame.baseline_scores, frame.candidate_scores)
    for known, scores in zip(classes, both, strict=True):
        if not came.any():
            found.append(np.empty(0))
            continue
        labels = task.labels(rows.label, who="the gate")
        per_row = task.loss if named is None or named.per_row is None else named.per_row
        found.append(np.asarray(per_row(scores[came], labels, known), float))
    if named is None:
        bound = task.loss_bound
        reach = np.inf if bound is None else bound
        return Answer(task.loss_name, came, found[0], found[1], False, reach)
    low, high = named.bounds
    reach = np.inf if low is None or high is None else high - low
    return Answer(named.name, came, found[0], found[1], named.higher_is_better, reach)


def _notes(request: LabelRequest, frame: Frame, n_came: int) -> tuple[str, ...]:
    if not len(frame.at):
        return (f"the two answer alike on all {request.n_frame:,} rows",)
    n_known = len(frame.at) - request.n_asked
    told = f"decided by {n_came:,} labels that were asked for"
    if n_known:
        told += f" and {n_known:,} that were there"
    if n_came < request.n_asked:
        told += f" ({request.n_asked - n_came:,} did not come, taken as missing at random)"
    return (told,)


def _untold(options: GateOptions, n_rows: int, n_blocks: int) -> tuple[Clause, ...]:
    """Return a clause that cannot tell for every guard of the policy."""
    guards = options.guards
    wanted = {
        "negative flips": guards.max_negative_flips,
        "calibration": guards.calibration_margin,
        "latency": guards.max_latency_ratio or guards.max_latency_ms,
        "size": guards.max_bytes,
        "memory": guards.max_memory_bytes,
    }
    names = [
        *(f"slice {each}" for each in guards.slices),
        *(f"fairness {each}" for each in guards.groups),
        *(f"robustness {each}" for each in guards.robustness),
        *(name for name, limit in wanted.items() if limit is not None),
    ]
    harms = [
        untold(
            name,
            f"{name}: labels that were asked for to compare two versions are",
            np.nan,
            np.nan,
            n_rows=n_rows,
            n_blocks=n_blocks,
        )
        for name in names
    ]
    return vetoes(harms, guards.alpha)
