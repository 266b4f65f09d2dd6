"""Who starts in a race, and what each is expected to cost, before anything is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.loop.journal import last_runs
from renewal.loop.workshop import Workshop
from renewal.registry.codec import from_plain
from renewal.update.desk import Desk
from renewal.update.entry import FORMER, KEEP, Entry
from renewal.update.estimate import expected_s, rows_used
from renewal.update.race import HALVE_FROM, Starter
from renewal.update.recipe import Recipe
from renewal.update.series import rest, straight

_N_PAST = 100


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
        Why it cannot make a candidate of these rows; it then has no heat.
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
    expected = {
        each.label: expected_s(each.label, rows_used(each, desk.parent, rows), versions)
        for each in recipes
    }
    ahead = _who_goes_straight(recipes, past) if shop.update.straight else None
    rests = None if ahead is None else rest(past, FORMER)
    found = [Foreseen(Starter(KEEP, expected_s=0.0), 0)]
    found += [
        Foreseen(Starter(f"{FORMER}{each.id}", expected_s=0.0, rests=rests), 0)
        for each in _former(shop, desk, versions)
    ]
    for recipe in recipes:
        strategy = load_plugin("strategies", recipe.strategy)()
        label, why_not = recipe.label, strategy.why_not(desk.parent, rows)
        is_dear = strategy.can_thin and len(rows) >= HALVE_FROM
        rests = None
        if label != ahead and (is_dear or ahead is not None):
            rests = rest(past, label, times=_times(expected, label, ahead))
        starter = Starter(label, is_dear, expected[label], rests, why_not, label == ahead)
        cost = None if starter.expected_s is None else shop.update.spending.cost(starter.expected_s)
        found.append(Foreseen(starter, rows_used(recipe, desk.parent, rows), why_not, cost))
    return tuple(found)


def _who_goes_straight(recipes: Sequence[Recipe], past: Sequence[Sequence[Entry]]) -> str | None:
    """Return the label of the recipe that needs no heat; one that fits afresh.

    One that tunes chooses in its heat, on rows that the fit up to the cut takes in.
    """
    for recipe in recipes:
        strategy = load_plugin("strategies", recipe.strategy)
        chooses = bool(getattr(recipe.options, "trials", 0))
        if not strategy.keeps_parent and not chooses and straight(past, recipe.label):
            return recipe.label
    return None


def _times(expected: Mapping[str, float | None], label: str, ahead: str | None) -> float:
    """Return how many times as long a recipe takes as the one that goes straight."""
    mine, theirs = expected[label], None if ahead is None else expected[ahead]
    return mine / theirs if mine and theirs else 1.0


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
    # What the champion was compressed from is no other model: it would only grow back.
    present = {desk.baseline.id, desk.source.id}
    former = [named[each] for each in ids if each in named and each not in present]
    return former[: shop.update.former]
