"""A study that kills its own process: ``killed_study.py JOURNAL CALLS``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from renewal.models.space import Dimension
from renewal.update.optuna import tune
from renewal.update.tuning import Plan, Try

PLAN = Plan("killed", {"x": Dimension(-3.0, 3.0)}, trials=18, seed=1, shares=(1 / 9, 1 / 3, 1.0))


def evaluate(tries: Sequence[Try]) -> list[float | str]:
    """Return how far each is off; fewer rows make it look worse."""
    return [(params.get("x", 3.0) - 1) ** 2 + 1 - share for params, share in tries]


def always(_share: float) -> bool:
    """Say that there is time."""
    return True


def main(journal: str, n_calls: int) -> None:
    """Run the study until the given call, and kill this process in the middle of it."""
    left = n_calls

    def killing(tries: Sequence[Try]) -> list[float | str]:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return evaluate(tries)

    tune(replace(PLAN, journal=Path(journal)), killing, always)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
