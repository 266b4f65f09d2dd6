"""What decisions cost, from the text of a recipe."""

from __future__ import annotations

import math

from renewal.core.errors import Invalid
from renewal.models.score_map_weights import Costs
from renewal.models.task import Classes

EQUAL = "equal"
"""Every mistake costs the same: the most probable class is served."""

_BINARY = {"tn": (0, 0), "fp": (0, 1), "fn": (1, 0), "tp": (1, 1)}


def costs_of(text: str, classes: Classes, *, who: str) -> Costs | None:
    """Return the decision that costs written in a recipe ask for; None for ``equal``.

    Parameters
    ----------
    text : str
        Costs joined by ``|``. With two classes ``fp:1|fn:5``, also ``tp`` and ``tn``; the
        second class is the positive one. With any number ``true>predicted:cost``, such as
        ``cat>dog:3``. What is not named costs 0 where it is right and 1 where it is wrong.
    classes : tuple
        In the order of the scores.
    who : str
        Who asks, for the message.

    Raises
    ------
    Invalid
        On an unknown name, one that comes twice, or a cost that is no finite number.

    Examples
    --------
    >>> costs_of("fp:1|fn:5", ("in time", "late"), who="demo")
    Costs(table=((0.0, 1.0), (5.0, 0.0)))
    >>> costs_of("cat>dog:3", ("cat", "dog", "hen"), who="demo").table[0]
    (0.0, 3.0, 1.0)
    """
    if text.strip() == EQUAL:
        return None
    n_classes = len(classes)
    pairs = {
        f"{true}>{served}": (at, to)
        for at, true in enumerate(classes)
        for to, served in enumerate(classes)
    }
    places = {**pairs, **(_BINARY if n_classes == 2 else {})}
    table = [[float(at != to) for to in range(n_classes)] for at in range(n_classes)]
    named = set()
    for part in text.split("|"):
        name, _, cost = (each.strip() for each in part.rpartition(":"))
        if name not in places or places[name] in named or not _is_number(cost):
            raise Invalid(
                who,
                needs="costs such as "
                + ("fp:1|fn:5" if n_classes == 2 else f"{classes[0]}>{classes[-1]}:5")
                + f", each pair of the classes {', '.join(map(repr, classes))} once",
                came=repr(part),
                todo=f"Correct the recipe, or write {EQUAL!r}.",
            )
        at, to = places[name]
        table[at][to] = float(cost)
        named.add((at, to))
    return Costs(tuple(map(tuple, table)))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
