"""How many labels a verdict takes when they are asked for where they decide."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renewal.stats.power import power_of
from renewal.stats.sampling import inclusion_probabilities

Floats = NDArray[np.float64]

POWER = 0.8
"""The chance of a proof for which labels are planned."""


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """How many labels find a gain, asked for where they decide and drawn at random.

    Parameters
    ----------
    effect : float > 0
        The true gain, beyond the margin, that they are to find with a chance of `POWER`.
    alpha : float
        Level of the one look, as the life of the model grants it.
    n_labels : int or None
        Labels that suffice; None: not even every decisive row of this frame does.
    n_random : int
        Labels of rows drawn at random that would do the same.
    n_rows : int
        Rows that the frame has to have.
    """

    effect: float
    alpha: float
    n_labels: int | None
    n_random: int
    n_rows: int


def plan_labels(
    size: Floats,
    is_known: NDArray[np.bool_],
    *,
    n_blocks: int,
    effect: float,
    alpha: float,
) -> LabelPlan | None:
    r"""Plan the labels for one look, before any of them is there.

    With *N* rows, :math:`s_i` the size of row *i* and :math:`\pi_i` its chance, the standard
    error is :math:`\sqrt{\sum s_i^2 / \pi_i} / N`; labels are added until a one-sided t test
    on the blocks finds `effect` with a chance of 80%. Random labels need
    :math:`\overline{s^2} / se^2`.

    Parameters
    ----------
    size : float64 array, shape (n_rows,)
        The difference to expect of each row, root mean square; 0 where there is none.
    is_known : bool array, shape (n_rows,)
        Whether its label is there.
    n_blocks : int
        Units of evidence of the frame.
    effect : float > 0
        What is to be found, beyond the margin.
    alpha : float in (0, 1)
        One-sided level.

    Returns
    -------
    LabelPlan or None
        None where no row can differ.

    Notes
    -----
    Rows are taken as independent: where those of a block err together, more are needed.
    A search of about 20 draws' chances, each O(n_rows log n_rows).

    Examples
    --------
    A point of accuracy at 5% disagreement:

    >>> differs = np.zeros(100_000)
    >>> differs[:5_000] = 1.0
    >>> plan = plan_labels(differs, np.zeros(100_000, bool), n_blocks=100_000,
    ...     effect=0.01, alpha=0.05)
    >>> plan.n_labels, plan.n_random
    (155, 3092)
    """
    n_open = int((~is_known & (size > 0)).sum())
    if not (size > 0).any():
        return None
    variance = (effect / _shift(n_blocks, alpha)) ** 2
    moment = size**2
    least = float(moment.sum()) / len(size) ** 2
    n_random = math.ceil(float(moment.mean()) / variance)
    n_rows = math.ceil(len(size) * least / variance)
    if least > variance:
        return LabelPlan(effect, alpha, None, n_random, n_rows)
    known = float(moment[is_known].sum())
    open_size, open_moment = size[~is_known], moment[~is_known]

    def reached(n_labels: int) -> bool:
        chance = inclusion_probabilities(open_size, n_labels)
        asked = chance > 0
        total = known + float((open_moment[asked] / chance[asked]).sum())
        return total / len(size) ** 2 <= variance

    few, many = 0, n_open
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if reached(middle) else (middle, many)
    return LabelPlan(effect, alpha, many, n_random, n_rows)


def _shift(n_blocks: int, alpha: float) -> float:
    """Return how many standard errors an effect needs to be found with a chance of `POWER`."""
    low, high = 0.0, 1.0
    while power_of(high, math.sqrt(n_blocks), n_blocks, alpha) < POWER:
        low, high = high, 2.0 * high
    for _ in range(40):
        middle = 0.5 * (low + high)
        if power_of(middle, math.sqrt(n_blocks), n_blocks, alpha) < POWER:
            low = middle
        else:
            high = middle
    return high
