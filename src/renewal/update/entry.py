"""What became of one starter of a race, and who won."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

KEEP = "keep"
"""The label of doing nothing: the champion as it is."""

FORMER = "version:"
"""What stands before the id of a former version in the label of a starter."""

Outcome = Literal["made", "sure", "behind", "sat_out", "not_possible", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one starter in a race; plain values, for the journal.

    Parameters
    ----------
    recipe : str
        The label of the recipe, ``keep``, or ``version:`` and an id.
    outcome : {"made", "sure", "behind", "sat_out", "not_possible", "failed", "skipped"}
        sure: it goes straight, and is fitted up to the cut without a heat; behind: left after
        a fit on a share of the rows; sat_out: its last races say that it cannot pay; skipped:
        the budget was used up before its turn, or would have been.
    reason : str
        One sentence, or how many rows it was fitted on.
    loss : float or None
        Mean loss on the selection rows; None where nothing was scored.
    seconds : float, default 0
        Of all its fits in this race.
    cpu_s : float, default 0
        Processor seconds of these.
    share : float, default 1
        Of the rows on which its last fit was made.
    ahead : float or None, default None
        By how much its loss is below the champion's on the same rows.
    ahead_se : float or None, default None
        Standard error of that, over blocks.
    cost : float or None, default None
        Money, where the policy has a price.
    peak_bytes : int or None, default None
        Largest memory of its worker.
    """

    recipe: str
    outcome: Outcome
    reason: str
    loss: float | None = None
    seconds: float = 0.0
    cpu_s: float = 0.0
    share: float = 1.0
    ahead: float | None = None
    ahead_se: float | None = None
    cost: float | None = None
    peak_bytes: int | None = None


def is_fitted(label: str) -> bool:
    """Say whether a label stands for a fit, and not for a version that is there."""
    return label != KEEP and not label.startswith(FORMER)


def is_clearly_ahead(entry: Entry, n_errors: float = 2.0) -> bool:
    """Say whether an entry is ahead of the champion by more than some standard errors."""
    error = entry.ahead_se
    return entry.ahead is not None and error is not None and entry.ahead > n_errors * error


def pick(entries: Iterable[Entry]) -> Entry | None:
    """Return the entry of the smallest loss; None when nothing beats the champion.

    One that is sure has run no heat and wins. Else the first of equals wins, so an entry that
    keeps the champion goes first: a candidate that is no better on the selection rows is not
    worth a look of the gate.

    Parameters
    ----------
    entries : iterable of Entry
        In the order of the race, cheapest first. One labeled ``keep`` is the champion.

    Examples
    --------
    >>> pick([Entry("keep", "made", "", 0.50), Entry("retrain", "made", "", 0.48)]).recipe
    'retrain'
    >>> pick([Entry("keep", "made", "", 0.50), Entry("retrain", "made", "", 0.52)]) is None
    True
    """
    best: tuple[float, Entry] | None = None
    for entry in entries:
        if entry.outcome == "sure":
            return entry
        if entry.outcome != "made" or entry.loss is None or not math.isfinite(entry.loss):
            continue
        if entry.recipe.startswith(FORMER) and not (entry.ahead is None or is_clearly_ahead(entry)):
            continue  # a step back needs a reason
        if best is None or entry.loss < best[0]:
            best = (entry.loss, entry)
    return None if best is None or best[1].recipe == KEEP else best[1]
