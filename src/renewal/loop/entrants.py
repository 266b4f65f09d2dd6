"""Who is certified: the front of a search, loaded, with what each costs to run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from renewal.compress.certify import Certified
from renewal.compress.chain import parse_chain
from renewal.compress.estimate import standard_error
from renewal.compress.form import Form
from renewal.compress.front import Point, order
from renewal.compress.goal import Goal
from renewal.compress.report import Latency
from renewal.compress.runner import Runner
from renewal.compress.search import Found
from renewal.compress.trial import Trial
from renewal.core.plugin import load_plugin
from renewal.data.rows import Rows
from renewal.evaluate.cost import Cost, measure_costs, memory_of
from renewal.loop.certifying import Entrant
from renewal.loop.workshop import Workshop
from renewal.models.contract import Runtime
from renewal.models.native import NativeRuntime
from renewal.models.score_map_adapter import MappedRuntime

PARENT = "parent"
"""What the parent is called among what was measured."""

_MOST_TIMED = 12
_N_SINGLE = 400
_N_BATCH = 100
_LIMIT_S = 10.0


def entrants_of(shop: Workshop, runner: Runner, found: Found, goal: Goal) -> list[Entrant]:
    """Return the front of a search in the order in which it is certified.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    runner : Runner
        Loads what the trials have stored.
    found : Found
        Of the search; validation rows alone decide the order.
    goal : Goal
        Settled.
    """
    points = points_of(runner, found, goal)
    if not points or found.margin < 0.0:
        return []
    trials = {each.key: each for each in found.trials}
    forms: dict[str, Form] = {}
    timed: Mapping[str, Cost] = {}
    if goal.objective == "latency" or goal.max_latency_ms is not None:
        near = [each for each in points if each.gain + each.se >= -found.margin]
        near.sort(key=lambda each: (_proxy(trials[each.key]), each.key))
        forms = {each.key: runner.form(trials[each.key]) for each in near[:_MOST_TIMED]}
        timed = _timed({PARENT: runner.parent, **forms}, runner.validation, seed=shop.gate.seed)
        points = [each for each in points if each.key in forms]
    size = found.trials[0].size
    parent_value = math.inf if size is None else size.of(goal.objective)
    if goal.objective == "latency":
        parent_value = timed[PARENT].latency_ms_p50_1
        points = [_with_latency(each, timed[each.key]) for each in points]
    entrants = []
    for each in order(points, margin=found.margin, parent_value=parent_value):
        trial = trials[each.key]
        form = forms.get(each.key) or runner.form(trial)
        memory = None
        if goal.max_memory_bytes is not None:
            memory = _memory(shop, trial)
        over = goal.over(
            n_bytes=trial.size.bytes if trial.size is not None else None,
            latency_ms=timed[each.key].latency_ms_p99_1 if each.key in timed else None,
            memory_bytes=memory,
        )
        entrants.append(Entrant(trial, form, each.value, over))
    return entrants


def points_of(runner: Runner, found: Found, goal: Goal) -> list[Point]:
    """Return the trials that came to a model, as validation rows and the objective see them."""
    labels = runner.material.task.labels(runner.validation.label, who="compress")
    nothing = found.trials[0]
    theirs = (runner.scores(nothing), runner.parent.classes)
    points = []
    for each in found.trials[1:]:
        if each.failed is not None or not each.artifact or each.size is None:
            continue
        ours = (runner.scores(each), each.classes)
        se = standard_error(runner.material.task, goal, ours, theirs, labels)
        value = each.size.of(goal.objective)
        family = parse_chain(each.chain).family
        points.append(Point(each.key, each.chain, family, value, found.gains[each.key], se))
    return points


def latencies(
    shop: Workshop,
    parent: Form,
    entrants: Sequence[Entrant],
    rows: Rows,
    result: Certified,
) -> tuple[Latency, Latency]:
    """Time the parent and the model that may be registered, their calls taking turns.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    parent : Form
        What was compressed.
    entrants : sequence of Entrant
        Of the front.
    rows : Rows
        Whose features are sent.
    result : Certified
        Names the one that is chosen, or best where none is certified.

    Returns
    -------
    tuple of (Latency, Latency)
        Of the parent and of the model; NaN where there is none.
    """
    forms = {each.trial.key: each.form for each in entrants if each.trial.key == result.best}
    if not forms or result.best is None:
        return Latency(), Latency()
    timed = _timed({PARENT: parent, **forms}, rows, seed=shop.gate.seed)
    return Latency.of(timed[PARENT]), Latency.of(timed[result.best])


def runtime_of_form(form: Form) -> Runtime:
    """Return a form as a runtime."""
    adapter = form.runs
    runtime: Runtime = NativeRuntime(
        adapter, adapter.ready(form.estimator, form.signature), form.signature
    )
    return runtime if form.score_map is None else MappedRuntime(runtime, form.score_map)


def _timed(forms: Mapping[str, Form], rows: Rows, *, seed: int) -> Mapping[str, Cost]:
    runtimes = {key: runtime_of_form(form) for key, form in forms.items()}
    return measure_costs(
        runtimes,
        rows.features,
        n_single=_N_SINGLE,
        n_batch=_N_BATCH,
        limit_s=_LIMIT_S,
        seed=seed,
    )


def _with_latency(point: Point, cost: Cost) -> Point:
    return Point(point.key, point.label, point.family, cost.latency_ms_p50_1, point.gain, point.se)


def _proxy(trial: Trial) -> float:
    assert trial.size is not None, "only trials with a size are timed"
    return float(trial.size.macs if trial.size.macs is not None else trial.size.bytes)


def _memory(shop: Workshop, trial: Trial) -> int | None:
    """Return what loading a trial's bytes adds to a process."""
    load = partial(_loaded, trial.adapter, shop.store.get(trial.artifact), shop.trust)
    return memory_of(load, limit_s=shop.gate.timeout.total_seconds()).n_bytes


def _loaded(adapter: str, data: bytes, trust: tuple[str, ...]) -> Any:
    """Load a model; a function of a module, so that a child process can be told of it."""
    return load_plugin("adapters", adapter)().load(data, trust)
