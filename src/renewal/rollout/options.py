"""How a candidate is let into the traffic: the rollout's part of the policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from renewal.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class RolloutOptions:
    """How long each step of a rollout lasts, and what takes it back.

    Parameters
    ----------
    shadow_for : timedelta, default 2 days
        How long an accepted candidate scores along before it answers anybody.
    canary : tuple of float in (0, 1), increasing, default (0.1, 0.5)
        Shares of the traffic that it answers, one after the other; empty: from shadow
        straight to full.
    canary_for : timedelta, default 2 days
        How long each share lasts.
    watch_for : timedelta, default 14 days
        How long the former champion scores along after the candidate took over; until then
        it can be taken back by its losses.
    harm_alpha : float in (0, 1), default 0.01
        Chance that a candidate that is no worse is ever taken back for its losses.
    harm_margin_share : float >= 0, default 0
        How much worse it may be, as a share of the champion's mean loss, without counting
        as harmful.
    error_alpha : float in (0, 1), default 0.01
        Chance that a candidate that fails no more often is ever taken back for its errors.

    Examples
    --------
    >>> RolloutOptions(canary=(0.5, 0.1))
    Traceback (most recent call last):
    ...
    renewal.core.errors.Invalid: RolloutOptions needs shares strictly between 0 and 1 that...
    """

    shadow_for: timedelta = timedelta(days=2)
    canary: tuple[float, ...] = (0.1, 0.5)
    canary_for: timedelta = timedelta(days=2)
    watch_for: timedelta = timedelta(days=14)
    harm_alpha: float = 0.01
    harm_margin_share: float = 0.0
    error_alpha: float = 0.01

    def __post_init__(self) -> None:
        """Refuse shares that do not grow, times that run backward, and levels that are none."""
        bounds = (0.0, *self.canary, 1.0)
        if any(not low < high for low, high in pairwise(bounds)):
            raise Invalid(
                "RolloutOptions",
                needs="shares strictly between 0 and 1 that grow from step to step",
                came=f"canary = {list(self.canary)}",
                todo="Write them in order, such as canary = [0.1, 0.5].",
            )
        for name in ("shadow_for", "canary_for", "watch_for"):
            if getattr(self, name) < timedelta(0):
                raise Invalid(
                    "RolloutOptions",
                    needs=f"{name} of at least 0",
                    came=str(getattr(self, name)),
                    todo="Write a duration such as 2d.",
                )
        for name in ("harm_alpha", "error_alpha"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise Invalid(
                    "RolloutOptions",
                    needs=f"{name} strictly between 0 and 1",
                    came=repr(getattr(self, name)),
                    todo="Write the chance of a false alarm, such as 0.01.",
                )
        if not 0.0 <= self.harm_margin_share < float("inf"):
            raise Invalid(
                "RolloutOptions",
                needs="harm_margin_share of at least 0",
                came=repr(self.harm_margin_share),
                todo="Write a share of the champion's loss, such as 0.01.",
            )
