"""Techniques of strangers that do what no technique may; installed for a test as a package's."""

from __future__ import annotations

import resource
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, ClassVar

import numpy as np

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material

RAN: Counter[str] = Counter()
BEGAN, GO_ON = Event(), Event()


@dataclass(frozen=True, slots=True)
class NoOptions:
    """There are none."""


class _Bad:
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


class Leaving(_Bad):
    """Leaves the process, it thinks."""

    name: ClassVar[str] = "prune.leaving"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Leave."""
        raise SystemExit(3)


class Panicking(_Bad):
    """Panics."""

    name: ClassVar[str] = "prune.panicking"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Panic."""
        raise PanicError("at the first line")


class Interrupted(_Bad):
    """Is what a person interrupts by Ctrl-C, the first time."""

    name: ClassVar[str] = "prune.interrupted"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Be interrupted once."""
        RAN[self.name] += 1
        if RAN[self.name] == 1:
            raise KeyboardInterrupt
        return replace(form, estimator=_weaker(form.estimator, 0.9))


class Hanging(_Bad):
    """Hangs until it is told to go on."""

    name: ClassVar[str] = "prune.hanging"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Wait."""
        BEGAN.set()
        GO_ON.wait()
        return replace(form, estimator=_weaker(form.estimator, 0.9))


class Filling(_Bad):
    """Comes to a model for which the disk has no room, the first time."""

    name: ClassVar[str] = "prune.filling"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Return a model of 10 MB where no file may grow beyond 8."""
        RAN[self.name] += 1
        made = _weaker(form.estimator, 0.8)
        if RAN[self.name] == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, resource.RLIM_INFINITY))
            made.ballast_ = np.random.default_rng(0).integers(255, size=10_000_000, dtype="u1")
        return replace(form, estimator=made)


class Vandal(_Bad):
    """Changes the model that it is handed, and returns it: both are equally bad then."""

    name: ClassVar[str] = "prune.vandal"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Turn the parent around, in its place."""
        form.estimator.coef_[:] = -form.estimator.coef_
        return form


class OtherClasses(_Bad):
    """Says that the columns of the scores mean something else."""

    name: ClassVar[str] = "prune.classes"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Rename the classes."""
        made = deepcopy(form.estimator)
        made.classes_ = np.array(["no", "yes"])
        return replace(form, estimator=made, classes=("no", "yes"))


class Swapped(_Bad):
    """Swaps what the columns of the scores mean, and not the columns."""

    name: ClassVar[str] = "prune.swapped"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Swap the classes."""
        return replace(form, classes=form.classes[::-1])


class Wide(_Bad):
    """Has scores for a class more than it says."""

    name: ClassVar[str] = "prune.wide"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Return a model of three classes."""
        made = deepcopy(form.estimator)
        made.classes_ = np.array([False, True, 2], dtype=object)
        made.coef_ = np.vstack([made.coef_] * 3)
        made.intercept_ = np.zeros(3)
        return replace(form, estimator=made)


class Nothing(_Bad):
    """Returns nothing at all."""

    name: ClassVar[str] = "prune.none"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Forget to return."""
        return None  # type: ignore[return-value]  # that is what is wrong with it


class Weaker(_Bad):
    """Does what it should: a model with a smaller coefficient."""

    name: ClassVar[str] = "prune.weaker"

    def apply(self, form: Form, options: Any, material: Material, *, seed: int) -> Form:  # noqa: ARG002  # part of the contract
        """Return a slightly other model."""
        RAN[self.name] += 1
        return replace(form, estimator=_weaker(form.estimator, 0.9))


def _weaker(estimator: Any, share: float) -> Any:
    made = deepcopy(estimator)
    made.coef_ = made.coef_ * share
    return made


class PanicError(BaseException):
    """What some extension modules raise when they give up."""
