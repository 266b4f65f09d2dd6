"""What a candidate must prove, at which error, on how much evidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from renewal.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class GateOptions:
    """What a candidate must prove.

    Parameters
    ----------
    claim : {"superior", "no_worse"}, default "superior"
        superior: better than the champion by more than `margin`. no_worse: worse by less
        than `margin`, for scheduled refreshes and compression.
    margin : float >= 0, unit of the loss, default 0
        See `claim`; ``no_worse`` needs one above 0.
    alpha : float in (0, 0.5), default 0.05
        Chance of accepting a candidate for which the claim is false, over all looks at it.
    first_look_share : float in (0, 1), default 0.5
        Part of `alpha` that the one look at rows already there may spend; the rest is for
        going on over new rows.
    holdout : timedelta, default 14 days
        For timed models: how much of the newest past is kept from fitting and judged.
    embargo : timedelta or None, default None
        Gap between what is fitted and what is judged; None: the model's label delay.
    smallest_gain_share : float in [0, 1), default 0.01
        The smallest gain worth shipping, as a share of the champion's mean loss.
    min_blocks : int >= 2, blocks, default 7
        Below this a look decides nothing.
    max_blocks : int, blocks, default 90
        Going on ends here: a candidate that could not be proved by then is rejected.

    Examples
    --------
    >>> options = GateOptions()
    >>> options.first_alpha, options.later_alpha
    (0.025, 0.025)
    """

    claim: Literal["superior", "no_worse"] = "superior"
    margin: float = 0.0
    alpha: float = 0.05
    first_look_share: float = 0.5
    holdout: timedelta = timedelta(days=14)
    embargo: timedelta | None = None
    smallest_gain_share: float = 0.01
    min_blocks: int = 7
    max_blocks: int = 90

    def __post_init__(self) -> None:
        """Refuse options under which a verdict would mean nothing."""
        zero = timedelta(0)
        self._need(self.claim in {"superior", "no_worse"}, "claim", "superior or no_worse")
        least = "above 0 for no_worse" if self.claim == "no_worse" else "of at least 0"
        fits = self.margin > 0 if self.claim == "no_worse" else self.margin >= 0
        self._need(fits and math.isfinite(self.margin), "margin", f"a number {least}")
        self._need(0 < self.alpha < 0.5, "alpha", "between 0 and 0.5, both excluded")
        self._need(0 < self.first_look_share < 1, "first_look_share", "strictly within 0 and 1")
        self._need(self.holdout > zero, "holdout", "a duration above 0")
        self._need(self.embargo is None or self.embargo >= zero, "embargo", "not negative")
        self._need(0 <= self.smallest_gain_share < 1, "smallest_gain_share", "in [0, 1)")
        self._need(self.min_blocks >= 2, "min_blocks", "at least 2")
        self._need(self.max_blocks >= self.min_blocks, "max_blocks", "at least min_blocks")

    @property
    def first_alpha(self) -> float:
        """Error that the first look may spend."""
        return self.alpha * self.first_look_share

    @property
    def later_alpha(self) -> float:
        """Error that all later looks together may spend."""
        return self.alpha * (1.0 - self.first_look_share)

    def _need(self, fits: bool, name: str, needs: str) -> None:  # noqa: FBT001  # one table of checks reads best
        if not fits:
            raise Invalid(
                "GateOptions",
                needs=f"{name} {needs}",
                came=repr(getattr(self, name)),
                todo=f"Correct {name} in the policy's [gate].",
            )
