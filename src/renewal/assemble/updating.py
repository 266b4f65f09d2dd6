"""The face of one model's updates: race, judge, and say beforehand what that will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from renewal.assemble.labelling import Labelling
from renewal.core.duration import parse_duration
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.loop.circuit import Circuit, verdict_in
from renewal.loop.happening import HearRecipe, Tell, hear_no_recipe, tell_nobody
from renewal.loop.pinning import desk_of, pin
from renewal.loop.starting import Foreseen, starters
from renewal.loop.sweeping import Swept, sweep_losers
from renewal.update.budget import parse_budget
from renewal.update.recipe import parse_recipe


@dataclass(frozen=True, slots=True)
class Update:
    """What came of an update.

    Parameters
    ----------
    run_id : str
        In the journal.
    entries : tuple of mapping
        The race: recipe, outcome, loss on the selection rows, seconds, reason.
    candidate : Version or None
        The winner; None when nothing beats the champion.
    verdict : Verdict or None
        What the gate says of it.
    three_way : mapping
        After a fine-tuning: the original, the fine-tuned and a retrained version on the same
        unseen rows (`renewal.loop.three_way`); empty after any other update.
    """

    run_id: str
    entries: tuple[Mapping[str, Any], ...]
    candidate: Version | None
    verdict: Verdict | None
    three_way: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The verdict in one line, or why there is none."""
        if self.verdict is None:
            return "nothing in the race beats the champion"
        return f"{self.verdict.outcome}: {self.verdict.reason}"


class Updating(Labelling):
    """What a model offers about its updates; see `renewal.assemble.model.Model`."""

    def update(
        self,
        recipes: Sequence[str] | None = None,
        *,
        budget: str | None = None,
        roll_out: bool = False,
        tell: Tell = tell_nobody,
        hear: HearRecipe = hear_no_recipe,
    ) -> Update:
        """Race strategies, judge the winner on unseen rows, and return the verdict.

        Parameters
        ----------
        recipes : sequence of str or None
            Such as ``["recalibrate", "retrain:window=8w"]``; default: the policy's.
        budget : str or None
            For the race: a time such as ``"2m"``, a number of fits such as ``"20 trials"``,
            or money such as ``"1.50 usd"``; default: the policy's.
        roll_out : bool, default False
            Whether to start the rollout of a candidate that was not rejected.
        tell : callable
            Hears of every happening.
        hear : callable
            Hears how far each recipe of the race has come.

        Returns
        -------
        Update
            The race, the candidate and its verdict.

        Raises
        ------
        NotFound
            When the model has no champion yet.
        Conflict
            When another update of it is under way.
        Invalid
            When a recipe or the budget cannot be read: then nothing has begun.
        """
        options = self.home.policy(self.name).update
        spending = options.spending
        if budget is not None:
            price = options.price_per_hour
            spending = parse_budget(budget, price_per_hour=price, who="Model.update")
        asked = tuple(recipes or options.recipes)
        for each in asked:
            parse_recipe(each)
        run = Circuit(self._shop(tell, hear)).update(
            ("asked for",), asked, spending, roll_out=roll_out
        )
        return self.update_of(run.id, run.outcome or {})

    def foresee(self, recipes: Sequence[str] | None = None) -> tuple[Foreseen, ...]:
        """Say what an update would try and what that would take; nothing is fitted.

        Parameters
        ----------
        recipes : sequence of str or None
            As for `update`; default: the policy's.

        Returns
        -------
        tuple of Foreseen
            In the order of the race. Seconds are None for a recipe that never ran here: a
            race then learns them from its first ninth of the rows.

        Raises
        ------
        NotFound
            When the model has no champion yet.
        """
        shop = self._shop()
        desk = desk_of(shop, pin(shop, self.home.clock.now()))
        asked = recipes or shop.update.recipes
        return starters(shop, desk, [parse_recipe(each) for each in asked])

    def sweep(self, older: timedelta | str = "30d") -> Swept:
        """Delete the bytes of candidates that lost their race; their records stay.

        Parameters
        ----------
        older : timedelta or str, default "30d"
            Only those that were registered so long ago.
        """
        return sweep_losers(self._shop(), parse_duration(older, who="Model.sweep"))

    def update_of(self, run_id: str, outcome: Mapping[str, Any]) -> Update:
        """Return a finished run of the journal as an `Update`."""
        candidate = outcome.get("candidate")
        return Update(
            run_id,
            tuple(outcome["entries"]),
            None if candidate is None else self.version(candidate),
            verdict_in(outcome),
            outcome.get("three_way") or {},
        )
