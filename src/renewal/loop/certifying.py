"""Certification over the rooms: test rows, the gate's own tests of one look, the front in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from renewal.compress.certify import Certified, Contender, Evidence, certify
from renewal.compress.estimate import value_of
from renewal.compress.form import Form
from renewal.compress.goal import LOSS, Goal
from renewal.compress.trial import Trial
from renewal.core.errors import Invalid
from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.evaluate.metrics import metric
from renewal.evaluate.report import Report, Scored
from renewal.evaluate.slices import slices_of
from renewal.gate.gathering import Undefined, gather
from renewal.loop.asking import gate_for, with_spread
from renewal.loop.comparing import report_of
from renewal.loop.workshop import Workshop
from renewal.stats.apart import Spread
from renewal.stats.paired import PairedMean, paired_mean

_WHO = "compress"
_NEXT_TO_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Entrant:
    """A trial of the front with its model and what is asked of it besides the metric.

    Parameters
    ----------
    trial : Trial
        Which.
    form : Form
        Loaded from its stored bytes.
    value : float
        Of the objective.
    over : tuple of str
        Further limits that it does not hold.
    spread : Spread or None
        How much the gain of a row varies, as validation rows tell it.
    memory_bytes : int or None
        What loading it adds to a process, where the goal limits that.
    """

    trial: Trial
    form: Form
    value: float
    over: tuple[str, ...] = ()
    spread: Spread | None = None
    memory_bytes: int | None = None


def claim_of(goal: Goal, margin: float) -> str:
    """Return the claim of a compressed version, as `renewal.gate.claims.parse_proof` reads it.

    A claim needs a margin: where none is allowed, one that no rows can tell from it.
    """
    shown = f"{max(margin, _NEXT_TO_NOTHING):.9f}"
    return f"no_worse({shown})" if goal.metric == LOSS else f"no_worse({goal.metric}, {shown})"


def certified(
    shop: Workshop,
    parent: tuple[Version, Form],
    entrants: Sequence[Entrant],
    rows: Rows,
    goal: Goal,
    *,
    alpha: float,
) -> tuple[Certified, float]:
    """Certify the models of a front on test rows; return the result and the parent's value.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    parent : tuple of (Version, Form)
        What was compressed.
    entrants : sequence of Entrant
        In the order of the tests; at least none.
    rows : Rows
        Labelled test rows; unseen by the parent, and by every search.
    goal : Goal
        Settled.
    alpha : float
        Chance that any is certified that does not hold the line.

    Raises
    ------
    Invalid
        When the metric is undefined on these rows.
    """
    version, form = parent
    forms = {version.id: form, **{each.trial.key: each.form for each in entrants}}
    names = {version.id: version.name, **{each.trial.key: each.trial.chain for each in entrants}}
    scored = [
        Scored(key, each.predict(rows.features), each.classes, names[key])
        for key, each in forms.items()
    ]
    look = _Look(shop, version, goal)
    report = report_of(shop, rows, scored, (version,), n_seen=0)
    value = look.value(report)
    margin = goal.margin(value)
    slices = look.slices(report, scored, margin)
    contenders = [
        Contender(
            key=each.trial.key,
            label=each.trial.chain,
            value=each.value,
            evidence=look.evidence(report, each.trial.key, margin, each.spread),
            slices={
                name: replace(look.evidence(part, each.trial.key, line), margin=line)
                for name, (part, line) in slices.items()
            },
            over=each.over,
        )
        for each in entrants
    ]
    least = shop.gate.least(is_ordered=report.blocks.is_ordered)
    blocks = report.blocks
    unit = "row" if len(blocks.ids) == report.n_rows else blocks.unit
    found = certify(contenders, margin=margin, alpha=alpha, least_rows=least, unit=unit)
    return found, value


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What is asked of every model, on all rows and on slices of them."""

    shop: Workshop
    parent: Version
    goal: Goal

    def value(self, report: Report) -> float:
        """Return the parent's metric."""
        scored = report.of(self.parent.id).scored
        return value_of(report.task, self.goal, scored.scores, scored.classes, report.labels)

    def slices(
        self, report: Report, scored: Sequence[Scored], margin: float
    ) -> Mapping[str, tuple[Report, float]]:
        """Return the report on each slice that must hold by itself, and its line."""
        found = {}
        declared = self.goal.slices
        for each in slices_of(report.rows.described, declared) if declared else ():
            part = report_of(
                self.shop,
                report.rows.take(each.mask),
                [replace(one, scores=one.scores[each.mask]) for one in scored],
                (self.parent,),
                n_seen=0,
            )
            value = self.value(part)
            is_defined = bool(np.isfinite(value))
            line = self.goal.slice_margin(value, margin=margin) if is_defined else margin
            found[each.name] = (part, line)
        return found

    def evidence(
        self, report: Report, key: str, margin: float, spread: Spread | None = None
    ) -> Evidence:
        """Return what the rows of a report say of a model beside its parent."""
        lost, gained = _flips(report, self.parent.id, key)
        if self.goal.is_absolute:
            bounds = _beside_the_line(report, self.goal, key, self.value(report))
            return Evidence(bounds.mean, bounds, bounds.n, lost=lost, gained=gained)
        options = gate_for(self.shop.gate, claim_of(self.goal, margin))
        try:
            (found,) = gather(report, key, self.parent.id, options)
        except Undefined:
            # Rows of one class, say, show nothing of an AUC: nothing is claimed on them.
            return Evidence(float("nan"), _Nothing(), 0)
        estimate = with_spread(found, spread).estimate
        return Evidence(estimate.gain, estimate.bounds, estimate.n_blocks, lost=lost, gained=gained)


class _Nothing:
    """The bounds of a gain of which nothing is known."""

    def lower(self, alpha: float) -> float:  # noqa: ARG002  # part of the protocol
        """Return no bound."""
        return float("-inf")

    def p_value(self, margin: float = 0.0) -> float:  # noqa: ARG002  # part of the protocol
        """Show nothing."""
        return 1.0


def _beside_the_line(report: Report, goal: Goal, key: str, parent_value: float) -> PairedMean:
    """Return the bounds of a model's own value, told as a gain over the value of its parent.

    The parent's value is an estimate, too: the paired test says nothing of where it lies. So
    the rows of the model alone are tested against the line, and the gain, which is told
    beside the parent's value, is shifted by the same.
    """
    name = goal.metric or LOSS
    scored = report.of(key).scored
    if name == LOSS:
        values = report.of(key).losses
    else:
        found = metric(name, classes=scored.classes) if ":" not in name else None
        if found is None or found.per_row is None:
            raise Invalid(
                _WHO,
                needs="a metric that is a mean over rows, for a line that is absolute",
                came=name,
                todo="Give the line as a drop from the parent, such as --tau -0.01.",
            )
        values = np.asarray(found.per_row(scored.scores, report.labels, scored.classes), float)
    sign = 1.0 if goal.higher_is_better else -1.0
    weights = np.bincount(report.blocks.at, minlength=len(report.blocks.ids))
    means = np.bincount(report.blocks.at, weights=sign * values) / weights
    return paired_mean(
        means - sign * parent_value,
        weights=weights.astype(np.float64),
        ordered=report.blocks.is_ordered,
    )


def _flips(report: Report, parent: str, key: str) -> tuple[int | None, int | None]:
    """Return the rows that only the parent, and only the model, gets right."""
    ours, theirs = report.of(key).scored, report.of(parent).scored
    if not ours.classes or report.task.name == "multilabel":
        return None, None
    right = [
        np.array(each.classes, dtype=object)[each.scores.argmax(axis=1)] == report.labels
        for each in (ours, theirs)
    ]
    return int(np.sum(~right[0] & right[1])), int(np.sum(right[0] & ~right[1]))
