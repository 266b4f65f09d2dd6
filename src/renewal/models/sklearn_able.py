"""What an estimator of scikit-learn can do on new rows, and why not the rest.

``partial_fit`` of the last step takes in further rows. ``warm_start`` is another thing: it goes
on with a fit on the *same* rows. On new ones it runs without a word and does harm, so it is
declared impossible here, with what would break.
"""

from __future__ import annotations

from typing import Any

from sklearn.frozen import FrozenEstimator

from renewal.models.contract import Capabilities
from renewal.models.sklearn_multilabel import label_names
from renewal.models.sklearn_parts import TREES, steps_of, unwrapped


def capabilities_of(estimator: Any) -> Capabilities:
    """Say what can be done with `estimator` on new rows, and why not the rest, in words.

    Parameters
    ----------
    estimator : object
        Fitted or not.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> capabilities_of(RandomForestClassifier()).can_partial_fit
    False
    """
    _, learner = steps_of(unwrapped(estimator))
    name = type(learner).__name__
    reasons = {
        "continue": _why_not_continued(learner),
        "layers": f"{name} has no layers that could be frozen one by one",
        "new_classes": f"{name} must know every class at its first fit",
    }
    no_partial_fit = _why_no_partial_fit(estimator, learner)
    if no_partial_fit is not None:
        reasons["partial_fit"] = no_partial_fit
    can_refit = not isinstance(learner, FrozenEstimator)
    if not can_refit:
        reasons["refit"] = (
            "a FrozenEstimator keeps what it was fitted on, whatever rows it is shown"
        )
    return Capabilities(
        can_partial_fit=no_partial_fit is None, can_refit=can_refit, why_not=reasons
    )


def _why_no_partial_fit(estimator: Any, learner: Any) -> str | None:
    name = type(learner).__name__
    if label_names(estimator):
        return "an estimator of several labels learns them all from one fit"
    if not hasattr(learner, "partial_fit"):
        return f"{name} has no partial_fit{_warm_start_of(learner)}"
    if getattr(learner, "early_stopping", False):
        return f"{name} cannot partial_fit with early_stopping=True"
    if isinstance(getattr(learner, "class_weight", None), str):
        return f"{name} cannot partial_fit with class_weight={learner.class_weight!r}"
    return None


def _warm_start_of(learner: Any) -> str:
    if isinstance(learner, TREES):
        return "; its warm start is valid only on the same data"
    if hasattr(learner, "warm_start") and hasattr(learner, "n_estimators"):
        return "; its warm start adds new members and leaves the old ones as they are"
    if hasattr(learner, "warm_start"):
        return "; its warm start begins a new fit, which forgets the old rows"
    return ""


def _why_not_continued(learner: Any) -> str:
    name = type(learner).__name__
    if isinstance(learner, TREES):
        return (
            f"a warm start of {name} finds the bins of its inputs anew on the new rows, so its "
            "old trees are read through the wrong bins"
        )
    if hasattr(learner, "warm_start") and hasattr(learner, "n_estimators"):
        return (
            f"a warm start of {name} keeps its old members as they are and adds some that have "
            "seen the new rows alone; after a new class they disagree on how many there are"
        )
    if hasattr(learner, "warm_start"):
        return (
            f"a warm start of {name} begins a new fit on the new rows alone from the old "
            "parameters, and forgets the old rows"
        )
    return f"{name} has no warm start"
