"""Who is certified: the front of a search, loaded, with what each costs to run."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from renewal.compress.certify import Certified
from renewal.compress.chain import parse_chain
from renewal.compress.estimate import spread_of
from renewal.compress.form import Form
from renewal.compress.front import Point, order
from renewal.compress.goal import Goal
from renewal.compress.report import Latency
from renewal.compress.runner import Runner
from renewal.compress.search import Found
from renewal.compress.trial import Trial
from renewal.core.errors import RenewalError
from renewal.core.plugin import load_plugin
from renewal.core.version import Manifest, Version
from renewal.data.rows import Rows
from renewal.evaluate.cost import Cost, measure_costs, memory_of
from renewal.loop.certifying import Entrant
from renewal.loop.workshop import Workshop
from renewal.models.contract import Runtime
from renewal.models.native import NativeRuntime
from renewal.models.onnx_convert import compile_key
from renewal.models.parity import parity
from renewal.models.score_map_adapter import MappedRuntime
from renewal.stats.apart import Spread

_log = logging.getLogger(__name__)

PARENT = "parent"
"""What the parent is called among what was measured."""

_MOST_TIMED = 12
_N_SINGLE = 400
_N_BATCH = 100
_LIMIT_S = 10.0
_N_COMPARED = 2000


def entrants_of(
    shop: Workshop, source: Version, runner: Runner, found: Found, goal: Goal
) -> list[Entrant]:
    """Return the front of a search in the order in which it is certified.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    source : Version
        What was compressed.
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
        both = {PARENT: runner.parent, **forms}
        timed = _timed(shop, source, both, trials, runner.validation)
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
        spread = spread_of_trial(runner, found, goal, trial)
        entrants.append(Entrant(trial, form, each.value, over, spread, memory))
    return entrants


def spread_of_trial(runner: Runner, found: Found, goal: Goal, trial: Trial) -> Spread | None:
    """Return how much the gain of a row varies, on the validation rows; None: nobody knows."""
    return spread_of(
        runner.material.task,
        goal,
        (runner.scores(trial), trial.classes),
        (runner.scores(found.trials[0]), runner.parent.classes),
        runner.material.task.labels(runner.validation.label, who="compress"),
    )


def points_of(runner: Runner, found: Found, goal: Goal) -> list[Point]:
    """Return the trials that came to a model, as validation rows and the objective see them."""
    points = []
    for each in found.trials[1:]:
        if each.failed is not None or not each.artifact or each.size is None:
            continue
        spread = spread_of_trial(runner, found, goal, each)
        se = 0.0 if spread is None else spread.se(len(runner.validation))
        value = each.size.of(goal.objective)
        # What has learned at little effort is no milder form of what has learned at all of it.
        family = f"{parse_chain(each.chain).family} at {each.effort:g}"
        points.append(Point(each.key, each.chain, family, value, found.gains[each.key], se))
    return points


def latencies(
    shop: Workshop,
    parent: tuple[Version, Form],
    entrants: Sequence[Entrant],
    rows: Rows,
    result: Certified,
) -> tuple[Latency, Latency]:
    """Time the parent and the model that may be registered, their calls taking turns.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    parent : tuple of (Version, Form)
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
    trials = {each.trial.key: each.trial for each in entrants}
    timed = _timed(shop, parent[0], {PARENT: parent[1], **forms}, trials, rows)
    return Latency.of(timed[PARENT]), Latency.of(timed[result.best])


def _timed(
    shop: Workshop,
    source: Version,
    forms: Mapping[str, Form],
    trials: Mapping[str, Trial],
    rows: Rows,
) -> Mapping[str, Cost]:
    """Time models in the runtimes that would serve them, their calls taking turns."""
    runtimes = {
        key: _runtime(shop, manifest_of(source.manifest, trials.get(key)), form, rows)
        for key, form in forms.items()
    }
    try:
        return measure_costs(
            runtimes,
            rows.features,
            n_single=_N_SINGLE,
            n_batch=_N_BATCH,
            limit_s=_LIMIT_S,
            seed=shop.gate.seed,
        )
    finally:
        for each in runtimes.values():
            each.close()


def manifest_of(source: Manifest, trial: Trial | None) -> Manifest:
    """Return the manifest of a trial as far as loading it goes; None: that of the source.

    Parameters
    ----------
    source : Manifest
        Of what was compressed.
    trial : Trial or None
        One that did not fail.
    """
    if trial is None or trial.signature is None or not trial.artifact:
        return source
    return replace(
        source,
        adapter=trial.adapter,
        artifact=trial.artifact,
        artifact_bytes=trial.size.bytes if trial.size is not None else 0,
        signature=trial.signature,
        classes=trial.classes,
        parts={name: each for name, each in source.parts.items() if name == "score_map"},
    )


def _runtime(shop: Workshop, manifest: Manifest, form: Form, rows: Rows) -> Runtime:
    """Return the runtime that would serve a model: compiled where that is equal on the rows.

    The whole comparison of both forms is the circuit's, once the model is a version
    (`renewal.loop.compiling`); here the rows at hand have to do.
    """
    adapter = form.runs
    native: Runtime = NativeRuntime(
        adapter, adapter.ready(form.estimator, form.signature), form.signature
    )
    if form.score_map is not None:
        native = MappedRuntime(native, form.score_map)
    if shop.compiled == "never" or compile_key(manifest.adapter) is None:
        return native
    few = rows.features.slice(0, _N_COMPARED)
    try:
        compiled: Runtime = load_plugin("runtimes", "onnx")(manifest, shop.store, shop.trust)
        found = parity(native, compiled, few)
    except RenewalError as error:
        _log.info("model %s: %s is timed as it is: %s", shop.spec.name, manifest.adapter, error)
        return native
    return compiled if found.n_labels_differ == found.n_ties_differ else native


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
