"""The outputs of a request that several versions answered, in the order of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from renewal.core.errors import Invalid
from renewal.core.spec import Label
from renewal.serve.outcome import BY_VERSION
from renewal.serve.served import Part

Outputs = Mapping[str, np.ndarray[Any, Any]]


def merged_outputs(parts: Sequence[Part]) -> tuple[dict[str, Any], tuple[Label, ...]]:
    """Return the task's outputs, with ``version`` for each row, and the classes.

    Parameters
    ----------
    parts : sequence of Part
        Disjoint, all scored; together all rows. A version gives 0 to a class that it does
        not know.
    """
    classes = _all_classes(parts)
    n_rows = sum(len(part.rows) for part in parts)
    scores = np.zeros((n_rows, len(classes) or 1))
    names = np.empty(n_rows, dtype=object)
    for part in parts:
        own = part.loaded.version.manifest.classes
        columns = np.asarray([classes.index(each) for each in own] if classes else [0])
        scores[np.ix_(part.rows, columns)] = part.scores
        names[part.rows] = part.loaded.version.name
    outputs = dict(parts[0].loaded.task.outputs(scores, classes))
    outputs[BY_VERSION] = names
    return outputs, classes


def wanted_outputs(outputs: Outputs, wanted: Sequence[str], version: str, n_rows: int) -> Outputs:
    """Return the outputs that a client names, in its order.

    Parameters
    ----------
    outputs : mapping of str to array
        What there is; with ``version`` where several answered.
    wanted : sequence of str
        May name ``version`` at any time: a client does not know how its rows will be split.
    version : str
        Who answered, where it was one.
    n_rows : int
        Of the request.

    Raises
    ------
    Invalid
        When the model does not have one of them.
    """
    if BY_VERSION in wanted and BY_VERSION not in outputs:
        outputs = {**outputs, BY_VERSION: np.full(n_rows, version, dtype=object)}
    for name in wanted:
        if name not in outputs:
            raise Invalid(
                "infer",
                needs=f"outputs among {', '.join(outputs)}",
                came=repr(name),
                todo="Ask for one of these, or leave `outputs` out for all.",
            )
    return {name: outputs[name] for name in wanted}


def _all_classes(parts: Sequence[Part]) -> tuple[Label, ...]:
    of_each = [part.loaded.version.manifest.classes for part in parts]
    if all(classes == of_each[0] for classes in of_each):
        return of_each[0]
    return tuple(sorted({label for classes in of_each for label in classes}))
