"""When a model is updated and how: the loop's part of the policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from renewal.core.errors import Invalid
from renewal.monitor.alarm import AlarmKind
from renewal.update.budget import Budget


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    """When an update is due, and what it races.

    Parameters
    ----------
    recipes : tuple of str
        Strategies with their options, such as ``retrain:window=8w``; the race runs them in
        this order.
    selection : timedelta, default 7 days
        For timed data: the last stretch before the cut, on which the race picks a recipe.
    budget : timedelta, default 10 minutes
        Time of fitting for the race, all recipes together; recipes whose turn comes later,
        or that would take longer than what is left, are passed over.
    trials : int or None, default None
        Fits that a race may make; None: as many as the time allows.
    price_per_hour : float >= 0, default 0
        What an hour of fitting costs, such as the price of a GPU; the race then says what
        each candidate cost, and takes a budget in money.
    min_gain : float >= 0, unit of the loss, default 0
        What a dear recipe must be ahead in its best case to go on.
    former : int >= 0, default 2
        Former champions that race again: the world may have turned back.
    straight : bool, default False
        Whether, in the updates of a schedule, the recipe that won is fitted up to the cut
        without a heat before, as long as nobody else is clearly ahead of the champion: half the
        cost, and the gate then sees candidates that the selection rows would have stopped.
    three_way : bool, default True
        Whether a fine-tuned version is compared with the champion and a retrained one.
    every : timedelta or None, default 28 days
        The schedule trigger; None switches it off.
    new_labels : int or None, default None
        The amount trigger, labels; None switches it off.
    on_alarm : tuple of str, default ("performance",)
        Kinds of alarms that make an update due. Drift alone is not among them: features
        move with every season, and what counts is the loss.
    cooldown : timedelta, default 7 days
        No trigger is listened to so soon after an update.
    patience : timedelta, default 3 weeks
        How long a candidate on probation keeps its place: evidence for it is gathered day by
        day, and a newer candidate would begin with none. A person may replace it at any time.
    seed : int, default 0
        Of every fit.
    """

    recipes: tuple[str, ...] = ("recalibrate", "incremental", "retrain", "retrain:window=8w")
    selection: timedelta = timedelta(days=7)
    budget: timedelta = timedelta(minutes=10)
    trials: int | None = None
    price_per_hour: float = 0.0
    min_gain: float = 0.0
    former: int = 2
    straight: bool = False
    three_way: bool = True
    every: timedelta | None = timedelta(days=28)
    new_labels: int | None = None
    on_alarm: tuple[AlarmKind, ...] = ("performance",)
    cooldown: timedelta = timedelta(days=7)
    patience: timedelta = timedelta(weeks=3)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an update that could try nothing."""
        if not self.recipes:
            raise Invalid(
                "UpdateOptions",
                needs="at least one recipe",
                came="none",
                todo='Name one, such as recipes = ["retrain"].',
            )
        if not self.min_gain >= 0 or self.former < 0:
            raise Invalid(
                "UpdateOptions",
                needs="min_gain and former of at least 0",
                came=f"min_gain={self.min_gain}, former={self.former}",
                todo="Correct [update] in the policy.",
            )
        _ = self.spending

    @property
    def spending(self) -> Budget:
        """The budget of a race that nobody gave another."""
        seconds = self.budget.total_seconds()
        return Budget(seconds, self.trials, price_per_hour=self.price_per_hour)
