"""prune.forest: fewer trees, in an order that is good at every length, and fewer leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse
from sklearn.ensemble._forest import BaseForest

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.sklearn_inside import (
    changed,
    cut_tree,
    learner_of,
    seen_by_learner,
    with_learner,
)
from renewal.core.errors import Invalid
from renewal.models.labels import dense

_N_LEVELS = 12
_MAX_ROWS = 4_000
_N_TREES_ASKED = 5
Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ForestOptions:
    """How much of the forest is kept.

    Parameters
    ----------
    trees : int >= 1 or None, default None
        Kept, the best by the order; None: all of them.
    leaves : int >= 1 or None, default None
        Budget of a tree: inner nodes that lower the impurity the least become leaves.
    slim : bool, default False
        Leave out what no prediction reads (impurities, counts of rows) and round thresholds
        down to single precision, which changes no comparison, and values to the nearest.
        A later `prune.path` or budget of leaves is not possible then.
    """

    trees: int | None = None
    leaves: int | None = None
    slim: bool = False


class PruneForest:
    r"""Keep the trees of a forest that are best together.

    Trees are ordered greedily: next comes the one with which the mean of those chosen has the
    least squared error. With :math:`C_{ij}` the mean product of the errors of trees i and j,
    the error of a set S is :math:`\sum_{i,j \in S} C_{ij} / |S|^2`, so that one pass over the
    rows is enough for the whole order, and shorter forests are nested in longer ones.

    A tree that has learned a row by heart says nothing of its worth there. Where the material
    holds the rows of the fit, which the trees' own seeds and roots prove, :math:`C_{ij}` is
    taken over rows that neither i nor j was fitted on (out of bag); otherwise over all.

    Notes
    -----
    At most 4,000 rows, or as many out of bag; a second for 200 trees. Extremely randomized
    trees without a bootstrap have learned every row: ties then leave them in their own order,
    which is as good as any, since they are exchangeable.

    References
    ----------
    .. [1] Hernández-Lobato, Martínez-Muñoz, Suárez, Empirical analysis and evaluation of
       approximate techniques for pruning regression bagging ensembles, Neurocomputing, 2011
    """

    name: ClassVar[str] = "prune.forest"
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = ("sklearn",)
    Options: ClassVar[type[Any]] = ForestOptions
    knob: ClassVar[str | None] = "trees"
    learns: ClassVar[bool] = True

    def why_not(self, form: Form, material: Material) -> str | None:
        """Return that it is no forest, has one tree, or that no row is there to order by."""
        learner = learner_of(form)
        if not isinstance(learner, BaseForest) or not hasattr(learner, "predict"):
            return f"{type(learner).__name__} is no forest"
        if len(learner.estimators_) < 2:
            return "the forest has a single tree"
        if learner.n_outputs_ != 1:
            return f"the forest has {learner.n_outputs_} outputs; this takes one"
        if not len(material.train):
            return "there is no training row by which trees could be ordered"
        return None

    def levels(self, form: Form, material: Material) -> tuple[ForestOptions, ...]:  # noqa: ARG002  # the contract's
        """Return numbers of trees, each about 0.7 of the one before."""
        n_trees = len(learner_of(form).estimators_)
        shares = 0.5 ** (0.5 * np.arange(1, _N_LEVELS + 1))
        counts = np.unique(np.maximum(1, np.round(n_trees * shares).astype(int)))[::-1]
        return tuple(ForestOptions(trees=int(each)) for each in counts if each < n_trees)

    def apply(self, form: Form, options: ForestOptions, material: Material, *, seed: int) -> Form:
        """Return the form with fewer trees, fewer leaves, or both."""
        self._demand(form, options, material)
        forest = learner_of(form)
        trees = list(forest.estimators_)
        if options.trees is not None and options.trees < len(trees):
            order = tree_order(form, material, seed=seed)
            # In the order of the fit: sums of floats then come out alike.
            trees = [trees[at] for at in sorted(order[: options.trees])]
        if options.leaves is not None:
            trees = [_within(tree, options.leaves) for tree in trees]
        if options.slim:
            trees = [_slim(tree) for tree in trees]
        smaller = changed(forest, estimators_=trees, n_estimators=len(trees))
        if options.slim and hasattr(forest, "_sample_weight"):
            smaller._sample_weight = None  # noqa: SLF001  # a number for each row of the fit
        return with_learner(form, smaller)

    def _demand(self, form: Form, options: ForestOptions, material: Material) -> None:
        reason = self.why_not(form, material)
        wrong = [each for each in (options.trees, options.leaves) if each is not None and each < 1]
        if options.leaves is not None and reason is None and not _has_impurities(form):
            reason = "the impurities of its nodes were left out (slim)"
        if reason is not None or wrong:
            raise Invalid(
                self.name,
                needs="a forest, and at least one tree and leaf",
                came=reason or f"trees={options.trees}, leaves={options.leaves}",
                todo="Take another technique, or one of the levels.",
            )


def tree_order(form: Form, material: Material, *, seed: int) -> list[int]:
    """Return places of the trees, the best first; see `PruneForest`."""
    forest = learner_of(form)
    inputs = _single(seen_by_learner(form, material.train.features))
    target = _target(forest, material)
    unseen = _out_of_bag(forest, target)
    chosen = material.few(max(200, round(_MAX_ROWS * material.effort)), seed=seed)
    inputs, target = inputs[chosen], target[chosen]
    errors = np.stack(
        [_said(tree, inputs, target.shape[1]) - target for tree in forest.estimators_]
    )
    if unseen is None:
        together = np.full((len(errors),) * 2, len(chosen))
    else:
        seen = unseen[:, chosen]
        errors *= seen[:, :, np.newaxis]
        together = seen.astype(np.float64) @ seen.T
    flat = errors.reshape(len(errors), -1)
    return _greedy(flat @ flat.T / np.maximum(together, 1))


def _greedy(products: Numbers) -> list[int]:
    """Return the order in which trees lower the error of the mean of those chosen the most."""
    order: list[int] = []
    own = np.diag(products).copy()
    cross = np.zeros(len(products))
    inside = 0.0
    free = np.ones(len(products), dtype=bool)
    for n_chosen in range(1, len(products) + 1):
        found = np.where(free, (inside + 2 * cross + own) / n_chosen**2, np.inf)
        best = int(found.argmin())
        inside += float(2 * cross[best] + own[best])
        cross += products[best]
        free[best] = False
        order.append(best)
    return order


def _single(inputs: Any) -> Any:
    """Return rows in single precision, as trees read them."""
    if issparse(inputs):
        return csr_matrix(inputs, dtype=np.float32)
    return np.asarray(inputs, dtype=np.float32)


def _target(forest: Any, material: Material) -> Numbers:
    """Return labels as one column, or as zeros and ones of each class."""
    labels = dense(material.labels)
    if not hasattr(forest, "classes_"):
        return np.asarray(labels, np.float64)[:, np.newaxis]
    return np.asarray(labels[:, np.newaxis] == forest.classes_, np.float64)


def _said(tree: Any, inputs: Any, n_columns: int) -> Numbers:
    """Return what a tree says: shares of the classes, or values."""
    found: Numbers = tree.tree_.predict(inputs).reshape(-1, n_columns)
    return found


def _out_of_bag(forest: Any, target: Numbers) -> Mask | None:
    """Return which rows each tree was not fitted on; None where that cannot be proven.

    The seed of a tree draws its rows again. They are the rows at hand when the root then
    says, to the last digits, what it did say at the fit.
    """
    n_rows = len(target)
    if not forest.bootstrap or forest._n_samples != n_rows:  # noqa: SLF001  # no public way
        return None
    unseen = np.ones((len(forest.estimators_), n_rows), dtype=bool)
    for at, drawn in enumerate(forest.estimators_samples_):
        root = forest.estimators_[at].tree_.value[0].ravel()
        if at < _N_TREES_ASKED and not np.allclose(target[drawn].mean(axis=0), root, rtol=1e-9):
            return None
        unseen[at, drawn] = False
    return unseen


def _has_impurities(form: Form) -> bool:
    trees = learner_of(form).estimators_
    return any(tree.tree_.impurity.any() for tree in trees) or all(
        tree.tree_.node_count == 1 for tree in trees
    )


def _within(tree: Any, leaves: int) -> Any:
    """Return a tree with at most so many leaves: the splits that gain the least go first."""
    inner = tree.tree_
    left, right = inner.children_left, inner.children_right
    splits = np.flatnonzero(left >= 0)
    if len(splits) < leaves:
        return tree
    weighed = inner.impurity * inner.weighted_n_node_samples
    gain = np.full(inner.node_count, -np.inf)
    gain[splits] = weighed[splits] - weighed[left[splits]] - weighed[right[splits]]
    # A split is worth what the best one below it is: parents are then never below children.
    for node in splits[::-1]:
        gain[node] = max(gain[node], gain[left[node]], gain[right[node]])
    kept = splits[np.argsort(-gain[splits], kind="stable")][: leaves - 1]
    is_leaf = np.ones(inner.node_count, dtype=bool)
    is_leaf[kept] = False
    return cut_tree(tree, is_leaf)


def _slim(tree: Any) -> Any:
    """Return a tree without what no prediction reads, in numbers that pack well."""
    whole = cut_tree(tree, np.zeros(tree.tree_.node_count, dtype=bool))
    state = whole.tree_.__getstate__()
    nodes = state["nodes"]
    for unread in ("impurity", "n_node_samples", "weighted_n_node_samples"):
        nodes[unread] = 0
    # Rows are compared in single precision: x <= t is x <= the largest float32 below t.
    single = nodes["threshold"].astype(np.float32)
    too_high = single.astype(np.float64) > nodes["threshold"]
    nodes["threshold"] = np.where(too_high, np.nextafter(single, np.float32(-np.inf)), single)
    nodes["threshold"][nodes["left_child"] < 0] = -2.0
    inner = nodes["left_child"] >= 0
    values = state["values"].astype(np.float32).astype(np.float64)
    values[inner] = 0.0
    state["values"] = values
    whole.tree_.__setstate__(state)
    return whole
