"""Which rows a request for labels is about, and which of them are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renewal.core.clock import to_us
from renewal.core.errors import Invalid, Refused
from renewal.core.ids import new_id
from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.evaluate.blocks import blocks_of
from renewal.evaluate.metrics import metric
from renewal.gate.claims import LOSS
from renewal.gate.label_plan import LabelPlan, plan_labels
from renewal.gate.ledger import grant, rows_used
from renewal.gate.options import GateOptions
from renewal.gate.proving import levels_of, lines_of
from renewal.gate.requests import Frame, LabelRequest
from renewal.gate.wording import counted
from renewal.loop.comparing import Unscorable, block_us, scores_of, unseen_by
from renewal.loop.deciding import Said, decisive
from renewal.loop.evidence import forward
from renewal.loop.workshop import Workshop
from renewal.models.task import Task
from renewal.stats.sampling import draw, inclusion_probabilities
from renewal.update.stretches import judged_rows

_WHO = "renewal label-request"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person asks for; None leaves it to the policy and the plan.

    Parameters
    ----------
    n_labels : int >= 1 or None
        Labels that can be afforded; None: as many as the plan needs.
    metric : {"accuracy", "loss"} or None
        What the rows are chosen for; None: accuracy where all claims of the policy are
        about it, else loss.
    gain : float > 0 or None
        The true gain that the labels should find; None: the smallest worth shipping.
    seed : int, default 0
        Of the draw.
    anew : bool, default False
        Ask again although a request for this pair is open.
    """

    n_labels: int | None = None
    metric: str | None = None
    gain: float | None = None
    seed: int = 0
    anew: bool = False


def choose(
    shop: Workshop, candidate: Version, champion: Version, wanted: Wanted
) -> tuple[LabelRequest, int, LabelPlan | None]:
    """Choose the rows to ask about and keep the frame; nothing is written down yet.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate, champion : Version
        The pair.
    wanted : Wanted
        How many, for what.

    Returns
    -------
    request : LabelRequest
        Its frame is in the store.
    n_decisive : int
        Rows without a label on which the two can differ.
    plan : LabelPlan or None
        None where nothing says which gain is worth finding.
    """
    task = load_plugin("tasks", shop.spec.task)()
    name = _metric_of(shop.gate, task, wanted.metric)
    rows, n_seen = _frame_rows(shop, candidate, champion)
    blocks = blocks_of(rows, block_us(shop), is_timed=shop.spec.time is not None)
    least = shop.gate.least(is_ordered=blocks.is_ordered)
    if len(blocks.ids) < least:
        raise Refused(
            _WHO,
            needs=f"rows in {least} blocks: the gate decides nothing on fewer",
            came=f"{len(rows):,} rows in {counted(len(blocks.ids), blocks.unit)}",
            todo="Wait for more rows.",
        )
    old, new = (_said(shop, version, rows) for version in (champion, candidate))
    chosen = decisive(task, name, old, new)
    expected = _expected(task, chosen.expected, rows, old)
    effect = _effect(shop.gate, wanted.gain, expected)
    plan = None
    if effect is not None and effect > 0.0:
        level = grant(shop.db, shop.spec.name, (candidate.id, champion.id), shop.gate).level
        plan = plan_labels(
            chosen.size,
            rows.has_label,
            n_blocks=len(blocks.ids),
            effect=effect,
            alpha=levels_of(shop.gate, level, is_first=True).accept,
        )
    chance, is_asked, n_decisive = _drawn(chosen.size, rows, wanted, plan)
    at = np.flatnonzero(is_asked | (rows.has_label & (chance > 0)))
    frame = Frame(
        key_hash=rows.key_hash,
        group_hash=rows.group_hash,
        event_us=rows.event_us,
        blocks=blocks.ids,
        block_at=blocks.at.astype(np.int64),
        at=at,
        chance=chance[at],
        is_asked=is_asked[at],
        baseline_scores=old.scores[at],
        candidate_scores=new.scores[at],
        unit=blocks.unit,
        is_ordered=blocks.is_ordered,
        n_seen=n_seen,
        expected=1.0 if expected is None else expected,
    )
    request = LabelRequest(
        id=new_id(),
        model=shop.spec.name,
        candidate=candidate.id,
        baseline=champion.id,
        metric=name,
        n_frame=len(rows),
        n_asked=int(is_asked.sum()),
        frame=shop.store.put(frame.to_bytes()),
        made_at=shop.clock.now(),
    )
    return request, n_decisive, plan


def _drawn(
    size: NDArray[np.float64], rows: Rows, wanted: Wanted, plan: LabelPlan | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Return the chance of each row, which were drawn, and how many could have been."""
    is_known = rows.has_label
    chance = np.where(is_known & (size > 0), 1.0, 0.0)
    is_asked = np.zeros(len(rows), np.bool_)
    n_decisive = int((~is_known & (size > 0)).sum())
    if n_decisive:
        unlabelled = np.flatnonzero(~is_known)
        n_labels = _n_labels(wanted, plan, n_rows=len(rows))
        chance[unlabelled] = inclusion_probabilities(size[unlabelled], n_labels)
        is_asked[unlabelled[draw(chance[unlabelled], seed=wanted.seed)]] = True
    return chance, is_asked, n_decisive


def _metric_of(options: GateOptions, task: Task, wanted: str | None) -> str:
    """Return what rows are chosen for, once every claim can be proved by their labels."""
    proofs = options.proofs
    on_accuracy = all(each.metric == "accuracy" for each in proofs)
    name = wanted or ("accuracy" if on_accuracy else "loss")
    if name not in {"accuracy", "loss"}:
        raise Invalid(_WHO, needs="--metric accuracy or loss", came=repr(name), todo="Take one.")
    if name == "accuracy" and task.name not in metric("accuracy").tasks:
        raise Invalid(
            _WHO,
            needs="a task whose rows have a label that is right or wrong",
            came=f"the task {task.name!r}",
            todo="Leave --metric out: the loss decides.",
        )
    for proof in proofs:
        if name == "accuracy" and (proof.metric != "accuracy" or proof.is_share):
            raise Invalid(
                f"{_WHO} --metric accuracy",
                needs="claims on accuracy, with margins in points: rows on which both versions "
                "say the same get no label",
                came=f"the claim {proof}",
                todo="Write must_prove = ['superior(accuracy)'] in [gate], or leave --metric out.",
            )
        if proof.metric != LOSS and metric(proof.metric).kind != "row":
            raise Invalid(
                _WHO,
                needs="claims on a loss or another mean over rows",
                came=f"the claim {proof}",
                todo="Prove it on rows that are labelled at random: renewal gate.",
            )
    return name


def _frame_rows(shop: Workshop, candidate: Version, champion: Version) -> tuple[Rows, int]:
    """Return every row on which the two may be judged, labelled or not."""
    window = forward(shop, shop.clock.now())
    if window is None:
        rows = judged_rows(shop.feed.rows(), None, salt=shop.salt)
    else:
        trained = [each.manifest.trained_until for each in (candidate, champion)]
        cuts = [to_us(each) + 1 for each in trained if each is not None]
        rows = shop.feed.rows(since_us=max(window.judge_from_us, *cuts, 0))
    n_all = len(rows)
    pair = (candidate.id, champion.id)
    for digest in rows_used(shop.db, shop.spec.name, besides=pair):
        used = KeySet.from_bytes(shop.store.get(digest))
        rows = rows.take(~np.isin(rows.key_hash, used.keys))
    if not len(rows):
        raise Refused(
            _WHO,
            needs="rows that came after both versions were fitted, and that no verdict has used",
            came=f"{n_all:,} rows, all of them used" if n_all else "none",
            todo="Append newer rows; they need no label.",
        )
    rows, _n_trained = unseen_by(shop, rows, candidate, champion)
    if rows.has_label.all():
        raise Refused(
            _WHO,
            needs="rows without a label",
            came=f"{len(rows):,} rows, every one of them labelled",
            todo="Let the gate judge them: renewal gate.",
        )
    return rows, n_all - len(rows)


def _said(shop: Workshop, version: Version, rows: Rows) -> Said:
    scores = scores_of(shop, version, rows)
    if not np.isfinite(scores).all():
        n_bad = int((~np.isfinite(scores).all(axis=1)).sum())
        raise Unscorable.of(version, f"NaN or infinite scores of {n_bad:,} of {len(rows):,} rows")
    return Said(scores, version.manifest.classes)


def _expected(task: Task, guess: float | None, rows: Rows, old: Said) -> float | None:
    """Return the champion's metric: as its own probabilities have it, else on labelled rows."""
    if guess is not None:
        return guess
    known = rows.has_label
    if not known.any():
        return None
    labels = task.labels(rows.take(known).label, who=_WHO)
    return float(task.loss(old.scores[known], labels, old.classes).mean())


def _effect(options: GateOptions, gain: float | None, expected: float | None) -> float | None:
    """Return the gain beyond its margin that the hardest claim needs; None: nobody knows."""
    found = []
    for proof in options.proofs:
        if expected is None and (gain is None or proof.is_share):
            return None
        lines = lines_of(proof, expected or 0.0, options)
        # A gain of just the margin is found by no number of labels: plan for twice as much.
        least = {"no_worse": 0.0, "superior": lines.smallest_gain}.get(
            proof.kind, max(lines.smallest_gain, 2.0 * lines.margin)
        )
        found.append((least if gain is None else gain) - lines.margin)
    return min(found)


def _n_labels(wanted: Wanted, plan: LabelPlan | None, *, n_rows: int) -> int:
    if wanted.n_labels is not None:
        if wanted.n_labels < 1:
            raise Invalid(
                _WHO,
                needs="at least one label",
                came=f"--labels {wanted.n_labels}",
                todo="Leave --labels out: the command says how many are needed.",
            )
        return wanted.n_labels
    if plan is None:
        raise Refused(
            _WHO,
            needs="a gain worth finding, to plan for",
            came="a policy and rows that give none",
            todo="Name it with --gain, or the labels that you can afford with --labels.",
        )
    if plan.n_labels is None:
        raise Refused(
            _WHO,
            needs=f"about {plan.n_rows:,} rows to find a gain of {plan.effect:.3g} with a chance "
            f"of 80% at {plan.alpha:.3g}",
            came=f"{n_rows:,} rows, too few even if each had a label",
            todo="Wait for more rows, plan for more with --gain, or name --labels all the same.",
            n_rows=plan.n_rows,
        )
    return max(plan.n_labels, 1)
