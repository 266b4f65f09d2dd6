"""Strategies of somebody else, each of which does one thing that goes wrong, or tells something.

Tests copy this file beside a ``dist-info`` of its own, so that workers find its entry points as
those of any installed package.
"""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from renewal.update.contract import ALONE, Made, Means, Parent
from renewal.update.fine_tune import FineTune
from renewal.update.retrain import Retrain

_CHUNK = 16 << 20
_MOST_BYTES = 4 << 30
_PATIENCE_S = 120.0


class Telling(Retrain):
    """Retrains, and tells which process that was."""

    name = "telling"
    can_thin = False

    def make(
        self, parent: Parent, rows: Any, options: Any, seed: int, means: Means = ALONE
    ) -> Made:
        made = super().make(parent, rows, options, seed, means)
        told = {
            "pid": os.getpid(),
            "keeper": os.getppid(),
            "cores": os.environ.get("RENEWAL_CORES"),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "n_slots": None if means.engine is None else means.engine.n_slots,
        }
        return replace(made, facts={**made.facts, **told})


class Meeting(Retrain):
    """Retrains when another one is at work, too: two that run in turn would wait for ever."""

    name = "meeting"
    can_thin = False

    def make(
        self, parent: Parent, rows: Any, options: Any, seed: int, means: Means = ALONE
    ) -> Made:
        assert means.scratch is not None
        place = means.scratch.parent / "meeting"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{options.min_rows}").touch()
        give_up_s = time.monotonic() + _PATIENCE_S
        while len(list(place.iterdir())) < 2:
            if time.monotonic() > give_up_s:
                message = "nobody came"
                raise RuntimeError(message)
            time.sleep(0.01)
        return super().make(parent, rows, options, seed, means)


class Raising(Retrain):
    """Raises what no other process knows."""

    name = "raising"
    can_thin = False

    def make(self, *_: Any, **__: Any) -> Made:
        class Odd(Exception):
            pass

        message = "no more"
        raise Odd(message)


class Hungry(Retrain):
    """Takes all memory that it gets."""

    name = "hungry"
    can_thin = False

    def make(self, *_: Any, **__: Any) -> Made:
        held: list[Any] = []
        while len(held) * _CHUNK < _MOST_BYTES:
            held.append(np.ones(_CHUNK, np.uint8))
            time.sleep(0.002)
        message = "there was enough memory"
        raise AssertionError(message)


class Hanging(Retrain):
    """Never ends; says where it is, for who wants to kill."""

    name = "hanging"
    can_thin = False

    def make(self, *given: Any, **_: Any) -> Made:
        means = given[-1]
        if means.scratch is not None:
            place = Path(means.scratch)
            place.mkdir(parents=True, exist_ok=True)
            (place / "half").write_text(str(os.getpid()), encoding="ascii")
            (place / "half").rename(place / "pid")
        while True:
            time.sleep(0.05)


class Sticking(Retrain):
    """Takes part in the race, and never ends its last fit, the one without validation rows."""

    name = "sticking"
    can_thin = False

    def make(
        self, parent: Parent, rows: Any, options: Any, seed: int, means: Means = ALONE
    ) -> Made:
        while means.validation is None:
            time.sleep(0.05)
        return super().make(parent, rows, options, seed, means)


class Dying(Retrain):
    """Dies in the middle, as of a bug in C code."""

    name = "dying"
    can_thin = False

    def make(self, *_: Any, **__: Any) -> Made:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class Diverging(Retrain):
    """Returns weights that are not numbers any more."""

    name = "diverging"
    can_thin = False

    def make(
        self, parent: Parent, rows: Any, options: Any, seed: int, means: Means = ALONE
    ) -> Made:
        made = super().make(parent, rows, options, seed, means)
        made.estimator.coef_[:] = np.nan
        return made


class FullDisk(FineTune):
    """Fine-tunes where the disk is full: every checkpoint goes to a device that takes nothing."""

    name = "fulldisk"
    can_thin = False

    def make(
        self, parent: Parent, rows: Any, options: Any, seed: int, means: Means = ALONE
    ) -> Made:
        assert means.scratch is not None
        means.scratch.mkdir(parents=True, exist_ok=True)
        (means.scratch / "training.safetensors.part").symlink_to("/dev/full")
        return super().make(parent, rows, options, seed, means)
