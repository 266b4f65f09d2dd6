"""What may be tuned in a recipe: its dimensions, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from renewal.core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Dimension:
    """The values that one parameter of a recipe may take.

    Either `choices`, or a range from `low` to `high`, both included.

    Parameters
    ----------
    low, high : float or int or None
        Ends of a range. Both ints: whole numbers.
    log : bool, default False
        Whether equal ratios count as equal steps; needs `low` > 0.
    choices : tuple, default ()
        JSON values, at least one.

    Raises
    ------
    Invalid
        When it is neither a range nor a choice, or its ends are the wrong way round or infinite.

    Examples
    --------
    >>> Dimension(1e-4, 1e1, log=True).is_whole, Dimension(choices=("l1", "l2")).choices
    (False, ('l1', 'l2'))
    """

    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a dimension without values."""
        is_range = (
            self.low is not None
            and self.high is not None
            and -math.inf < self.low < self.high < math.inf
        )
        if bool(self.choices) == is_range or (self.log and is_range and (self.low or 0) <= 0):
            raise Invalid(
                "Dimension",
                needs="either choices, or finite ends with low < high (low > 0 on a log scale)",
                came=f"low={self.low}, high={self.high}, log={self.log}, choices={self.choices}",
                todo="Correct the search space.",
            )

    @property
    def is_whole(self) -> bool:
        """Whether the range holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Space = Mapping[str, Dimension]
"""Dimensions by the name of the parameter, as `Adapter.with_params` takes it."""
