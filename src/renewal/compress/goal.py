"""What a compression is to reach: the smallest model that still holds a line."""

from __future__ import annotations

import math
import re
import typing
from dataclasses import dataclass, replace
from difflib import get_close_matches

from renewal.compress.size import Objective
from renewal.core.errors import Invalid
from renewal.evaluate.cost_metric import COST
from renewal.evaluate.metrics import metric
from renewal.models.task import Task

LOSS = "loss"
"""The metric that is the task's own loss, smaller is better."""

_ACCURACY = "accuracy"
_POINT = -0.01
_SHARE = "-1%"
_SHAPE = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?%?")


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be minimal, and the line that has to be held; as a policy writes it.

    Parameters
    ----------
    tau : float, str or None, default None
        Negative or 0: the largest drop from the parent, in the unit of the metric; where
        smaller values are better, the largest rise. Positive: the line itself, which the
        metric must hold (``0.93``). With a percent sign and negative: a share of the parent's
        value (``-1%``). None: one point (``-0.01``) where the metric lies between 0 and 1 and
        larger is better, else ``-1%``.
    metric : str or None, default None
        A name that `renewal.evaluate.metrics.metric` takes, ``loss``, ``cost``, or a user's
        own ``module:function``, where larger is better unless a ``-`` stands before it. None:
        ``accuracy`` where the task has classes, else ``loss``.
    objective : {"bytes", "parameters", "l1", "macs", "latency"}, default "bytes"
        What is to be minimal.
    slices : tuple of str
        Rows that must hold by themselves, as in the gate's guards; see
        `renewal.evaluate.slices`.
    slice_tau : float, str or None, default None
        Largest drop within a slice, 0 or negative, or a share. None: that of all rows.
    max_latency_ms : float or None
        Largest 99th percentile of the latency of one row, milliseconds.
    max_memory_bytes, max_bytes : int or None
        Largest growth of a process that loads it, and largest artifact.
    alpha : float in (0, 0.5), default 0.05
        Largest chance that what is certified does not hold the line.

    Examples
    --------
    >>> goal = Goal(tau="-1%", metric="auc")
    >>> round(goal.margin(0.9), 6), round(Goal(tau=0.93, metric="accuracy").margin(0.95), 6)
    (0.009, 0.02)

    A line above the parent's own value leaves no room at all:

    >>> round(Goal(tau=0.93, metric="accuracy").margin(0.90), 6)
    -0.03
    """

    tau: float | str | None = None
    metric: str | None = None
    objective: Objective = "bytes"
    slices: tuple[str, ...] = ()
    slice_tau: float | str | None = None
    max_latency_ms: float | None = None
    max_memory_bytes: int | None = None
    max_bytes: int | None = None
    alpha: float = 0.05

    def __post_init__(self) -> None:
        """Refuse a goal that means nothing, or surely not what was meant."""
        _check_objective(self.objective)
        if self.metric is not None:
            _direction(self.metric)
        if self.tau is not None:
            _check_reach(_parse(self.tau, "tau"), self.metric)
        if self.slice_tau is not None and _parse(self.slice_tau, "slice_tau").value > 0.0:
            raise _wrong("slice_tau", self.slice_tau, "a drop: 0, negative, or such as -2%")
        if not 0.0 < self.alpha < 0.5:
            raise _wrong("alpha", self.alpha, "a number between 0 and 0.5, both excluded")
        for name in ("max_latency_ms", "max_memory_bytes", "max_bytes"):
            limit = getattr(self, name)
            if limit is not None and not 0.0 < limit < math.inf:
                raise _wrong(name, limit, "a finite number above 0")

    def settled(self, task: Task) -> Goal:
        """Return the goal with its defaults for a task filled in.

        Raises
        ------
        Invalid
            When the metric does not suit the task.
        """
        name = self.metric or (_ACCURACY if task.name in metric(_ACCURACY).tasks else LOSS)
        if not _is_own(name):
            tasks = metric(name).tasks
            if tasks and task.name not in tasks and _is_built_in(task):
                raise Invalid(
                    "Goal",
                    needs=f"a metric for the task {task.name}",
                    came=f"{name!r}, which is for {' or '.join(tasks)}",
                    todo=f"Choose {LOSS} or one of {', '.join(task.metrics)}.",
                )
        settled = replace(self, metric=name, tau=_plain(self._tau_of(name)))
        if name == COST:
            raise Invalid(
                "Goal",
                needs="a metric that needs no table of costs",
                came=name,
                todo="Name another metric; guard the cost by a claim of the gate.",
            )
        if settled.is_absolute and not _is_mean(name):
            raise Invalid(
                "Goal",
                needs="a metric that is a mean over rows, for a line that is absolute",
                came=f"{name} with tau={settled.tau}",
                todo="Give the line as a drop from the parent, such as tau=-0.01.",
            )
        return settled

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return _direction(self.metric or _ACCURACY)

    @property
    def is_absolute(self) -> bool:
        """Whether the line is a value of the metric, and not a drop from the parent's."""
        return _parse(self._tau_of(self.metric or _ACCURACY), "tau").value > 0.0

    @property
    def line(self) -> str:
        """The line in words: ``accuracy falls by at most 0.01``."""
        name = (self.metric or _ACCURACY).removeprefix("-")
        tau = _parse(self._tau_of(self.metric or _ACCURACY), "tau")
        if tau.value > 0.0:
            return f"{name} is at {'least' if self.higher_is_better else 'most'} {tau.value:g}"
        most = f"{-100.0 * tau.value:g}% of it" if tau.is_share else f"{abs(tau.value):g}"
        return f"{name} {'falls' if self.higher_is_better else 'rises'} by at most {most}"

    def margin(self, parent_value: float) -> float:
        """Return the largest loss of gain that is allowed, in the unit of the metric.

        Parameters
        ----------
        parent_value : float
            The parent's value of the metric on the rows that certify.

        Returns
        -------
        float
            Negative where the line lies beyond the parent's own value: nothing that is as
            good as the parent holds it, and the search is infeasible from the start.

        Raises
        ------
        Invalid
            When the parent's value is NaN or infinite: the metric says nothing on these rows.
        """
        name = self.metric or _ACCURACY
        tau = _parse(self._tau_of(name), "tau")
        _check_value(name, parent_value)
        if tau.is_share:
            return -tau.value * abs(parent_value)
        if tau.value <= 0.0:
            return abs(tau.value)
        sign = 1.0 if _direction(name) else -1.0
        return sign * (parent_value - tau.value)

    def slice_margin(self, parent_value: float, *, margin: float) -> float:
        """Return the largest loss of gain within a slice.

        Parameters
        ----------
        parent_value : float
            The parent's value of the metric within the slice.
        margin : float
            That of all rows, which holds where the goal says nothing else.
        """
        if self.slice_tau is None:
            return margin
        tau = _parse(self.slice_tau, "slice_tau")
        if not tau.is_share:
            return abs(tau.value)
        _check_value(self.metric or _ACCURACY, parent_value)
        return -tau.value * abs(parent_value)

    def over(
        self,
        *,
        n_bytes: float | None = None,
        latency_ms: float | None = None,
        memory_bytes: float | None = None,
    ) -> tuple[str, ...]:
        """Return which of the further limits are not held, in words; empty: all are.

        A limit on what was not measured counts as not held.

        Parameters
        ----------
        n_bytes, memory_bytes : float or None
            Of the artifact, and what loading it adds to a process.
        latency_ms : float or None
            Its 99th percentile for one row.

        Examples
        --------
        >>> Goal(max_bytes=1000).over(n_bytes=1200), Goal().over()
        (('1,200 bytes, at most 1,000 allowed',), ())
        """
        found = []
        for what, value, limit in (
            ("bytes", n_bytes, self.max_bytes),
            ("ms for one row", latency_ms, self.max_latency_ms),
            ("bytes of memory", memory_bytes, self.max_memory_bytes),
        ):
            if limit is None:
                continue
            if value is None or math.isnan(value):
                found.append(f"{what} not measured, at most {limit:,} allowed")
            elif value > limit:
                shown = f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"
                found.append(f"{shown} {what}, at most {limit:,} allowed")
        return tuple(found)

    def _tau_of(self, name: str) -> float | str:
        if self.tau is not None:
            return self.tau
        if _is_own(name):
            return _SHARE
        found = metric(name)
        return _POINT if found.higher_is_better and found.bounds == (0.0, 1.0) else _SHARE


@dataclass(frozen=True, slots=True)
class _Tau:
    """A number, or a share of the parent's value."""

    value: float
    is_share: bool


def _parse(tau: float | str, name: str) -> _Tau:
    text = tau.strip() if isinstance(tau, str) else repr(float(tau))
    if not _SHAPE.fullmatch(text):
        raise _wrong(name, tau, "a number such as -0.01 or 0.93, or a share such as -1%")
    is_share = text.endswith("%")
    value = float(text.rstrip("%")) / (100.0 if is_share else 1.0)
    if is_share and not -1.0 < value <= 0.0:
        raise _wrong(name, tau, "a share above -100% and at most 0%, such as -1%")
    return _Tau(value, is_share)


def _plain(tau: float | str) -> float | str:
    """Return a line in one way of writing, so that one question is one question."""
    found = _parse(tau, "tau")
    return f"{100.0 * found.value:g}%" if found.is_share else found.value


def _is_mean(name: str) -> bool:
    return name == LOSS or (not _is_own(name) and metric(name).per_row is not None)


def _check_reach(tau: _Tau, name: str | None) -> None:
    """Refuse a line that no model can hold, and a drop that every model holds."""
    shown = name or _ACCURACY
    if tau.is_share or _is_own(shown):
        return
    low, high = metric(shown).bounds
    if high is not None and tau.value > high:
        raise _wrong("tau", tau.value, f"a line within the reach of {shown}, at most {high:g}")
    if low is not None and high is not None and -tau.value >= high - low:
        raise _wrong("tau", tau.value, f"a drop within the reach of {shown}, such as -0.01 or -1%")


def _check_value(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise Invalid(
            "Goal.margin",
            needs=f"a finite value of {name} for the parent",
            came=f"{value}",
            todo="Take rows on which it is defined, such as rows of every class.",
        )


def _check_objective(objective: str) -> None:
    known = typing.get_args(Objective)
    if objective not in known:
        near = get_close_matches(str(objective), known, n=1)
        raise Invalid(
            "Goal",
            needs=f"an objective among {', '.join(known)}",
            came=repr(objective),
            todo=f"Did you mean {near[0]!r}?" if near else "Choose one of them.",
        )


def _is_own(name: str) -> bool:
    """Whether a name is none of `renewal.evaluate.metrics`."""
    return name in {LOSS, COST} or ":" in name


def _is_built_in(task: Task) -> bool:
    return type(task).__module__.startswith("renewal.")


def _direction(name: str) -> bool:
    """Return whether more of a metric is better; raise `Invalid` for one that is unknown."""
    if name in {LOSS, COST}:
        return False
    if ":" in name:
        return not name.startswith("-")
    return metric(name).higher_is_better


def _wrong(name: str, value: object, needs: str) -> Invalid:
    return Invalid("Goal", needs=f"{name} to be {needs}", came=repr(value), todo=f"Fix {name}.")
