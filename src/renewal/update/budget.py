"""What a race may cost: seconds, trials or money."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from renewal.core.duration import parse_duration
from renewal.core.errors import Invalid

_TRIALS = re.compile(r"\s*(\d{1,12})\s*trials?\s*")
_MONEY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]{3})\s*")
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What a race may cost; whatever is not set is free.

    Parameters
    ----------
    seconds : float or None, default None
        Of fitting, all starters together.
    trials : int or None, default None
        Fits, those on a share of the rows included.
    money : float or None, default None
        At `price_per_hour`.
    price_per_hour : float, default 0
        Of an hour of fitting, such as the price of the GPU that does it.
    currency : str, default ""
        In which the price is; only shown.

    Raises
    ------
    Invalid
        On a negative or infinite number, or money without a price.
    """

    seconds: float | None = None
    trials: int | None = None
    money: float | None = None
    price_per_hour: float = 0.0
    currency: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not be spent."""
        numbers = (self.seconds, self.trials, self.money, self.price_per_hour)
        if any(each is not None and not 0 <= each < math.inf for each in numbers):
            raise Invalid(
                "Budget",
                needs="numbers of at least 0, none of them infinite",
                came=", ".join(map(str, numbers)),
                todo="Correct the budget.",
            )
        if self.money is not None and self.price_per_hour == 0.0:
            raise Invalid(
                "Budget",
                needs="a price for a budget in money",
                came="price_per_hour = 0",
                todo="Write price_per_hour under [update] in the policy: what an hour of fitting "
                "costs.",
            )

    def cost(self, seconds: float) -> float | None:
        """Return what so many seconds of fitting cost; None where there is no price."""
        return self.price_per_hour * seconds / _HOUR_S if self.price_per_hour else None

    def left_s(self, spent_s: float) -> float:
        """Return the seconds of fitting that are left after `spent_s`; infinite where free."""
        limits = [math.inf if self.seconds is None else self.seconds]
        if self.money is not None:
            limits.append(self.money / self.price_per_hour * _HOUR_S)
        return min(limits) - spent_s


def parse_budget(text: str, *, price_per_hour: float = 0.0, who: str = "parse_budget") -> Budget:
    """Read a budget: a duration, a number of trials, or money.

    Parameters
    ----------
    text : str
        ``10m``, ``20 trials`` or ``2.50 usd``; several are joined by ``and``.
    price_per_hour : float, default 0
        Of the policy.
    who : str
        Who asks, for the message.

    Raises
    ------
    Invalid
        On text of another form, and on money without a price.

    Examples
    --------
    >>> parse_budget("10m and 20 trials")
    Budget(seconds=600.0, trials=20, money=None, price_per_hour=0.0, currency='')
    >>> parse_budget("0.50 usd", price_per_hour=3.0).left_s(0.0)
    600.0
    """
    seconds: float | None = None
    trials: int | None = None
    money: float | None = None
    currency = ""
    for part in text.split(" and "):
        if found := _TRIALS.fullmatch(part):
            trials = int(found[1])
        elif found := _MONEY.fullmatch(part):
            money, currency = float(found[1]), found[2]
        else:
            seconds = _seconds(part, who)
    return Budget(seconds, trials, money, price_per_hour, currency)


def _seconds(text: str, who: str) -> float:
    try:
        return parse_duration(text.strip(), who=who).total_seconds()
    except Invalid as error:
        raise Invalid(
            who,
            needs="a duration such as 10m, a number of trials such as '20 trials', or money such "
            "as '2.50 usd'",
            came=repr(text),
            todo="Correct the budget.",
        ) from error
