"""Monotone curves from scores to probabilities: one number, two a class, or steps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.task import Scores

# Added to both sides of the odds: a tree's 0 and 1 stay finite, and the order of all scores
# between them is kept, which clipping would not do.
_FLOOR = 1e-6


@dataclass(frozen=True)
class Temperature:
    r"""One number for all classes: how much surer the model is than it may be.

    .. math:: q_k \propto p_k^{1/T}

    Keeps the most probable class of every row, and the order of binary scores.

    Parameters
    ----------
    temperature : float > 0
        Above 1 it makes less sure, below 1 surer.

    References
    ----------
    .. [1] Guo et al. (2017). On calibration of modern neural networks.
    """

    temperature: float
    kind: ClassVar[str] = "temperature"

    def __post_init__(self) -> None:
        """Refuse what turns the order around."""
        if not 0 < self.temperature < np.inf:
            raise _wrong(self, "a temperature above 0", str(self.temperature))

    @property
    def n_scores(self) -> None:
        """Any number."""
        return

    def apply(self, scores: Scores) -> Scores:
        """Return probabilities at the temperature, float64 of shape (n_rows, n_classes)."""
        raised = logs_of(scores) / self.temperature
        raised = np.exp(raised - raised.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Sigmoid:
    r"""Two numbers a class: a line on the scale of log-odds (Platt scaling).

    .. math:: q_k = 1 / (1 + e^{-(a_k \ln\frac{p_k}{1 - p_k} + b_k)})

    With two classes one line, on the positive class. With more, a line for each against the
    rest, and shares of their sum; or each by itself where a row carries several labels.

    Parameters
    ----------
    slopes, offsets : tuple of float
        a and b; slopes are above 0, so that no order is turned around.
    exclusive : bool, default True
        Whether a row has one class.

    Examples
    --------
    Half as sure, and less often positive:

    >>> Sigmoid((0.5,), (-1.0,)).apply(np.array([[0.1, 0.9]])).round(3).tolist()
    [[0.475, 0.525]]
    """

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    exclusive: bool = True
    kind: ClassVar[str] = "sigmoid"

    def __post_init__(self) -> None:
        """Refuse lines that fall, and numbers that do not belong together."""
        whole = np.isfinite([*self.slopes, *self.offsets]).all() and min(self.slopes, default=0) > 0
        if not whole or len(self.slopes) != len(self.offsets):
            raise _wrong(self, "a slope above 0 and an offset a class", repr(self))

    @property
    def n_scores(self) -> int:
        """Two for one line, else one a line."""
        return _width(len(self.slopes), exclusive=self.exclusive)

    def apply(self, scores: Scores) -> Scores:
        """Return probabilities, float64 of shape (n_rows, n_classes)."""
        if self.exclusive and len(self.slopes) == 1:
            line = self.slopes[0] * log_odds(scores[:, 1:]) + self.offsets[0]
            # Not one less the other: a chance of 1e-12 keeps its digits on both sides.
            return _expit(np.concatenate([-line, line], axis=1))
        found = _expit(np.array(self.slopes) * log_odds(scores) + np.array(self.offsets))
        return shares(found) if self.exclusive else found


@dataclass(frozen=True)
class Isotonic:
    """Steps a class: any curve that does not fall, for some thousand rows.

    Between its points a curve is a line; beyond them it stays level. Scores that fall on a
    level part become equal, so the order is kept and not always strictly.

    Parameters
    ----------
    points : tuple of tuple of float
        For each curve the scores at its points, ascending.
    values : tuple of tuple of float
        For each curve the probabilities there, not falling.
    exclusive : bool, default True
        As for `Sigmoid`.
    """

    points: tuple[tuple[float, ...], ...]
    values: tuple[tuple[float, ...], ...]
    exclusive: bool = True
    kind: ClassVar[str] = "isotonic"

    def __post_init__(self) -> None:
        """Refuse curves that fall, and points without values."""
        pairs = list(zip(self.points, self.values, strict=True))
        if not pairs or not all(_is_curve(*pair) for pair in pairs):
            raise _wrong(self, "ascending points with probabilities that do not fall", "others")

    @property
    def n_scores(self) -> int:
        """Two for one curve, else one a curve."""
        return _width(len(self.points), exclusive=self.exclusive)

    def apply(self, scores: Scores) -> Scores:
        """Return probabilities, float64 of shape (n_rows, n_classes)."""
        if self.exclusive and len(self.points) == 1:
            found = np.interp(scores[:, 1:], *self._curves[0])
            return np.concatenate([1.0 - found, found], axis=1)
        columns = [np.interp(scores[:, at], *each) for at, each in enumerate(self._curves)]
        return shares(np.column_stack(columns)) if self.exclusive else np.column_stack(columns)

    @cached_property
    def _curves(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        return [
            (np.array(points), np.array(values))
            for points, values in zip(self.points, self.values, strict=True)
        ]


def log_odds(scores: Scores) -> Scores:
    """Return the log-odds of probabilities: finite for 0 and 1, and of the same order."""
    return np.asarray(np.log((scores + _FLOOR) / (1.0 - scores + _FLOOR)))


def logs_of(scores: Scores) -> Scores:
    """Return the logarithms of probabilities: finite for 0, and of the same order."""
    return np.asarray(np.log(scores + _FLOOR))


def shares(found: Scores, otherwise: Scores | None = None) -> Scores:
    """Return rows of numbers of at least 0 as shares of their sum.

    Parameters
    ----------
    found : ndarray of shape (n_rows, n_classes)
        A row of zeros becomes its row of `otherwise`.
    otherwise : ndarray or None
        None: equal shares.
    """
    total = found.sum(axis=1, keepdims=True)
    out = np.full_like(found, 1.0 / found.shape[1]) if otherwise is None else otherwise.copy()
    return np.asarray(np.divide(found, total, out=out, where=total != 0))


def _expit(line: NDArray[np.float64]) -> NDArray[np.float64]:
    # Where the exponential overflows, the answer is 0.
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-line)))


def _width(n_curves: int, *, exclusive: bool) -> int:
    return 2 if exclusive and n_curves == 1 else n_curves


def _is_curve(points: tuple[float, ...], values: tuple[float, ...]) -> bool:
    if len(points) != len(values) or not points or not np.isfinite(points).all():
        return False
    rises = bool((np.diff(points) > 0).all() and (np.diff(values) >= 0).all())
    return rises and values[0] >= 0 and values[-1] <= 1


def _wrong(step: Any, needs: str, came: str) -> Invalid:
    return Invalid(type(step).__name__, needs=needs, came=came, todo="Fit it again.")
