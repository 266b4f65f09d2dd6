"""Folds of a cross-fit: every class spread evenly, rows that belong together in one fold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from renewal.core.errors import Invalid


def joined(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.intp]:
    """Return groups of rows that share a value of either array, directly or by way of others.

    Parameters
    ----------
    first, second : arrays of shape (n_rows,)
        Such as the hash of the group and of the block.

    Returns
    -------
    int array of shape (n_rows,)
        Number of each row's group, from 0.

    Examples
    --------
    >>> joined(np.array(["a", "a", "b", "c"]), np.array([1, 2, 2, 3])).tolist()
    [0, 0, 0, 1]
    """
    _, left = np.unique(first, return_inverse=True)
    _, right = np.unique(second, return_inverse=True)
    n_left, n_all = int(left.max()) + 1, int(left.max()) + int(right.max()) + 2
    edges = sparse.coo_array((np.ones(len(left)), (left, n_left + right)), shape=(n_all, n_all))
    _, component = sparse.csgraph.connected_components(edges, directed=False)
    _, groups = np.unique(component[left], return_inverse=True)
    return groups


def stratified_folds(
    strata: NDArray[np.bool_],
    groups: NDArray[np.intp],
    *,
    n_folds: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Deal groups of rows into folds so that each fold has its share of every stratum.

    Largest groups first, in random order among those that bring the same; each goes to the
    fold that has the least of what it brings, rare strata counting most, and among equals to
    the smallest.
    Rows that are groups of their own are thereby spread to within one of each class.

    Parameters
    ----------
    strata : bool array, shape (n_rows, n_strata)
        Which row belongs to which stratum: its class, or any number of labels; no column
        for none.
    groups : int array, shape (n_rows,)
        Number of each row's group, from 0 without gaps.
    n_folds : int >= 2
        No more than there are groups.
    rng : numpy.random.Generator
        Gives the order.

    Returns
    -------
    int array of shape (n_rows,)
        The fold of each row, from 0; none is empty.

    Raises
    ------
    Invalid
        On fewer than two folds, or more folds than groups.

    Notes
    -----
    O(n_groups * n_folds * n_strata): 0.1 s for ten thousand groups.

    Examples
    --------
    >>> strata = np.arange(6)[:, np.newaxis] % 2 == np.arange(2)
    >>> fold = stratified_folds(strata, np.arange(6), n_folds=3, rng=np.random.default_rng(1))
    >>> [strata[fold == each].sum(axis=0).tolist() for each in range(3)]
    [[1, 1], [1, 1], [1, 1]]
    """
    n_groups = int(groups.max()) + 1
    if not 2 <= n_folds <= n_groups:
        raise Invalid(
            "stratified_folds",
            needs="at least two folds, and a group for each",
            came=f"{n_folds} folds of {n_groups} groups",
            todo="Ask for fewer folds.",
        )
    size = np.bincount(groups)
    brings = np.zeros((n_groups, strata.shape[1]))
    np.add.at(brings, groups, strata)
    # A share of its stratum, so that the one row of a rare class outweighs a common one.
    shares = brings / np.maximum(strata.sum(axis=0), 1)
    load, n_rows = np.zeros((n_folds, strata.shape[1])), np.zeros(n_folds)
    fold = np.empty(n_groups, np.intp)
    order = rng.permutation(n_groups)
    # One stratum after the other: the uneven end of each goes to the folds with fewest rows.
    for group in order[np.lexsort((*brings[order].T, -size[order]))]:
        burden = (load @ shares[group]).round(12)
        fold[group] = np.lexsort((n_rows, burden))[0]
        load[fold[group]] += shares[group]
        n_rows[fold[group]] += size[group]
    return fold[groups]
