"""Who starts in a race, and what each is expected to cost, before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.loop.journal import last_runs
from renewal.loop.workshop import Workshop
from renewal.registry.codec import from_plain
from renewal.update.desk import Desk
from renewal.update.entry import FORMER, KEEP, Entry
from renewal.update.estimate import expected_s, rows_used
from renewal.update.race import HALVE_FROM, Starter, rest, sure
from renewal.update.recipe import Recipe

_N_PAST = 32


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A starter with what is known about it beforehand.

    Parameters
    ----------
    starter : Starter
        As it races.
    n_rows : int
        Rows that its fit would use.
    why_not : str or None, default None
        Why it cannot make a candidate of these rows; it then finds that out in the race.
    cost : float or None, default None
        Money, where the policy has a price.
    """

    starter: Starter
    n_rows: int
    why_not: str | None = None
    cost: float | None = None


def starters(
    shop: Workshop, desk: Desk, recipes: Sequence[Recipe], *, is_routine: bool = False
) -> tuple[Foreseen, ...]:
    """Return who starts: the champion, former versions, and the recipes in their order.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    desk : Desk
        Of the update.
    recipes : sequence of Recipe
        What is to be tried.
    is_routine : bool, default False
        Whether the update is one of a series, as the schedule makes them: then recipes rest
        that were beaten again and again, and one that always wins needs no heat. What a
        person asks for runs, and an alarm says that the past may be no guide.
    """
    rows = desk.training(in_race=True)
    versions = shop.registry.versions(shop.spec.name)
    past = _past(shop) if is_routine else ()
    found = [Foreseen(Starter(KEEP, expected_s=0.0), 0)]
    found += [
        Foreseen(Starter(f"{FORMER}{each.id}", expected_s=0.0), 0)
        for each in _former(shop, desk, versions)
    ]
    for recipe in recipes:
        strategy = load_plugin("strategies", recipe.strategy)()
        is_dear = strategy.can_thin and len(rows) >= HALVE_FROM
        n_rows = rows_used(recipe, desk.parent, rows)
        expected = expected_s(recipe.label, n_rows, versions)
        rests = rest(past, recipe.label) if is_dear else None
        is_sure = is_dear and shop.update.straight and sure(past, recipe.label)
        found.append(
            Foreseen(
                Starter(recipe.label, is_dear, expected, rests, is_sure),
                n_rows,
                strategy.why_not(desk.parent, rows),
                None if expected is None else shop.update.spending.cost(expected),
            )
        )
    return tuple(found)


def _past(shop: Workshop) -> tuple[tuple[Entry, ...], ...]:
    """Return the entries of the model's last races, newest first."""
    runs = last_runs(shop.db, shop.spec.name, limit=_N_PAST)
    outcomes = [each.outcome for each in runs if each.state == "done" and each.outcome]
    return tuple(
        tuple(from_plain(Entry, entry) for entry in outcome["entries"]) for outcome in outcomes
    )


def _former(shop: Workshop, desk: Desk, versions: Sequence[Version]) -> list[Version]:
    """Return former champions that may come back, the last one first."""
    moves = shop.registry.history(shop.spec.name, "champion")
    named = {each.id: each for each in versions}
    ids = dict.fromkeys(str(move.to_id) for move in reversed(moves))
    former = [named[each] for each in ids if each in named and each != desk.baseline.id]
    return former[: shop.update.former]
