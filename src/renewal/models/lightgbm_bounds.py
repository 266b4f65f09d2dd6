"""Whether a model in LightGBM's text format may be handed to LightGBM.

The library believes what the text says. A tree whose child lies beyond its arrays reads
foreign memory at the first row, and one that ends too soon ends the process. So every tree is
read here first; what this reader does not know, the library does not get.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.boosters_bytes import not_ours

_WHOLE = re.compile(r"[-0-9 ]*")
_NUMBERS = re.compile(r"[-+0-9.eE naif]*")
_OF_SPLITS = ("split_feature", "split_gain", "threshold", "decision_type", "left_child",
              "right_child", "internal_value", "internal_weight", "internal_count")  # fmt: skip
_OF_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_OF_CATEGORIES = ("cat_boundaries", "cat_threshold")
_OF_LINES = ("leaf_const", "num_features", "leaf_features", "leaf_coeff")
_ONE_EACH = ("num_leaves", "num_cat", "is_linear", "shrinkage")
_INTEGERS = {"split_feature", "decision_type", "left_child", "right_child", "leaf_count",
             "internal_count", "num_features", "leaf_features", *_OF_CATEGORIES}  # fmt: skip
_MOST_CLASSES = 100_000

Numbers = NDArray[Any]


def why_unsound(text: str) -> str | None:
    """Return why a model must not be loaded, as a part of a sentence; None when it may.

    Parameters
    ----------
    text : str
        As ``Booster.model_to_string`` returns it.

    Notes
    -----
    About 60 ms for 200 trees of 31 leaves, three times what LightGBM takes to load them.
    """
    try:
        _check(text)
    except Invalid as error:
        return error.came
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        return f"{error}".strip("'")
    return None


def _check(text: str) -> None:
    _demand("\r" not in text and "\0" not in text, "line ends of another kind")
    first = text.find("\nTree=")
    end = text.find("\nend of trees\n")
    head = _lines(text[: end if first < 0 else first])
    n_features = int(head["max_feature_idx"]) + 1
    _check_classes(head)
    sizes = [int(each) for each in head["tree_sizes"].split()]
    _demand(end > 0 and bool(sizes) == (first > 0), "no end of its trees")
    at = first + 1
    for number, size in enumerate(sizes):
        _demand(size > 0, "a tree of no size")
        block = text[at : at + size]
        _demand(block.startswith(f"Tree={number}\n") and block.endswith("\n"), "trees out of place")
        _check_tree(_lines(block), n_features)
        at += size
    _demand(not sizes or at == end + 1, "more between its trees than trees")
    _demand(len(sizes) % int(head["num_tree_per_iteration"]) == 0, "half a round of trees")


def _check_classes(head: Mapping[str, str]) -> None:
    """Demand as many trees a round as there are scores: the library writes one score each."""
    n_classes = int(head["num_class"])
    _demand(0 < n_classes < _MOST_CLASSES, "a number of classes that cannot be")
    _demand(int(head["num_tree_per_iteration"]) == n_classes, "other trees a round than classes")
    name, *options = head["objective"].split()
    named = [each.partition(":")[2] for each in options if each.startswith("num_class:")]
    wanted = [str(n_classes)] if name.startswith("multiclass") else []
    _demand(named == wanted and (bool(wanted) or n_classes == 1), "an objective of other classes")


def _check_tree(found: Mapping[str, str], n_features: int) -> None:
    one = {name: found[name] for name in _ONE_EACH}
    n_leaves, n_categories = int(one["num_leaves"]), int(one["num_cat"])
    _demand(n_leaves >= 1 and n_categories >= 0, "a tree without leaves")
    is_linear = one["is_linear"] == "1"
    float(one["shrinkage"])
    names = {"Tree", *_ONE_EACH, *_OF_SPLITS, *_OF_LEAVES}
    names |= {*(_OF_CATEGORIES if n_categories else ()), *(_OF_LINES if is_linear else ())}
    _demand(set(found) == names, f"lines that no tree has, or lacks some: {set(found) ^ names}")
    held = {name: _numbers(name, found[name]) for name in names - {"Tree", *_ONE_EACH}}
    for name in _OF_SPLITS:
        _demand(len(held[name]) == n_leaves - 1, f"{name} of another length")
    for name in _OF_LEAVES:
        # A tree of one leaf may leave out what the leaf weighs.
        may = {n_leaves, 0} if n_leaves == 1 and name != "leaf_value" else {n_leaves}
        _demand(len(held[name]) in may, f"{name} of another length")
    parents = np.arange(n_leaves - 1)
    for name in ("left_child", "right_child"):
        child = held[name]
        # A split comes after its parent, so no way down is endless.
        is_sound = np.where(child < 0, ~child < n_leaves, child > parents) & (child < n_leaves - 1)
        _demand(bool(is_sound.all()), f"{name} beyond the tree")
    _demand(_within(held["split_feature"], n_features), "split_feature beyond the columns")
    _demand(_within(held["decision_type"], 12), "a decision_type that there is not")
    _check_categories(held, n_categories)
    if is_linear:
        _check_lines(held, n_leaves, n_features)


def _check_categories(held: Mapping[str, Numbers], n_categories: int) -> None:
    of_categories = held["threshold"][(held["decision_type"] & 1).astype(bool)]
    _demand(_within(of_categories, n_categories), "categories that there are not")
    if not n_categories:
        return
    ends, words = held["cat_boundaries"], held["cat_threshold"]
    _demand(len(ends) == n_categories + 1 and ends[0] == 0, "cat_boundaries of another length")
    _demand(bool((np.diff(ends) >= 0).all()) and ends[-1] == len(words), "cat_boundaries beyond")
    _demand(_within(words, 1 << 32), "cat_threshold beyond 32 bits")


def _check_lines(held: Mapping[str, Numbers], n_leaves: int, n_features: int) -> None:
    counts = held["num_features"]
    _demand(len(counts) == len(held["leaf_const"]) == n_leaves, "num_features of another length")
    _demand(bool((counts >= 0).all()), "num_features below zero")
    n_all = int(counts.sum())
    _demand(len(held["leaf_features"]) == len(held["leaf_coeff"]) == n_all, "lines beyond")
    _demand(_within(held["leaf_features"], n_features), "leaf_features beyond the columns")


def _lines(block: str) -> dict[str, str]:
    """Return the lines of the form name=value; each name once."""
    found: dict[str, str] = {}
    # A blank line ends a tree for LightGBM.
    for line in block.rstrip("\n").split("\n"):
        name, _, value = line.partition("=")
        _demand(bool(name), "a line without a name")
        _demand(name not in found, f"{name} twice")
        found[name] = value
    return found


def _numbers(name: str, value: str) -> Numbers:
    is_whole = name in _INTEGERS
    _demand(bool((_WHOLE if is_whole else _NUMBERS).fullmatch(value)), f"{name} of no numbers")
    return np.array(value.split(), dtype=np.int64 if is_whole else np.float64)


def _within(found: Numbers, end: int) -> bool:
    return bool(((found >= 0) & (found < end)).all())


def _demand(is_so: bool, otherwise: str) -> None:  # noqa: FBT001  # reads as a sentence
    if not is_so:
        raise not_ours("load", otherwise)
