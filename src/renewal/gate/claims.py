"""What a candidate has to prove, as a policy writes it: ``superior``, ``no_worse(auc, 1%)``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

from renewal.core.errors import Invalid
from renewal.core.verdict import Claim

LOSS = "loss"
"""The metric that a claim is about when it names none: the task's own loss."""

_KINDS = ("superior", "better_by", "no_worse")
_FORM = re.compile(r"\s*(?P<kind>[a-z_]+)\s*(?:\((?P<inside>[^()]*)\))?\s*")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?%?")


@dataclass(frozen=True, slots=True)
class Proof:
    """One claim that a candidate has to prove.

    Parameters
    ----------
    kind : {"superior", "better_by", "no_worse"}
        superior: better at all. better_by: better by more than `margin`. no_worse: worse by
        less than `margin`, for scheduled refreshes and compression. The error of each is its
        own: to accept a candidate for which just this is false.
    metric : str
        By which: ``loss`` is the task's own, ``cost`` the policy's table of costs, and
        ``module:function`` a user's own, larger is better unless a ``-`` stands before it.
    margin : float
        At least 0, in the unit of the metric or, with `is_share`, as a share of the
        baseline's value.
    is_share : bool
        Whether `margin` is a share of the baseline's value.
    """

    kind: Claim
    metric: str = LOSS
    margin: float = 0.0
    is_share: bool = False

    def __str__(self) -> str:
        """Write it as `parse_proof` reads it."""
        inside = [] if self.metric == LOSS else [self.metric]
        if self.kind != "superior":
            inside.append(f"{100 * self.margin:g}%" if self.is_share else f"{self.margin:g}")
        return f"{self.kind}({', '.join(inside)})" if inside else self.kind

    def margin_of(self, baseline_value: float) -> float:
        """Return the margin in the unit of the metric, given the baseline's value."""
        return self.margin * abs(baseline_value) if self.is_share else self.margin


def parse_proof(text: str) -> Proof:
    """Read one entry of the policy's ``must_prove``.

    Parameters
    ----------
    text : str
        ``superior``, ``better_by(0.02)``, ``no_worse(1%)``, or with a metric:
        ``superior(accuracy)``, ``no_worse(auc, 0.005)``, ``better_by(cost, 2%)``,
        ``superior(shop.metrics:profit)``.

    Raises
    ------
    Invalid
        On another form, an unknown kind (the nearest is offered), or a margin that is
        missing or not above 0.

    Examples
    --------
    >>> parse_proof("no_worse(auc, 1%)")
    Proof(kind='no_worse', metric='auc', margin=0.01, is_share=True)
    >>> str(parse_proof("superior"))
    'superior'
    """
    match = _FORM.fullmatch(text)
    if match is None or match["kind"] not in _KINDS:
        near = get_close_matches(text.partition("(")[0].strip(), _KINDS, n=1)
        raise _wrong(text, f"Did you mean {near[0]!r}?" if near else "Write superior, for one.")
    kind = cast("Claim", match["kind"])
    inside = [part.strip() for part in (match["inside"] or "").split(",") if part.strip()]
    numbers = [part for part in inside if _NUMBER.fullmatch(part)]
    names = [part for part in inside if part not in numbers]
    if len(names) > 1 or len(numbers) > 1:
        raise _wrong(text, "Name at most one metric and one margin.")
    metric = names[0] if names else LOSS
    if kind == "superior":
        if numbers:
            raise _wrong(text, "superior has no margin: write better_by(margin).")
        return Proof(kind, metric)
    if not numbers or float(numbers[0].rstrip("%")) <= 0:
        raise _wrong(text, f"{kind} needs a margin above 0, such as {kind}(0.01).")
    is_share = numbers[0].endswith("%")
    margin = float(numbers[0].rstrip("%")) / (100.0 if is_share else 1.0)
    return Proof(kind, metric, margin, is_share)


def _wrong(text: str, todo: str) -> Invalid:
    return Invalid(
        "must_prove",
        needs="superior, better_by(margin) or no_worse(margin), with or without a metric",
        came=repr(text),
        todo=todo,
    )
