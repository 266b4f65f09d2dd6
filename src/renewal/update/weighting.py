"""How much each row counts in a fit: less the older it is, more the rarer its class."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from renewal.core.errors import Invalid
from renewal.data.rows import Rows
from renewal.models.contract import Weights
from renewal.models.labels import Labels, sorted_classes
from renewal.models.multilabel import is_label_sets
from renewal.models.score_map_weights import Prior

_MICROSECOND = timedelta(microseconds=1)
# Beyond that many half-lives a row counts no less: estimators want weights above zero.
_MOST_HALF_LIVES = 40.0


def decayed(rows: Rows, half_life: timedelta) -> Weights:
    """Return weights that halve with each half-life of age; their mean is 1.

    Parameters
    ----------
    rows : Rows
        The newest of them has the largest weight.
    half_life : timedelta
        Above 0.

    Returns
    -------
    float64 array of shape (n_rows,)
    """
    age = (int(rows.event_us.max()) - rows.event_us) / (half_life / _MICROSECOND)
    weights = np.exp2(-np.minimum(age, _MOST_HALF_LIVES))
    return np.asarray(weights / weights.mean(), np.float64)


def balanced(labels: Labels, weights: Weights | None, *, who: str) -> tuple[Weights, Prior]:
    """Return weights under which every class counts as much, and the correction they need.

    A model that was fitted on balanced classes finds rare ones as likely as common ones: its
    probabilities belong to a world that does not exist. The correction gives the classes
    their shares back, so that the deciding loss reads honest probabilities.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
        Two classes or more, one a row.
    weights : float64 array of shape (n_rows,) or None
        What each row counts already.
    who : str
        The strategy, for the message.

    Returns
    -------
    weights : float64 array of shape (n_rows,)
        Mean 1.
    prior : Prior
        From equal shares to the true ones; classes sorted.

    Raises
    ------
    Invalid
        On numbers, and on several labels a row.

    Examples
    --------
    >>> late = np.array(["late", "on time", "on time", "on time"], dtype=object)
    >>> weights, prior = balanced(late, None, who="demo")
    >>> weights.round(2).tolist(), prior.after
    ([2.0, 0.67, 0.67, 0.67], (0.25, 0.75))
    """
    if labels.dtype != object or is_label_sets(labels):
        raise Invalid(
            who,
            needs="one class a row to balance",
            came="numbers" if labels.dtype != object else "several labels a row",
            todo="Leave balance out.",
        )
    classes = sorted_classes(labels)
    place = {label: at for at, label in enumerate(classes)}
    code = np.fromiter(map(place.__getitem__, labels.tolist()), np.intp, count=len(labels))
    own = np.ones(len(labels)) if weights is None else weights
    totals = np.bincount(code, weights=own)
    found = own * totals.sum() / (len(totals) * totals[code])
    after = tuple((totals / totals.sum()).tolist())
    return found / found.mean(), Prior((1.0 / len(classes),) * len(classes), after)
