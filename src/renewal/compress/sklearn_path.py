"""prune.path: trees along the path of their cost-complexity, without a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
from sklearn.ensemble._forest import BaseForest
from sklearn.tree import BaseDecisionTree
from sklearn.tree._tree import Tree, _build_pruned_tree_ccp, ccp_pruning_path

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.sklearn_inside import changed, learner_of, with_learner
from renewal.core.errors import Invalid

_SEVERAL = (BaseForest, AdaBoostClassifier, AdaBoostRegressor)
_N_LEVELS = 12
_N_TREES_LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class PathOptions:
    """How far along the path.

    Parameters
    ----------
    alpha : float >= 0, in units of the impurity, default 0
        A branch goes when each of its leaves lowers the impurity of the tree by less.
    """

    alpha: float = 0.0


class PrunePath:
    r"""Cut branches of a fitted tree by minimal cost-complexity.

    The subtree that minimizes :math:`R(T) + \alpha |T|`, with R the impurity on the rows of
    the fit and :math:`|T|` the leaves, is the same for a tree that is pruned afterwards and for
    one that is fitted with ``ccp_alpha``; subtrees of a larger alpha are nested in those of a
    smaller one. So the whole path comes from the fitted tree, and no row is needed. In a forest
    or AdaBoost each tree is cut with the same alpha.

    Notes
    -----
    3 ms for a tree of 3,000 leaves, so less than a second for 200 of them. Forests that were
    grown to the end often gain by it. Trees of gradient boosting are not taken: their inner
    nodes hold no value that a leaf could have; `prune.rounds` takes these.

    References
    ----------
    .. [1] Breiman et al., Classification and Regression Trees, 1984, chapter 3
    """

    name: ClassVar[str] = "prune.path"
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = ("sklearn",)
    Options: ClassVar[type[Any]] = PathOptions
    knob: ClassVar[str | None] = "alpha"
    learns: ClassVar[bool] = False

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # the contract's
        """Return that it is no tree and no forest, or that nothing is left to cut."""
        trees = trees_of(form)
        if trees is None:
            return f"{type(learner_of(form)).__name__} is no tree, forest or AdaBoost of trees"
        if all(tree.tree_.node_count == 1 for tree in trees):
            return "every tree is a single leaf already"
        if not any(tree.tree_.impurity.any() for tree in trees):
            return "the impurities of its nodes were left out (prune.forest with slim)"
        return None

    def levels(self, form: Form, material: Material) -> tuple[PathOptions, ...]:  # noqa: ARG002  # the contract's
        """Return alphas at which the steps of the path that are left fall by a constant factor."""
        found = np.array([])
        trees = trees_of(form) or []
        places = np.linspace(0, len(trees) - 1, min(len(trees), _N_TREES_LOOKED_AT))
        for at in places.astype(int):
            found = np.append(found, ccp_pruning_path(trees[at].tree_)["ccp_alphas"])
        # At the largest every tree would be its root; the step before is kept.
        alphas = np.unique(found[found < found.max()]) if len(found) else found
        if not len(alphas):
            return (PathOptions(),)
        left = np.geomspace(len(found), len(places), _N_LEVELS + 1)[1:]
        at_rank = np.sort(found)[np.clip(len(found) - left.astype(int), 0, len(found) - 1)]
        chosen = np.unique(np.minimum(at_rank, alphas[-1]))
        return tuple(PathOptions(float(alpha)) for alpha in chosen)

    def apply(
        self,
        form: Form,
        options: PathOptions,
        material: Material,
        *,
        seed: int,  # noqa: ARG002  # the contract's
    ) -> Form:
        """Return the form with its trees cut at ``options.alpha``."""
        reason = self.why_not(form, material)
        if reason is not None or not options.alpha >= 0.0:
            raise Invalid(
                self.name,
                needs="trees, and an alpha of at least 0",
                came=reason or f"alpha={options.alpha}",
                todo="Take another technique, or one of the levels.",
            )
        learner = learner_of(form)
        if isinstance(learner, BaseDecisionTree):
            return with_learner(form, _cut(learner, options.alpha))
        trees = [_cut(tree, options.alpha) for tree in learner.estimators_]
        return with_learner(form, changed(learner, estimators_=trees))


def trees_of(form: Form) -> list[Any] | None:
    """Return the trees of a tree, a forest or an AdaBoost of trees; None for anything else."""
    learner = learner_of(form)
    if isinstance(learner, BaseDecisionTree):
        return [learner]
    if not isinstance(learner, _SEVERAL):
        return None
    trees = list(learner.estimators_)
    return trees if all(isinstance(tree, BaseDecisionTree) for tree in trees) else None


def _cut(tree: Any, alpha: float) -> Any:
    old = tree.tree_
    n_classes: NDArray[np.intp] = np.array(np.ravel(old.n_classes), dtype=np.intp)
    smaller = Tree(old.n_features, n_classes, old.n_outputs)
    _build_pruned_tree_ccp(smaller, old, alpha)
    return changed(tree, tree_=smaller)
