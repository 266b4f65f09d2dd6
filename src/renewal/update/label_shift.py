"""Label shift: what a champion must be known to have learned, before EM may correct it."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid, Refused
from renewal.data.rows import Rows
from renewal.models.score_map import Mapped, ScoreMap, unmapped
from renewal.models.score_map_prior import fit_prior
from renewal.models.score_map_weights import Prior
from renewal.update.calibrating import Calibrated
from renewal.update.contract import Parent
from renewal.update.eligible import never_trained


def unseen_rows(parent: Parent, rows: Rows) -> Rows:
    """Return the rows, labelled or not, that the champion has certainly not trained on."""
    return rows.take(never_trained(parent, rows))


def shifted(parent: Parent, rows: Rows, used: Rows, *, who: str, min_rows: int) -> Calibrated:
    """Return the correction for the shares that the classes have among unseen rows.

    The shares before are those among the champion's own training rows; the shares now are
    estimated from its scores of unseen rows, without their labels.

    Parameters
    ----------
    parent : Parent
        The champion.
    rows : Rows
        All that may be fitted: the champion's training rows are looked for among them.
    used : Rows
        Those that it never trained on, labelled or not.
    who : str
        Who asks, for the message.
    min_rows : int, rows
        Fewer of either are too few.

    Raises
    ------
    Invalid
        Where a row has not just one class, or rows are too few.
    Refused
        When nobody knows which shares the champion learned.

    Notes
    -----
    Right where each class looks as it did and only the shares have moved; see `fit_prior`.
    """
    if parent.version.manifest.task not in {"binary", "multiclass"}:
        raise Invalid(
            who,
            needs="rows that have one class each, for the method prior",
            came=f"the task {parent.version.manifest.task!r}",
            todo="Take the method auto.",
        )
    if len(used) < min_rows:
        raise Invalid(
            who,
            needs=f"at least {min_rows:,} unseen rows, labelled or not",
            came=f"{len(used):,}",
            todo="Wait for more rows, or lower min_rows in the recipe.",
            n_rows=len(used),
        )
    before = _before(parent, rows, who=who, min_rows=min_rows)
    scores = parent.adapter.predict(unmapped(parent.estimator), used.features)
    return Calibrated(ScoreMap((fit_prior(scores, before),)), {})


def _before(parent: Parent, rows: Rows, *, who: str, min_rows: int) -> NDArray[np.float64]:
    """Return the share of each class among the rows from which the model inside learned."""
    if isinstance(parent.estimator, Mapped):
        for step in parent.estimator.score_map.steps:
            if isinstance(step, Prior):
                return np.array(step.before)
        raise _unknown(who, "a champion whose key set holds the rows of its calibration as well")
    if parent.keyset is None or parent.unknown_until_us is not None:
        raise _unknown(who, "a champion of which nobody knows what it trained on")
    labelled = rows.labelled()
    own = labelled.take(np.isin(labelled.key_hash, parent.keyset.keys))
    counts = Counter([] if own.label is None else own.label.tolist())
    found = np.array([counts[name] for name in parent.version.manifest.classes], np.float64)
    if len(own) < min_rows or found.min() < 1:
        raise _unknown(who, f"{len(own):,} of its training rows, {found.min():g} of the rarest")
    return np.asarray(found / found.sum())


def _unknown(who: str, came: str) -> Refused:
    return Refused(
        who,
        needs="the share of each class among the champion's training rows, for the method prior",
        came=came,
        todo="Take the method auto, which learns the new shares from labels.",
    )
