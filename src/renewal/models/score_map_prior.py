"""Shares of the classes now, from scores alone: label shift, estimated by EM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.score_map_curves import shares
from renewal.models.score_map_weights import Prior
from renewal.models.task import Scores


def fit_prior(
    scores: Scores,
    before: NDArray[np.float64],
    *,
    most_rounds: int = 1000,
    tolerance: float = 1e-7,
) -> Prior:
    r"""Return the correction for shares of the classes that are estimated without labels.

    Maximum likelihood by EM: every row is re-weighted by the shares found so far, and the
    shares become the mean of what the rows then say,

    .. math:: \pi'_k \leftarrow \frac1n \sum_i
        \frac{p_{ik}\,\pi'_k/\pi_k}{\sum_j p_{ij}\,\pi'_j/\pi_j}.

    Parameters
    ----------
    scores : float64 array, shape (n_rows, n_classes)
        Of rows of now, with or without a label.
    before : float64 array, shape (n_classes,)
        Share of each class among the rows that the model learned from; all above 0.
    most_rounds : int, default 1000
        After so many it stops where it is.
    tolerance : float, default 1e-7
        It stops when no share moves by more.

    Raises
    ------
    Invalid
        On no row, scores that are not finite, or a class without a share.

    Notes
    -----
    Assumes that each class looks as it did (p(x|y) unchanged) and that the scores were
    calibrated under `before`; a model fitted with weighted classes was not. Neither can be
    seen without labels, so what is made with it is to be judged on rows with labels. A share
    is held at 1 / (n_rows + n_classes) or more: no row is proof that a class is gone.

    References
    ----------
    .. [1] Saerens, Latinne, Decaestecker (2002). Adjusting the outputs of a classifier to new
       a priori probabilities. Neural Computation 14(1).

    Examples
    --------
    Two normal classes; the second was half of all rows and is a tenth now:

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(np.where(rng.random(5000) < 0.1, 1.0, -1.0))
    >>> second = 1 / (1 + np.exp(-2 * x))
    >>> scores = np.column_stack([1 - second, second])
    >>> [round(each, 2) for each in fit_prior(scores, np.array([0.5, 0.5])).after]
    [0.89, 0.11]
    """
    before = np.asarray(before, np.float64)
    if not len(scores) or not np.isfinite(scores).all() or not (before > 0).all():
        raise Invalid(
            "fit_prior",
            needs="finite scores of one row or more, and a share above 0 of each class before",
            came=f"{len(scores)} rows, shares {before.tolist()}",
            todo="Hand in scored rows of now, and training rows of every class.",
        )
    before = before / before.sum()
    after = before
    for _ in range(most_rounds):
        found = shares(scores * (after / before), scores).mean(axis=0)
        moved = float(np.abs(found - after).max())
        after = found
        if moved <= tolerance:
            break
    held = np.maximum(after, 1.0 / (len(scores) + len(before)))
    return Prior(tuple(before.tolist()), tuple((held / held.sum()).tolist()))
