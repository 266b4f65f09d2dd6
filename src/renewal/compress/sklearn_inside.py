"""What learns inside a scikit-learn model, and how another takes its place in a copy."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.tree._tree import (
    Tree,
    _build_pruned_tree_py,  # the one way to fewer leaves without a fit
)

from renewal.compress.form import Form
from renewal.models.sklearn_inputs import inputs_of
from renewal.models.sklearn_parts import steps_of, unwrapped


def learner_of(form: Form) -> Any:
    """Return what learns: the last step of a pipeline, the model inside a recalibration."""
    inner = form.estimator
    while (found := steps_of(unwrapped(inner))[1]) is not inner:
        inner = found
    return inner


def with_learner(form: Form, learner: Any) -> Form:
    """Return the form with another learner in the place of its own; everything else is copied.

    Parameters
    ----------
    form : Form
        Kept as it is.
    learner : object
        Fitted, for the same inputs and classes.
    """
    # What the memo holds is put where the original stood, however deep that is.
    memo = {id(learner_of(form)): learner}
    return replace(form, estimator=copy.deepcopy(form.estimator, memo))


def changed(estimator: Any, **attributes: Any) -> Any:
    """Return a copy that shares all attributes but some with the original.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> first = Ridge(alpha=1.0)
    >>> changed(first, alpha=2.0), first
    (Ridge(alpha=2.0), Ridge())
    """
    copied = object.__new__(type(estimator))
    vars(copied).update({**vars(estimator), **attributes})
    return copied


def seen_by_learner(form: Form, features: pa.Table) -> Any:
    """Return rows as the learner sees them: after every step before it."""
    features = features.select(list(form.signature.names))
    inner = unwrapped(form.estimator)
    inputs = inputs_of(inner, features, who="compress")
    for step in steps_of(inner)[0]:
        inputs = step.transform(inputs)
    return inputs


def cut_tree(tree: Any, is_leaf: NDArray[np.bool_]) -> Any:
    """Return a copy of a fitted tree in which some inner nodes became leaves.

    Parameters
    ----------
    tree : DecisionTree or ExtraTree
        Kept as it is.
    is_leaf : bool ndarray of shape (n_nodes,)
        True for those that become leaves; what is below them goes.

    Notes
    -----
    A node keeps what it says of the training rows that reached it, so nothing is fitted.
    """
    old = tree.tree_
    n_classes = np.array(np.ravel(old.n_classes), dtype=np.intp)
    smaller = Tree(old.n_features, n_classes, old.n_outputs)
    marks = np.where(old.children_left < 0, 1, is_leaf).astype(np.uint8)
    _build_pruned_tree_py(smaller, old, marks)
    return changed(tree, tree_=smaller)
