"""Everything that hangs on an object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_LEAVES = (str, bytes, int, float, type)


def reachable(root: Any) -> Iterator[Any]:
    """Yield `root` and every object that hangs on it, each once; numbers and texts left out.

    Attributes, entries of mappings and sequences, and arrays of objects are followed.

    Examples
    --------
    >>> [type(each).__name__ for each in reachable({"a": [1, {"b": 2.0}]})]
    ['dict', 'list', 'dict']
    """
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen or isinstance(each, _LEAVES):
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, list | tuple | set):
            waiting.extend(each)
        elif isinstance(each, np.ndarray):
            waiting.extend(each.ravel().tolist() if each.dtype == object else ())
        else:
            waiting.extend(getattr(each, "__dict__", {}).values())
