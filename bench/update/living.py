"""A model that lives through a stream: who is fitted when, what that costs, who serves.

Every fit goes through the product's strategies, and the race through its own rules: heats are
run here in place of the loop's, over plain values. A fit that two policies ask for is made
once, and each of them is charged for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.update.worlds import World, between, labels_of, us
from renewal.core.clock import from_us
from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.core.version import Manifest, Version
from renewal.data.frame import signature_of
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.models.adapters import adapter_for
from renewal.models.contract import Adapter
from renewal.models.labels import Labels
from renewal.models.task import Binary, Classes, Scores
from renewal.update.budget import Budget
from renewal.update.contract import Made, Parent
from renewal.update.entry import FORMER, KEEP, Entry, pick
from renewal.update.estimate import rows_used
from renewal.update.race import HALVE_FROM, Heat, Result, Starter, race
from renewal.update.recipe import Recipe, parse_recipe
from renewal.update.series import rest, straight
from renewal.update.stretches import thinned

N_FORMER = 2
N_PAST = 100


class Errors(Binary):
    """Two classes, decided by whether the likeliest one is right: whoever counts errors."""

    name: str = "errors"
    loss_name: str = "error_rate"
    loss_bound: float | None = 1.0

    def loss(self, scores: Scores, labels: Labels, classes: Classes) -> Scores:
        """Return 1 for every wrong row, 0 for every right one."""
        likeliest = self.outputs(scores, classes)["label"].astype(object)
        return np.asarray(likeliest != labels, np.float64)


TASK = Binary()


@dataclass(frozen=True, eq=False)
class Serving:
    """A fitted model as the strategies start from it.

    Parameters
    ----------
    parent : Parent
        Its version, loaded.
    recipe : str
        How it was made.
    until_us : int, microseconds since 1970
        No row from here on lives on in it.
    """

    parent: Parent
    recipe: str
    until_us: int

    @property
    def classes(self) -> Classes:
        """What the columns of its scores mean."""
        return self.parent.version.manifest.classes

    @property
    def n_rows(self) -> int:
        """Rows of its fit."""
        return self.parent.version.manifest.n_trained_rows

    def scores(self, rows: Rows) -> NDArray[np.float64]:
        """Return the probability of each class for each row."""
        scores: NDArray[np.float64] = self.parent.adapter.predict(
            self.parent.estimator, rows.features
        )
        return scores


class Fits:
    """Every fit of a world, made once, with its processor seconds.

    Parameters
    ----------
    world : World
        The stream.
    estimator : object
        Unfitted.
    seed : int
        Of every fit.
    """

    def __init__(self, world: World, estimator: Any, seed: int) -> None:
        self.world = world
        self.seed = seed
        self._adapter: Adapter = adapter_for(estimator, who="bench")
        self._estimator = estimator
        self._made: dict[tuple[Any, ...], tuple[Serving, float] | str] = {}
        self.first = self._first()

    def fit(
        self, champion: Serving, recipe: Recipe, until_us: int, share: float = 1.0
    ) -> tuple[Serving, float] | str:
        """Return a candidate of the rows before `until_us` and its seconds, or why not."""
        keeps = load_plugin("strategies", recipe.strategy).keeps_parent
        key = (recipe.label, until_us, share, champion.parent.version.id if keeps else None)
        if key not in self._made:
            self._made[key] = self._fitted(champion, recipe, until_us, share)
        return self._made[key]

    def _fitted(
        self, champion: Serving, recipe: Recipe, until_us: int, share: float
    ) -> tuple[Serving, float] | str:
        strategy = load_plugin("strategies", recipe.strategy)()
        began_s = time.process_time()
        rows = thinned(between(self.world.rows, None, until_us), share)
        why_not: str | None = strategy.why_not(champion.parent, rows)
        if why_not is not None:
            return why_not
        try:
            made = strategy.make(champion.parent, rows, recipe.options, self.seed)
        except Invalid as error:  # such as too few rows: no candidate of this race
            return str(error)
        cpu_s = time.process_time() - began_s
        return self._serving(made, recipe.label, until_us), cpu_s

    def _first(self) -> Serving:
        """Fit on the rows before the first block: the version with which every policy begins."""
        until_us = self.world.first_us - us(self.world.delay)
        rows = between(self.world.rows, None, until_us)
        began_s = time.process_time()
        labels = TASK.labels(rows.label, who="bench")
        fitted = self._adapter.fit(self._estimator, rows.features, labels, seed=self.seed)
        self.first_s = time.process_time() - began_s
        made = Made(
            estimator=fitted,
            classes=self._adapter.classes(fitted),
            keyset=KeySet.of(rows),
            n_rows=len(rows),
            trained_until_us=int(rows.event_us.max()),
            parent_is_ancestor=False,
            strategy="train",
            options={},
        )
        return self._serving(made, "train", until_us)

    def _serving(self, made: Made, label: str, until_us: int) -> Serving:
        """Give a candidate the version that the registry would give it."""
        name = f"{self.world.name}/{label}/{until_us}/{self.seed}"
        manifest = Manifest(
            model=self.world.name,
            task=TASK.name,
            adapter=self._adapter.name,
            artifact=name,  # what a digest is for, without writing every model to a disk
            artifact_bytes=0,
            signature=signature_of(self.world.rows.features),
            classes=made.classes,
            strategy=made.strategy,
            options=made.options,
            n_trained_rows=made.n_rows,
            trained_until=None if made.trained_until_us is None else from_us(made.trained_until_us),
            seed=self.seed,
        )
        number = len(self._made) + 2
        version = Version(name, number, manifest, {}, from_us(until_us), "bench")
        parent = Parent(version, made.estimator, self._adapter, TASK, made.keyset)
        return Serving(parent, label, until_us)


@dataclass
class Bill:
    """What a policy has cost so far.

    Parameters
    ----------
    n_fits : int
        Fits of whatever share of the rows.
    fit_s : float, seconds
        Of the processor, in fits.
    score_s : float, seconds
        Of the processor, in scoring to choose; what serving costs is not in it.
    """

    n_fits: int = 0
    fit_s: float = 0.0
    score_s: float = 0.0

    @property
    def cpu_s(self) -> float:
        """All of it."""
        return self.fit_s + self.score_s


class Never:
    """The first fit serves for ever."""

    name = "never"

    def __init__(self, fits: Fits) -> None:
        self.fits = fits
        self.bill = Bill(1, fits.first_s)

    def next(self, champion: Serving, now_us: int) -> Serving:  # noqa: ARG002  # the policies' form
        """Return who serves from now on."""
        return champion


class Every(Never):
    """Fit one recipe before every block."""

    def __init__(self, fits: Fits, name: str, recipe: str) -> None:
        super().__init__(fits)
        self.name = name
        self._recipe = parse_recipe(recipe)

    def next(self, champion: Serving, now_us: int) -> Serving:
        """Return who serves from now on."""
        found = self.fits.fit(champion, self._recipe, now_us - us(self.fits.world.delay))
        assert not isinstance(found, str), found
        self.bill.n_fits += 1
        self.bill.fit_s += found[1]
        return found[0]


class Race(Never):
    """Race before every block, on the newest block whose labels are all there.

    Parameters
    ----------
    fits : Fits
        Of the world.
    recipes : sequence of str
        What is raced.
    straight : bool, default False
        As in the policy of a model: whether one that always wins needs no heat.
    """

    def __init__(
        self,
        fits: Fits,
        recipes: Sequence[str],
        name: str = "race",
        *,
        straight: bool = False,
        task: Binary = TASK,
    ) -> None:
        super().__init__(fits)
        self.name = name
        self.past: list[tuple[Entry, ...]] = []
        self.recipes = {each.label: each for each in map(parse_recipe, recipes)}
        self.straight = straight
        self.task = task
        self.paces: dict[str, float] = {}
        self.former: list[Serving] = []

    def next(self, champion: Serving, now_us: int) -> Serving:
        """Return who serves from now on."""
        running = _Running(self, champion, now_us)
        entries = running.race()
        self.past = [entries, *self.past[: N_PAST - 1]]
        winner = pick(entries)
        if winner is None:
            return champion
        following = running.winner(winner.recipe)
        if following is not champion:
            self.former = [champion, *(each for each in self.former if each is not following)]
        return following


class _Running:
    """One race: its rows, its champion, its heats."""

    def __init__(self, policy: Race, champion: Serving, now_us: int) -> None:
        world = policy.fits.world
        self._policy = policy
        self._champion = champion
        self._cut_us = now_us - us(world.delay)
        self._select_us = self._cut_us - us(world.block)
        # As for a judged stretch: labels that were not known when selection began stay out.
        self._until_us = self._select_us - us(world.delay)
        self._selection = between(world.rows, self._select_us, self._cut_us)
        self._labels = TASK.labels(labels_of(self._selection), who="bench")
        self._straight = self._who_goes_straight()
        self._served = {KEEP: champion}
        former = [each for each in policy.former if each.until_us <= self._select_us]
        for serving in former[:N_FORMER]:
            self._served[f"{FORMER}{serving.parent.version.id}"] = serving

    def _who_goes_straight(self) -> str | None:
        policy = self._policy
        if not policy.straight:
            return None
        afresh = [
            label
            for label, recipe in policy.recipes.items()
            if not load_plugin("strategies", recipe.strategy).keeps_parent
        ]
        return next((each for each in afresh if straight(policy.past, each)), None)

    def race(self) -> tuple[Entry, ...]:
        """Race the champion, former ones and the recipes."""
        rests = rest(self._policy.past, FORMER) if self._straight else None
        starters = [
            Starter(each, expected_s=0.0, rests=None if each == KEEP else rests)
            for each in self._served
        ]
        rows = between(self._policy.fits.world.rows, None, self._until_us)
        starters += [self._starter(each, rows) for each in self._policy.recipes.values()]
        return race(starters, self._heats, Budget(), blocks=self._selection.block)

    def winner(self, label: str) -> Serving:
        """Return what a label stands for, fitted up to the cut where it is a recipe."""
        if label in self._served:
            return self._served[label]
        found = self._policy.fits.fit(self._champion, self._policy.recipes[label], self._cut_us)
        assert not isinstance(found, str), found
        self._policy.bill.n_fits += 1
        self._policy.bill.fit_s += found[1]
        self._policy.paces[label] = found[1] / found[0].n_rows
        return found[0]

    def _starter(self, recipe: Recipe, rows: Rows) -> Starter:
        """Return a recipe as a schedule lets it race; compare `renewal.loop.starting`."""
        policy, label = self._policy, recipe.label
        strategy = load_plugin("strategies", recipe.strategy)()
        is_dear = strategy.can_thin and len(rows) >= HALVE_FROM
        is_straight, rests = label == self._straight, None
        if not is_straight and (is_dear or self._straight is not None):
            rests = rest(policy.past, label, times=self._times(recipe, rows))
        began_s = time.process_time()
        why_not = None if rests else strategy.why_not(self._champion.parent, rows)
        policy.bill.score_s += time.process_time() - began_s
        return Starter(label, is_dear, None, rests, why_not, is_straight)

    def _times(self, recipe: Recipe, rows: Rows) -> float:
        """Return how much dearer a recipe is than the one that goes straight, by their paces."""
        policy, theirs = self._policy, self._straight
        if theirs is None or not {recipe.label, theirs} <= policy.paces.keys():
            return 1.0
        mine_s, theirs_s = (
            policy.paces[each.label] * rows_used(each, self._champion.parent, rows)
            for each in (recipe, policy.recipes[theirs])
        )
        return mine_s / theirs_s

    def _heats(self, heats: Sequence[Heat]) -> list[Result]:
        return [self._heat(heat) for heat in heats]

    def _heat(self, heat: Heat) -> Result:
        serving, bill = self._served.get(heat.label), self._policy.bill
        fit_s = 0.0
        if serving is None:
            recipe = self._policy.recipes[heat.label]
            found = self._policy.fits.fit(self._champion, recipe, self._until_us, heat.share)
            if isinstance(found, str):
                return Result(Entry(heat.label, "not_possible", found))
            serving, fit_s = found
            bill.n_fits += 1
            bill.fit_s += fit_s
            self._policy.paces[heat.label] = fit_s / serving.n_rows
        elif serving.until_us > self._select_us:
            return Result(Entry(heat.label, "not_possible", "it trained on these rows"))
        began_s = time.process_time()
        losses = self._policy.task.loss(
            serving.scores(self._selection), self._labels, serving.classes
        )
        score_s = time.process_time() - began_s
        bill.score_s += score_s
        seconds = fit_s + score_s
        entry = Entry(heat.label, "made", "", float(losses.mean()), seconds, seconds)
        return Result(entry, losses)
