"""The Pareto front of a search, and the order in which its models are certified."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

MOST = 12
"""Models that are certified at most: each has to score the test rows."""

_TWO = 2.0


@dataclass(frozen=True, slots=True)
class Point:
    """A trial as validation rows and the objective see it.

    Parameters
    ----------
    key, label : str
        Of the trial, and its chain.
    family : str
        The chain with its knob free: within it a smaller model is a bolder one.
    value : float
        Of the objective, smaller is better.
    gain : float
        Over the parent on the validation rows, positive where better; NaN: there is none.
    se : float, default 0
        Standard error of the gain.
    """

    key: str
    label: str
    family: str
    value: float
    gain: float
    se: float = 0.0


def front(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points that no other is both as small and as good as; the smallest last.

    Parameters
    ----------
    points : iterable of Point
        Those without a gain or of unknown size are never among them.

    Examples
    --------
    >>> points = [Point("a", "a", "f", 9, 0.0), Point("b", "b", "f", 5, -0.1),
    ...           Point("c", "c", "g", 7, -0.2)]
    >>> [each.key for each in front(points)]
    ['a', 'b']
    """
    found: list[Point] = []
    for each in sorted(_known(points), key=lambda it: (it.value, -it.gain, it.key)):
        if not found or each.gain > found[-1].gain:
            found.append(each)
    return tuple(reversed(found))


def order(
    points: Iterable[Point],
    *,
    margin: float,
    parent_value: float = math.inf,
    most: int = MOST,
) -> tuple[Point, ...]:
    """Return the models to certify, from the safest to the boldest.

    How safe a model is says its gain less two standard errors: the best of many estimates is
    often one of those that scatter most. Quality falls along the levels of one chain, so that
    within a family this is smoothed to fall, too (isotonic regression): a level that looks
    better than a milder one only by luck takes neither its place nor its turn. Of what is left,
    models that another is both as small and as safe as go; so do those that seem to break the
    line by more than two standard errors, and those that are no smaller than the parent.

    Parameters
    ----------
    points : iterable of Point
        Of validation rows alone: an order from the test rows would not be fixed before.
    margin : float
        Largest loss of gain allowed on them.
    parent_value : float, default infinite
        Of the objective for the parent.
    most : int, default 12
        Where there are more, they are thinned evenly, and both ends stay.

    Examples
    --------
    >>> points = [Point(str(at), str(at), "prune", 100 - at, -0.001 * at, 0.002)
    ...           for at in range(1, 20)]
    >>> [each.key for each in order(points, margin=0.01, most=4)]
    ['1', '5', '9', '13']
    """
    known = [each for each in _known(points) if each.value < parent_value]
    safe = _smoothed(known)
    kept = [each for each in known if not _is_dominated(each, known, safe)]
    kept = [each for each in kept if safe[each.key] + 2.0 * _TWO * each.se >= -margin]
    kept.sort(key=lambda each: (-safe[each.key], -each.value, each.key))
    if len(kept) <= most:
        return tuple(kept)
    places = np.unique(np.round(np.linspace(0, len(kept) - 1, most)).astype(int))
    return tuple(kept[at] for at in places)


def _known(points: Iterable[Point]) -> list[Point]:
    return [each for each in points if math.isfinite(each.gain) and math.isfinite(each.value)]


def _smoothed(points: list[Point]) -> dict[str, float]:
    """Return how safe models are; it never rises from a larger one of a family to a smaller."""
    families: dict[str, list[Point]] = defaultdict(list)
    for each in points:
        families[each.family].append(each)
    found = {}
    for members in families.values():
        members.sort(key=lambda each: (-each.value, -each.gain, each.key))
        bounds = _falling([each.gain - _TWO * each.se for each in members])
        found.update({each.key: bound for each, bound in zip(members, bounds, strict=True)})
    return found


def _falling(values: list[float]) -> list[float]:
    """Return the nearest values that never rise: neighbors out of order are averaged."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, n = value, 1
        while blocks and blocks[-1][0] < mean:
            before, n_before = blocks.pop()
            mean = (mean * n + before * n_before) / (n + n_before)
            n += n_before
        blocks.append((mean, n))
    return [mean for mean, n in blocks for _ in range(n)]


def _is_dominated(point: Point, points: list[Point], safe: Mapping[str, float]) -> bool:
    """Whether another is as small and as safe, and better in one; twins keep the first key."""
    ours = safe[point.key]
    for each in points:
        theirs = safe[each.key]
        if each is point or each.value > point.value or theirs < ours:
            continue
        if theirs > ours or (each.family != point.family and each.value < point.value):
            return True
        if each.value == point.value and (-each.gain, each.key) < (-point.gain, point.key):
            return True
    return False
