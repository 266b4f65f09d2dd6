"""What the converters get wrong, put right for the length of a conversion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from onnx import helper
from skl2onnx.operator_converters import (
    decision_tree,
    gradient_boosting,
    isolation_forest,
    random_forest,
)

_WITH_TREES = (decision_tree, gradient_boosting, isolation_forest, random_forest)
_ADD = "add_tree_to_attribute_pairs"
_GAPS = "nodes_missing_value_tracks_true"


@contextmanager
def mended() -> Iterator[None]:
    """Convert with the known errors of skl2onnx mended, inside a ``with`` block.

    - Trees keep the way that a gap takes: skl2onnx up to 1.20 drops it without a word (its
      issue 1253), and a forest then labels a fifth of the rows with gaps otherwise.
    - NumPy's numbers among the attributes of a node become Python's: by release, onnx
      refuses them, or protobuf the booleans (HistGradientBoosting).

    Notes
    -----
    Changes functions of both packages for every thread until the block ends; conversions run
    in a process of their own. Where a release has mended itself, nothing changes.
    """
    with ExitStack() as back:
        for module in _WITH_TREES:
            _swap(back, module, _ADD, _keeping_gaps(getattr(module, _ADD)))
        _swap(back, helper, "make_attribute", _of_plain_numbers(helper.make_attribute))
        yield


def _swap(back: ExitStack, where: Any, name: str, new: Any) -> None:
    back.callback(setattr, where, name, getattr(where, name))
    setattr(where, name, new)


def _keeping_gaps(add: Callable[..., None]) -> Callable[..., None]:
    def added(
        attributes: dict[str, Any], is_classifier: Any, tree: Any, *more: Any, **named: Any
    ) -> None:
        add(attributes, is_classifier, tree, *more, **named)
        ways = getattr(tree, "missing_go_to_left", None)
        if ways is not None:
            attributes[_GAPS][-len(ways) :] = [int(way) for way in ways]

    return added


def _of_plain_numbers(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(key: str, value: Any, *more: Any, **named: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            value = value.tolist()
        if isinstance(value, list | tuple):
            value = [_plain(each) for each in value]
        return make(key, _plain(value), *more, **named)

    return made


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, bool) else value
