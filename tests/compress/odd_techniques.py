"""Techniques that no search may trip over; installed for a test as any package's are.

`SHOWN` notes what they were shown and how often they ran, for this process.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.core.errors import Unavailable

RAN: Counter[str] = Counter()
SHOWN: list[Material] = []


@dataclass(frozen=True, slots=True)
class NoOptions:
    """There are none."""


@dataclass(frozen=True, slots=True)
class KeepOptions:
    """How many trees stay, and a switch beside the knob."""

    keep: int = 5
    last: bool = False


class _Odd:
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = ("sklearn",)
    Options: ClassVar[type[Any]] = NoOptions
    knob: ClassVar[str | None] = None
    learns: ClassVar[bool] = False

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # part of the contract
        """Say nothing."""
        return None

    def levels(self, form: Form, material: Material) -> tuple[Any, ...]:  # noqa: ARG002  # part of the contract
        """Return the only level."""
        return (self.Options(),)


class Raising(_Odd):
    """Raises what no library should."""

    name: ClassVar[str] = "prune.raising"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Raise."""
        RAN[self.name] += 1
        raise ZeroDivisionError("a long story, told\n" * 20)  # a stranger's


class Full(_Odd):
    """Finds no memory the first time, and changes nothing the next."""

    name: ClassVar[str] = "prune.full"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Raise once."""
        RAN[self.name] += 1
        if RAN[self.name] == 1:
            raise MemoryError
        return form


class Busy(_Odd):
    """Finds its room busy."""

    name: ClassVar[str] = "prune.busy"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Raise."""
        raise Unavailable("prune.busy", needs="a room", came="a busy one", todo="Try again.")


class Nan(_Odd):
    """Says NaN of every row."""

    name: ClassVar[str] = "prune.nan"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Return a forest that is no model."""
        return replace(form, estimator=_kept(form.estimator, 1, np.nan))


class Trees(_Odd):
    """Keeps the first trees: what is better, larger, and counted, in a few lines."""

    name: ClassVar[str] = "prune.trees"
    Options: ClassVar[type[Any]] = KeepOptions
    knob: ClassVar[str | None] = "keep"

    def levels(self, form: Form, material: Material) -> tuple[KeepOptions, ...]:  # noqa: ARG002  # part of the contract
        """Return one level less for each tree."""
        return tuple(KeepOptions(keep) for keep in range(len(form.estimator.estimators_), 0, -1))

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Keep some."""
        RAN[self.name] += 1
        SHOWN.append(material)
        return replace(form, estimator=_kept(form.estimator, options.keep))


class Learning(Trees):
    """Does the same and says that it learns, so that effort counts."""

    name: ClassVar[str] = "distil.trees"
    family: ClassVar[Family] = "distil"
    learns: ClassVar[bool] = True


class Levelless(Trees):
    """Has a knob, and nothing to turn it to."""

    name: ClassVar[str] = "prune.levelless"

    def levels(self, form: Form, material: Material) -> tuple[KeepOptions, ...]:  # noqa: ARG002  # part of the contract
        """Return none."""
        return ()


class Unlevelled(Trees):
    """Cannot say its levels."""

    name: ClassVar[str] = "prune.unlevelled"

    def levels(self, form: Form, material: Material) -> tuple[KeepOptions, ...]:  # noqa: ARG002  # part of the contract
        """Raise."""
        raise KeyError("levels")


def _kept(forest: Any, keep: int, times: float = 1.0) -> Any:
    from copy import copy, deepcopy  # noqa: PLC0415  # a stranger's code

    made = copy(forest)
    made.estimators_ = list(forest.estimators_[:keep])
    made.n_estimators = keep
    if times != 1.0:
        made.estimators_ = [deepcopy(each) for each in made.estimators_]
        for each in made.estimators_:
            each.tree_.value[:] = times
    return made
