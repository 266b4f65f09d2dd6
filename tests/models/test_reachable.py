"""The walk that finds every part of a model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from renewal.models.reachable import reachable


def test_finds_parts_in_every_container_once() -> None:
    """Broken by a container that is not opened, a circle, or a part that comes twice."""
    part = SimpleNamespace(name="part")
    array = np.empty((1, 1), dtype=object)
    array[0, 0] = (part, {part.name: [part]})
    root = SimpleNamespace(array=array, part=part, number=3.0, nothing=None)
    part.owner = root
    found = list(reachable(root))
    assert sum(each is part for each in found) == 1
    assert sum(each is root for each in found) == 1
    assert not any(isinstance(each, str | float) or each is None for each in found)


def test_does_not_open_arrays_of_numbers() -> None:
    """Broken by a walk that turns a million floats into objects."""
    assert len(list(reachable(np.zeros(1_000_000)))) == 1
