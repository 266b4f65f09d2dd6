"""What the circuit did, one record an event, for people and programs alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from renewal.core.progress import Progress


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that the circuit did or noticed.

    Parameters
    ----------
    at : datetime
        When, by the clock of the home.
    kind : str
        ``trigger``, ``alarm``, ``race``, ``verdict``, ``rollout``, ``rolled_back``, ``none``.
    sentence : str
        One plain line with its numbers.
    facts : mapping
        The same for programs, JSON values.
    """

    at: datetime
    kind: str
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Tell = Callable[[Happening], None]
"""Whoever wants to hear of happenings as they come: a terminal, a log, a list."""


def tell_nobody(happening: Happening) -> None:
    """Hear of a happening and do nothing."""


HearRecipe = Callable[[str, Progress], None]
"""Whoever wants to hear how far each recipe of a race has come, by its label."""


def hear_no_recipe(label: str, said: Progress) -> None:
    """Hear how far a recipe has come and do nothing."""
