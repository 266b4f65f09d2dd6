"""Any versions on the same unseen rows: what the gate, the CLI and a report all need."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import numpy as np

from renewal.core.clock import to_us
from renewal.core.errors import Invalid, Missing, Refused, RenewalError, Unavailable
from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.data.stamp import block_length_us
from renewal.evaluate.cache import cached_scores, rows_id
from renewal.evaluate.cost import Cost, measure_costs, memory_of
from renewal.evaluate.report import Report, Scored, evaluate
from renewal.evaluate.score import score
from renewal.evaluate.unseen import unseen
from renewal.loop.workshop import Workshop
from renewal.models.contract import Runtime
from renewal.models.task import Scores
from renewal.update.lineage import living_ancestors

_log = logging.getLogger(__name__)

_MICROSECOND = timedelta(microseconds=1)
_DAY_US = timedelta(days=1) // _MICROSECOND


def keyset_of(shop: Workshop, version: Version) -> KeySet | None:
    """Return the keys and groups that a version trained on; None where nobody knows."""
    digest = version.manifest.trained_keys
    return None if digest is None else KeySet.from_bytes(shop.store.get(digest))


def unseen_by(shop: Workshop, rows: Rows, *versions: Version) -> tuple[Rows, int]:
    """Return the rows that none of the versions trained on, and how many were set aside.

    Raises
    ------
    Refused
        When no row is left.
    """
    living = [
        each for version in versions for each in living_ancestors(shop.registry.lineage(version.id))
    ]
    return unseen(
        rows,
        [keyset_of(shop, version) for version in living],
        [to_us(version.created_at) for version in living],
    )


def block_us(shop: Workshop) -> int | None:
    """Return the length of a unit of evidence, microseconds; None where it is no stretch of time.

    Never under a day or the label delay: labels that come together are wrong together.
    """
    declared_us = block_length_us(shop.spec)
    if declared_us is None:
        return None
    delay_us = shop.spec.label_delay // _MICROSECOND
    return max(declared_us, _DAY_US, -(-delay_us // _DAY_US) * _DAY_US)


class Unscorable(Invalid):
    """One version cannot be loaded, answers with an error or with NaN, or not in time.

    ``fields["version_id"]`` says which, ``came`` why.
    """

    @classmethod
    def of(cls, version: Version, why: str) -> Unscorable:
        """Return the error for a version and the reason in words."""
        return cls(
            f"scoring {version.name}",
            needs="finite scores of every row, in time",
            came=why,
            todo="Find out why this version fails on these rows; it must not go live like this.",
            version_id=version.id,
        )


def scores_of(shop: Workshop, version: Version, rows: Rows, *, form: str = "native") -> Scores:
    """Return what a stored version says of rows, from the cache or from the version itself.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    version : Version
        Loaded and verified where it has not scored these rows before.
    rows : Rows
        At least one.
    form : str, default "native"
        A runtime of the shelf ``renewal.runtimes``, such as ``onnx``.

    Raises
    ------
    Unscorable
        When it cannot be loaded, raises, or takes longer than the gate's `timeout`.
    """
    limit_s = shop.gate.timeout.total_seconds()

    def work() -> Scores:
        runtime = runtime_of(shop, version, form)
        try:
            return score(runtime, rows)
        finally:
            runtime.close()

    def compute() -> Scores:
        try:
            return _within(work, limit_s, version)
        except Missing:
            raise  # a framework that is not installed here says nothing about the version
        except RenewalError as error:
            raise Unscorable.of(version, str(error)) from error
        except (Exception, SystemExit) as error:
            # A plug-in may raise anything; what it raised is the reason that people read.
            _log.exception("model %s: %s cannot score", shop.spec.name, version.id)
            raise Unscorable.of(version, f"{type(error).__name__}: {error}") from error

    # What goes wrong beside the version, such as a locked database, is not held against it.
    key = (version.id, rows_id(rows), form)
    return cached_scores(shop.db, shop.store, key, compute, at=shop.clock.now())


def runtime_of(shop: Workshop, version: Version, form: str = "native") -> Runtime:
    """Return a loaded version in a form, to be closed by the caller."""
    runtime: Runtime = load_plugin("runtimes", form)(version.manifest, shop.store, shop.trust)
    return runtime


def evaluate_versions(
    shop: Workshop,
    versions: Sequence[Version],
    rows: Rows,
    *,
    form: str = "native",
    used: Sequence[str] = (),
    more: Sequence[str] = (),
    has_cost: bool = False,
) -> Report:
    """Score versions on the rows that none of them trained on.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    versions : sequence of Version
        Stored versions, at least one.
    rows : Rows
        Labelled rows.
    form : str, default "native"
        In which they run.
    used : sequence of str
        Digests of key sets of rows that an earlier verdict has used: they are set aside.
    more : sequence of str
        Metrics beside those of the task; see `renewal.evaluate.report.evaluate`.
    has_cost : bool, default False
        Whether latency at batch 1 and 64, memory and bytes are measured too: some seconds.

    Returns
    -------
    Report
        Losses by row and block, and the metrics of the task for each version.

    Raises
    ------
    Refused
        When no unseen row is left: no model is judged on what it trained on.
    Unscorable
        When a version cannot be loaded, raises, answers with NaN, or takes too long.
    """
    left = _unused(shop, rows, used)
    if len(rows) and not len(left):
        raise Refused(
            "The comparison",
            needs="labelled rows that no verdict has used",
            came=f"{len(rows):,} rows, all of them used by earlier verdicts",
            todo="Append newer rows.",
            n_rows=len(rows),
        )
    fresh, _n_seen = unseen_by(shop, left, *versions)
    scored = [
        Scored(
            version.id,
            scores_of(shop, version, fresh, form=form),
            version.manifest.classes,
            version.name,
            form,
        )
        for version in versions
    ]
    report = report_of(shop, fresh, scored, versions, n_seen=len(rows) - len(fresh), more=more)
    if not has_cost:
        return report
    return replace(report, costs=costs_of(shop, versions, fresh, form=form))


# Showing anything about a 99th percentile at 5% takes 368 calls.
_N_BATCH_CALLS = 400


def costs_of(
    shop: Workshop,
    versions: Sequence[Version],
    rows: Rows,
    *,
    form: str = "native",
    has_latency: bool = True,
    has_memory: bool = True,
) -> dict[str, Cost]:
    """Measure what versions cost to run, their calls taking turns.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    versions : sequence of Version
        Stored versions.
    rows : Rows
        Whose features are sent.
    form : str, default "native"
        In which they run.
    has_latency, has_memory : bool, default True
        Whether calls are timed (up to 20 s), and whether each version is loaded in a fresh
        process (about 2 s each).

    Returns
    -------
    dict of str to Cost
        By version id; NaN and None where something was not measured.
    """
    runtimes: dict[str, Runtime] = {}
    try:
        if has_latency:
            runtimes.update({each.id: runtime_of(shop, each, form) for each in versions})
        timed = measure_costs(runtimes, rows.features, n_batch=_N_BATCH_CALLS, seed=shop.gate.seed)
    finally:
        for runtime in runtimes.values():
            runtime.close()
    nothing = Cost(np.empty(0), np.empty(0))
    return {
        each.id: replace(
            timed.get(each.id, nothing),
            artifact_bytes=each.manifest.artifact_bytes,
            memory_bytes=_memory(shop, each, form) if has_memory else None,
        )
        for each in versions
    }


def _memory(shop: Workshop, version: Version, form: str) -> int | None:
    load = partial(load_plugin("runtimes", form), version.manifest, shop.store, shop.trust)
    return memory_of(load, limit_s=shop.gate.timeout.total_seconds()).n_bytes


def report_of(
    shop: Workshop,
    rows: Rows,
    scored: Sequence[Scored],
    versions: Sequence[Version],
    *,
    n_seen: int,
    more: Sequence[str] = (),
) -> Report:
    """Return the report of scores that are there, in the model's own units of evidence.

    Raises
    ------
    Unscorable
        When a version answers with NaN or with scores of another shape.
    """
    task = load_plugin("tasks", shop.spec.task)()
    try:
        return evaluate(
            task,
            rows,
            scored,
            n_seen=n_seen,
            block_us=block_us(shop),
            is_timed=shop.spec.time is not None,
            more=more,
            costs=shop.gate.costs,
        )
    except Invalid as error:
        named = {version.id: version for version in versions}
        version = named.get(error.fields.get("version_id", ""))
        if version is None:
            raise
        raise Unscorable.of(version, error.came) from error


def _unused(shop: Workshop, rows: Rows, used: Sequence[str]) -> Rows:
    if not used:
        return rows
    keys = [KeySet.from_bytes(shop.store.get(each)).keys for each in used]
    return rows.take(~np.isin(rows.key_hash, np.concatenate(keys)))


def _within(work: Callable[[], Scores], limit_s: float, version: Version) -> Scores:
    """Run work in a thread and stop waiting for it after a time.

    A thread cannot be killed: one that hangs goes on until the process ends, but nobody
    waits for it.
    """
    found: list[Scores] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001  # handed to who waits
            failed.append(error)

    thread = threading.Thread(target=run, name=f"score-{version.name}", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        raise Unavailable(
            "scoring",
            needs=f"scores within {limit_s:g} s",
            came="none yet",
            todo="Raise the gate's timeout, or make the version faster.",
        )
    if failed:
        raise failed[0]
    return found[0]
