"""Corrections by weight: new shares of the classes, what mistakes cost, a constant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.score_map_curves import shares
from renewal.models.task import Scores


@dataclass(frozen=True)
class Prior:
    r"""Other shares of the classes, where each class looks as it did (label shift).

    .. math:: q_k \propto p_k \, \pi'_k / \pi_k

    Parameters
    ----------
    before : tuple of float > 0
        Share of each class among the rows from which the model learned.
    after : tuple of float > 0
        Share of each class now.

    Examples
    --------
    >>> rarer = Prior((0.5, 0.5), (0.9, 0.1))
    >>> rarer.apply(np.array([[0.5, 0.5]])).tolist()
    [[0.9, 0.1]]
    """

    before: tuple[float, ...]
    after: tuple[float, ...]
    kind: ClassVar[str] = "prior"

    def __post_init__(self) -> None:
        """Refuse what are no shares of the same classes."""
        both = np.array([*self.before, *self.after])
        whole = np.isfinite(both).all() and (both > 0).all()
        if not whole or len(self.before) != len(self.after) or len(self.before) < 2:
            raise _wrong("Prior", "shares above 0 of two classes or more", repr(self))

    @property
    def n_scores(self) -> int:
        """One a class."""
        return len(self.before)

    def apply(self, scores: Scores) -> Scores:
        """Return probabilities, float64 of shape (n_rows, n_classes)."""
        return shares(scores * self._weights)

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        return np.asarray(np.array(self.after) / np.array(self.before))


@dataclass(frozen=True)
class Shift:
    """A constant, added to the values of a regression.

    Parameters
    ----------
    constant : float
        In the unit of the target.
    """

    constant: float
    kind: ClassVar[str] = "shift"

    def __post_init__(self) -> None:
        """Refuse a constant that would swallow every value."""
        if not np.isfinite(self.constant):
            raise _wrong("Shift", "a finite constant", str(self.constant))

    @property
    def n_scores(self) -> int:
        """One value a row."""
        return 1

    def apply(self, scores: Scores) -> Scores:
        """Return the values moved, float64 of shape (n_rows, 1)."""
        return np.asarray(scores + self.constant)


@dataclass(frozen=True)
class Costs:
    r"""Scores whose largest is the decision that costs least by the probabilities.

    .. math:: q_j \propto \sum_i p_i \,(\max_k C_{ik} - C_{ij})

    A sum less the expected cost of deciding j, so the largest score is the cheapest decision.
    With two classes and nothing to pay for right answers these are the odds times
    :math:`C_{fn}/C_{fp}`: the label changes at :math:`p = C_{fp}/(C_{fp} + C_{fn})`, and the
    order of the rows stays. Where every mistake costs the same they are the probabilities.

    Parameters
    ----------
    table : tuple of tuple of float
        ``table[true][predicted]``, finite, in the order of the classes.

    Notes
    -----
    What comes out sums to 1 and is *no probability any more*: the served label is the most
    probable class, everywhere in this house, so a cheaper decision has to be the largest
    score. Its log-loss is worse than before on purpose; judge it by a claim on ``cost``.
    What goes in must be calibrated, or the decision is not the cheapest.

    Examples
    --------
    A missed fraud costs 4, a blocked customer 1: fraud from 1 / (1 + 4) on.

    >>> dear = Costs(((0.0, 1.0), (4.0, 0.0)))
    >>> dear.apply(np.array([[0.81, 0.19], [0.79, 0.21]])).argmax(axis=1).tolist()
    [0, 1]
    """

    table: tuple[tuple[float, ...], ...]
    kind: ClassVar[str] = "costs"

    def __post_init__(self) -> None:
        """Refuse a table that is not square, not finite, or indifferent to every decision."""
        n_classes = len(self.table)
        whole = n_classes > 1 and all(len(row) == n_classes for row in self.table)
        if not whole or not np.isfinite(self.table).all() or not self._gains.any():
            raise _wrong("Costs", "a finite cost for each true and predicted class", repr(self))

    @property
    def n_scores(self) -> int:
        """One a class."""
        return len(self.table)

    def apply(self, scores: Scores) -> Scores:
        """Return scores of decisions, float64 of shape (n_rows, n_classes)."""
        # Where only classes are possible of which all decisions cost the same, nothing moves.
        return shares(scores @ self._gains, scores)

    @cached_property
    def _gains(self) -> NDArray[np.float64]:
        table = np.array(self.table)
        return np.asarray(table.max(axis=1, keepdims=True) - table)


def _wrong(who: str, needs: str, came: str) -> Invalid:
    return Invalid(who, needs=needs, came=came, todo="Correct it, or fit it again.")
