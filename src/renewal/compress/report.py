"""What a compression has come to: size, time, flips and bound beside the parent, and the front.

Plain values: as JSON for the facts of a version, and as text of at most 80 columns. The chart
of the front is drawn by `renewal.compress.altair`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from renewal.compress.certify import Certified, Claim
from renewal.compress.front import Point, front
from renewal.compress.goal import Goal
from renewal.compress.size import Objective, Size
from renewal.evaluate.cost import Cost

UNITS: Mapping[Objective, str] = {
    "bytes": "bytes",
    "parameters": "parameters that are not zero",
    "l1": "L1 norm of the weights",
    "macs": "multiplications of a row",
    "latency": "ms for one row",
}
_WIDTH = 80
_CHAIN = 38


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of a call with 1 row and with 64: the median, and what 99 of 100 keep.

    Parameters
    ----------
    p50_1, p99_1, p50_64, p99_64 : float, milliseconds
        NaN where it was not measured.
    """

    p50_1: float = math.nan
    p99_1: float = math.nan
    p50_64: float = math.nan
    p99_64: float = math.nan

    @classmethod
    def of(cls, cost: Cost) -> Latency:
        """Return the quantiles of what was measured."""
        return cls(
            cost.latency_ms_p50_1,
            cost.latency_ms_p99_1,
            cost.latency_ms_p50_64,
            cost.latency_ms_p99_64,
        )


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models that a report compares.

    Parameters
    ----------
    name : str
        Of the version, or its chain.
    size : Size or None
        How large it is.
    latency : Latency
        What a call takes, in the runtime that serves it.
    memory_bytes : int or None
        What loading it adds to a process.
    """

    name: str
    size: Size | None
    latency: Latency = Latency()
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A trial in the picture of the front.

    Parameters
    ----------
    key, chain : str
        Of the trial.
    value : float
        Of the objective.
    gain : float
        Over the parent: on the test rows where `lower` is given, else on validation rows.
    lower : float or None
        Its bound on the test rows; None where it was not tested.
    kind : {"certified", "tested", "on the front", "other"}
        What became of it.
    """

    key: str
    chain: str
    value: float
    gain: float
    lower: float | None
    kind: str


@dataclass(frozen=True, slots=True)
class CompressionReport:
    """What a compression has come to.

    Parameters
    ----------
    status, reason : str
        Of the certification.
    line, metric : str
        What had to hold, in words, and by which metric.
    objective : str
        What was to be minimal.
    margin, alpha : float
        Of the certification.
    chain : str or None
        Of the model that the report is about: the certified, or else the nearest one.
    parent : Side
        What was compressed.
    model : Side or None
        The certified model, or else the nearest one.
    claims : tuple of Claim
        What was shown of it: on all rows, then on slices.
    rows_missing : int or None
        Where it is uncertified.
    marks : tuple of Mark
        Every trial that came to a model, the largest first.
    parent_value : float or None, default None
        Of the objective for the parent.
    unit : str, default "row"
        What claims count.
    """

    status: str
    reason: str
    line: str
    metric: str
    objective: Objective
    margin: float
    alpha: float
    chain: str | None
    parent: Side
    model: Side | None
    claims: tuple[Claim, ...]
    rows_missing: int | None
    marks: tuple[Mark, ...]
    parent_value: float | None = None
    unit: str = "row"


def report_of(
    certified: Certified,
    goal: Goal,
    *,
    parent: Side,
    model: Side | None,
    points: Iterable[Point] = (),
    parent_value: float | None = None,
) -> CompressionReport:
    """Put together what a compression has come to.

    Parameters
    ----------
    certified : Certified
        Its certification.
    goal : Goal
        Settled.
    parent, model : Side
        What was compressed, and the model `certified.best`; None where there is none.
    points : iterable of Point
        Every trial that came to a model.
    parent_value : float or None
        Of the objective for the parent; None: by its size.
    """
    about = next((each for each in certified.tested if each.key == certified.best), None)
    about = None if model is None else about
    if parent_value is None and parent.size is not None:
        parent_value = parent.size.of(goal.objective)
    return CompressionReport(
        status=str(certified.status),
        reason=certified.reason,
        line=goal.line,
        metric=goal.metric or "accuracy",
        objective=goal.objective,
        margin=certified.margin,
        alpha=certified.alpha,
        chain=None if about is None else about.label,
        parent=parent,
        model=model,
        claims=() if about is None else about.claims,
        rows_missing=certified.rows_missing,
        marks=_marks(certified, tuple(points)),
        parent_value=parent_value,
        unit=certified.unit,
    )


def plain(report: CompressionReport) -> dict[str, Any]:
    """Return a report as JSON values: what is not finite becomes None."""
    found: dict[str, Any] = _plain(report)
    return found


def to_text(report: CompressionReport) -> str:
    """Write a report as lines of at most 80 columns.

    Examples
    --------
    >>> goal = Goal(tau=-0.01, metric="accuracy")
    >>> none = Certified("infeasible", 0.01, 0.05, (), None, None, None, "Nothing to test.")
    >>> side = Side("parent", Size(4000, 900, 900, 10.0, None))
    >>> print(to_text(report_of(none, goal, parent=side, model=None)))
    INFEASIBLE: Nothing to test.
    To hold: accuracy falls by at most 0.01. To be minimal: bytes.
    """
    parts = [
        f"{report.status.upper()}: {report.reason}",
        f"To hold: {report.line}. To be minimal: {UNITS[report.objective]}.",
    ]
    lines = [line for part in parts for line in textwrap.wrap(part, _WIDTH)]
    if report.chain is not None:
        lines += textwrap.wrap(f"Chain: {report.chain}", _WIDTH, subsequent_indent="  ")
    if report.model is not None:
        lines += ["", *_compared(report.parent, report.model)]
    if report.claims:
        lines += ["", *_claimed(report)]
    shown = [each for each in report.marks if each.kind != "other"]
    if shown:
        lines += ["", *_front(report, shown)]
    return "\n".join(lines)


def _marks(certified: Certified, points: tuple[Point, ...]) -> tuple[Mark, ...]:
    on_front = {each.key for each in front(points)}
    judged = {each.key: each for each in certified.tested}
    found = []
    for each in points:
        claim = judged[each.key].overall if each.key in judged else None
        kind = "on the front" if each.key in on_front else "other"
        if claim is not None:
            kind = "certified" if judged[each.key].certified else "tested"
        gain, lower = (each.gain, None) if claim is None else (claim.gain, claim.lower)
        # The objective may have been measured again for the certification.
        value = judged[each.key].value if each.key in judged else each.value
        found.append(Mark(each.key, each.label, value, gain, lower, kind))
    return tuple(sorted(found, key=lambda it: (-it.value, it.key)))


def _compared(parent: Side, model: Side) -> list[str]:
    rows = [(name, *map(_whole, pair), _ratio(*pair)) for name, pair in _sizes(parent, model)]
    for name, key in (
        ("ms, 1 row, p50", "p50_1"),
        ("ms, 1 row, p99", "p99_1"),
        ("ms, 64 rows, p50", "p50_64"),
        ("ms, 64 rows, p99", "p99_64"),
    ):
        pair = (getattr(parent.latency, key), getattr(model.latency, key))
        if any(math.isfinite(each) for each in pair):
            rows.append((name, *map(_four, pair), _ratio(*pair)))
    head = f"{'':<22}{'parent':>18}{'compressed':>18}{'ratio':>12}"
    return [head, *(f"{name:<22}{old:>18}{new:>18}{ratio:>12}" for name, old, new, ratio in rows)]


def _sizes(parent: Side, model: Side) -> list[tuple[str, tuple[float, float]]]:
    found = []
    if parent.size is not None and model.size is not None:
        for name in ("bytes", "parameters", "nonzero", "l1", "macs"):
            old, new = getattr(parent.size, name), getattr(model.size, name)
            if old is not None or new is not None:
                found.append((name, (_number(old), _number(new))))
    if parent.memory_bytes is not None or model.memory_bytes is not None:
        both = (_number(parent.memory_bytes), _number(model.memory_bytes))
        found.append(("memory, bytes", both))
    return found


def _claimed(report: CompressionReport) -> list[str]:
    sure = f"{100.0 * (1.0 - report.alpha):.4g}% bound"
    lines = [f"{'where':<24}{report.unit + 's':>9}{'lost':>8}{'gained':>8}{'gain':>10}{sure:>14}"]
    for each in report.claims:
        flips = [("-" if flip is None else f"{flip:,}") for flip in (each.lost, each.gained)]
        lines.append(
            f"{_cut(each.where, 24):<24}{each.n:>9,}{flips[0]:>8}{flips[1]:>8}"
            f"{each.gain:>+10.4f}{each.lower:>+14.4f}"
        )
    return lines


def _front(report: CompressionReport, marks: list[Mark]) -> list[str]:
    lines = [f"{'chain':<{_CHAIN}}{report.objective:>12}{'gain':>9}{'bound':>9}  {'':<10}"]
    for each in marks:
        bound = "-" if each.lower is None else f"{each.lower:+.4f}"
        kind = "" if each.kind == "on the front" else each.kind
        name = _cut(each.chain, _CHAIN)
        value = _whole(each.value) if report.objective != "latency" else _four(each.value)
        lines.append(f"{name:<{_CHAIN}}{value:>12}{each.gain:>+9.4f}{bound:>9}  {kind}")
    return [line.rstrip() for line in lines]


def _cut(text: str, width: int) -> str:
    """Return text that leaves a blank at the end of its column."""
    return text if len(text) < width else f"{text[: width - 4]}..."


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _whole(value: float) -> str:
    """Return a number as it is read: whole where large, in the short form where huge."""
    if not math.isfinite(value):
        return "-"
    if abs(value) >= 1e14:
        return f"{value:.4g}"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def _four(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _ratio(old: float, new: float) -> str:
    """Return how many times smaller or faster; a dash where nobody can tell."""
    if not (math.isfinite(old) and math.isfinite(new)) or new <= 0.0 or old <= 0.0:
        return "-"
    return f"{old / new:.3g}x"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
