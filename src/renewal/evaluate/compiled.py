"""Whether the compiled form of a version may stand in for the native one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.core.errors import Unavailable
from renewal.core.spec import Signature
from renewal.evaluate.compiled_record import Checked, Probe
from renewal.evaluate.cost import Cost, measure_costs
from renewal.evaluate.probes import Odd, odd_rows, thresholds, with_gaps
from renewal.models.contract import Runtime
from renewal.models.parity import MOVED, Parity, compared
from renewal.models.parity_refusals import Refusals
from renewal.models.task import Scores

Floats = NDArray[np.float64]

_FREE_SHARE = 0.001
_NEAR_SHARE = 0.05
_CAN_REFUSE = {"gaps": "gaps", "infinite": "infinite", "large": "large"}
_BATCH_ROWS = 257
_SINGLE_ROWS = 33
_ODD_ROWS = 7
SLOWER_AT_64 = 1.1
"""How much slower than the native form the compiled one may be with 64 rows."""


def check_compiled(
    native: Runtime,
    compiled: Runtime,
    features: pa.Table,
    signature: Signature,
    *,
    n_thresholds: int = 1000,
    seed: int = 0,
) -> Checked:
    """Compare two forms of a version on rows of every kind that a model meets in its life.

    Labels must be equal outside ties, and scores but for rounding, on the rows themselves,
    with gaps, unseen and empty words, huge, infinite and too large numbers, in batches of no
    row, of one, of seven and in another order, and a millionth of a column's spread beside
    thresholds of trees. On the thresholds and their float neighbors they are counted only: a
    threshold in float64 has no twin in float32, and no row is likely to lie there.

    Parameters
    ----------
    native, compiled : Runtime
        Of one version.
    features : pyarrow.Table
        Rows, best those that it has not trained on; at least one.
    signature : Signature
        Of the version.
    n_thresholds : int, default 1000
        Of pairs of values between which a threshold is sought; each has up to 7 probes.
    seed : int, default 0
        Of all draws.

    Returns
    -------
    Checked
        Never an error for what a form says of rows: an error is part of what is compared.

    Notes
    -----
    A score has *moved* when it differs by more than 1e-4, for a regression by that share of
    the standard deviation of the native values, or of a value's distance from their mean
    where that is greater. One row in 1,000 may move (and one in any
    case) while its label stays; beside thresholds 5% of the rows of a column, whose
    neighbor may be another threshold. What the native form refuses in a column (a gap, an
    infinite number, one beyond float32) becomes a refusal of the compiled form. What it
    refuses and no such check can tell (an unseen word, a large number that is no category of
    the fit) makes the forms unequal, and so does a refusal of the compiled form alone.
    """
    check = _Check(native, compiled, features, signature, n_thresholds=n_thresholds, seed=seed)
    probes = []
    for step in (check.held_out, check.odd, check.many_gaps, check.jumps, check.batches):
        for probe in step():
            probes.append(probe)
            if probe.failure:
                return Checked(tuple(probes), check.refusals)
    return Checked(tuple(probes), check.refusals)


class _Check:
    """The two forms under comparison, and what the native one was found to refuse."""

    def __init__(
        self,
        native: Runtime,
        compiled: Runtime,
        features: pa.Table,
        signature: Signature,
        *,
        n_thresholds: int,
        seed: int,
    ) -> None:
        self._native = native
        self._compiled = compiled
        self._features = features
        self._signature = signature
        self._n_thresholds = n_thresholds
        self._seed = seed
        # Of a regression: its spread, and the middle from which far values are measured.
        self._unit, self._middle = 1.0, math.nan
        self._refused: dict[str, list[str]] = {each: [] for each in _CAN_REFUSE}

    @property
    def refusals(self) -> Refusals:
        return Refusals(**{name: tuple(found) for name, found in self._refused.items()})

    def held_out(self) -> Iterator[Probe]:
        ours, note = _said(self._native, self._features), ""
        if isinstance(ours, str):
            # One row in a thousand with a gap is enough to be refused.
            n_rows = self._features.num_rows
            self._features = _whole(self._features)
            note = f"{n_rows - self._features.num_rows:,} rows with gaps or infinite left out"
            ours = _said(self._native, self._features)
        if isinstance(ours, str) or not len(ours):
            yield _failed("held-out", f"the native form refuses them: {ours}")
            return
        if ours.shape[1] == 1:
            spread = float(np.nanstd(ours))
            self._unit = spread if math.isfinite(spread) and spread > 0.0 else 1.0
            self._middle = float(np.nanmean(ours))
        yield self._probe("held-out", self._features, ours, note)

    def odd(self) -> Iterator[Probe]:
        by_name: dict[str, list[Odd]] = {}
        for each in odd_rows(self._features, self._signature, seed=self._seed):
            by_name.setdefault(each.name, []).append(each)
        for name, every in by_name.items():
            taken, notes = self._taken(name, every)
            if isinstance(taken, str):
                yield _failed(name, taken)
            elif taken is None:
                yield Probe(name, 0, 0, 0, 0.0, note=notes)
            else:
                yield self._probe(name, taken, None, note=notes)

    def _taken(self, name: str, every: list[Odd]) -> tuple[pa.Table | str | None, str]:
        """Return the rows of an oddity that the native form takes; a text: it is a failure."""
        together = pa.concat_tables([each.features for each in every]).combine_chunks()
        if not isinstance(_said(self._native, together), str):
            return together, ""
        said = {each.column: _said(self._native, each.features) for each in every}
        refused = [column for column, found in said.items() if isinstance(found, str)]
        if refused and name not in _CAN_REFUSE:
            why = said[refused[0]]
            return f"the native form refuses them in {', '.join(refused)}: {why}", ""
        self._refused.get(name, []).extend(refused)
        left = [each.features for each in every if each.column not in refused]
        note = f"refused by the native form, and so by the compiled one, in {_listed(refused)}"
        return (pa.concat_tables(left).combine_chunks() if left else None), note

    def many_gaps(self) -> Iterator[Probe]:
        refused = self._refused["gaps"]
        columns = tuple(
            each.name
            for each in self._signature.fields
            if each.nullable and each.name not in refused
        )
        if columns:
            gapped = with_gaps(self._features, columns, seed=self._seed)
            yield self._probe("many gaps", gapped, None)

    def jumps(self) -> Iterator[Probe]:
        found = thresholds(
            self._native.predict,
            self._features,
            self._signature,
            n_most=self._n_thresholds,
            moved_by=1e-6 * self._unit,
            seed=self._seed,
        )
        if not len(found):
            yield Probe("thresholds", 0, 0, 0, 0.0, note="none: the scores have no jumps")
            return
        at = self._compared(found.at(), None)
        yield _probe_of("thresholds", at, self._unit, note="counted only")
        rows = found.near()
        ours, theirs = _said(self._native, rows), _said(self._compiled, rows)
        assert not isinstance(ours, str), "these values lie between values that it took"
        if isinstance(theirs, str):
            yield _failed("beside thresholds", f"the compiled form refuses them: {theirs}")
            return
        # Both sides of each jump follow each other in one order of columns.
        columns = np.array([*found.columns, *found.columns], dtype=object)
        moved = np.abs(ours - theirs).max(axis=1) > self._moved_by(ours)
        worst = max(set(found.columns), key=lambda name: float(moved[columns == name].mean()))
        n_moved, n_there = int(moved[columns == worst].sum()), int((columns == worst).sum())
        failure = ""
        if n_moved > max(1, _NEAR_SHARE * n_there):
            failure = (
                f"{n_moved} of {n_there} rows beside thresholds of {worst!r} are scored "
                "otherwise: its values are too large for float32"
            )
        near = self._parity(ours, theirs)
        yield _probe_of("beside thresholds", near, self._unit, failure=failure)

    def batches(self) -> Iterator[Probe]:
        rows = self._features.slice(0, _BATCH_ROWS)
        n_rows = rows.num_rows
        order = np.random.default_rng(self._seed).permutation(n_rows)
        whole = self._native.predict(rows)
        back = np.argsort(order)
        said: list[tuple[str, Callable[[], Scores], Scores]] = [
            ("no row", lambda: self._compiled.predict(rows.slice(0, 0)), whole[:0]),
            ("one row", lambda: self._pieces(rows, 1, _SINGLE_ROWS), whole[:_SINGLE_ROWS]),
            ("seven rows", lambda: self._pieces(rows, _ODD_ROWS, n_rows), whole),
            ("another order", lambda: self._compiled.predict(rows.take(pa.array(order)))[back],
             whole),
        ]  # fmt: skip
        found = []
        for name, scored, ours in said:
            try:
                theirs = scored()
            except Exception as error:  # noqa: BLE001  # the plug-in border: what it raises is the finding
                yield _failed("batches", f"{name}: {type(error).__name__}: {error}")
                return
            if theirs.shape != ours.shape:
                yield _failed("batches", f"{name}: scores of shape {theirs.shape}")
                return
            found.append((ours, theirs))
        ours, theirs = (np.concatenate([each[at] for each in found]) for at in (0, 1))
        same = self._parity(ours, theirs)
        yield _probe_of("batches", same, self._unit, failure=_why(same))

    def _parity(self, ours: Scores, theirs: Scores) -> Parity:
        return compared(ours, theirs, moved_by=self._moved_by(ours))

    def _moved_by(self, ours: Scores) -> Floats | float:
        """Return from where on a score is another one: far out a regression rounds more."""
        if math.isnan(self._middle):
            return MOVED
        away = np.abs(ours[:, 0] - self._middle)
        far = np.where(np.isfinite(away), np.maximum(away, self._unit), self._unit)
        return MOVED * far

    def _pieces(self, rows: pa.Table, size: int, until: int) -> Scores:
        starts = range(0, min(until, rows.num_rows), size)
        return np.concatenate([self._compiled.predict(rows.slice(at, size)) for at in starts])

    def _probe(self, name: str, rows: pa.Table, ours: Scores | None, note: str = "") -> Probe:
        found = self._compared(rows, ours)
        if isinstance(found, str):
            return _failed(name, found)
        return _probe_of(name, found, self._unit, note=note, failure=_why(found))

    def _compared(self, rows: pa.Table, ours: Scores | None) -> Parity | str:
        native = _said(self._native, rows) if ours is None else ours
        if isinstance(native, str):
            return f"the native form refuses them: {native}"
        theirs = _said(self._compiled, rows)
        if isinstance(theirs, str):
            return f"the compiled form refuses them: {theirs}"
        if native.shape != theirs.shape:
            return f"scores of shape {native.shape} and {theirs.shape}"
        return self._parity(native, theirs)


def _whole(features: pa.Table) -> pa.Table:
    """Return the rows without a gap or an infinite number."""
    features = features.drop_null()
    mask = np.ones(features.num_rows, dtype=bool)
    for column in features.columns:
        if pa.types.is_floating(column.type):
            mask &= np.isfinite(column.to_numpy())
    return features.filter(pa.array(mask))


def _said(runtime: Runtime, rows: pa.Table) -> Scores | str:
    """Return the scores of rows, or in words what was raised instead."""
    try:
        # Numbers beyond float32 are what is sent here: no need to warn of them.
        with np.errstate(all="ignore"):
            return runtime.predict(rows)
    except Exception as error:  # noqa: BLE001  # the plug-in border: a refusal is what we look for
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _why(found: Parity) -> str:
    n_wrong = found.n_labels_differ - found.n_ties_differ
    if n_wrong:
        return f"{n_wrong:,} of {found.n_rows:,} labels differ"
    if found.n_moved > max(1, int(_FREE_SHARE * found.n_rows)):
        return f"{found.n_moved:,} of {found.n_rows:,} scores differ beyond rounding"
    return ""


def _probe_of(
    name: str, found: Parity | str, unit: float, *, note: str = "", failure: str = ""
) -> Probe:
    if isinstance(found, str):
        return _failed(name, found)
    return Probe(
        name,
        found.n_rows,
        found.n_labels_differ - found.n_ties_differ,
        found.n_moved,
        found.largest_difference / unit,
        note,
        failure,
    )


def _failed(name: str, why: str) -> Probe:
    return Probe(name, 0, 0, 0, math.nan, failure=why)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def faster_form(
    native: Runtime, compiled: Runtime, features: pa.Table, *, seed: int = 0
) -> tuple[str, Cost, Cost]:
    """Time two equal forms, their calls taking turns, and say why the compiled one loses.

    Parameters
    ----------
    native, compiled : Runtime
        Of one version.
    features : pyarrow.Table
        Rows to draw from.
    seed : int, default 0
        Of the draws.

    Returns
    -------
    tuple of str, Cost and Cost
        Empty when the compiled form is faster with one row and at most 1.1 times as slow
        with 64; then what each costs.

    Raises
    ------
    Unavailable
        When a form fails on rows that it took before.
    """
    both = {"native": native, "compiled": compiled}
    costs = measure_costs(both, features, n_single=150, n_batch=30, limit_s=6.0, seed=seed)
    ours, theirs = costs["native"], costs["compiled"]
    failed = ours.failed or theirs.failed
    if failed:
        raise Unavailable(
            "faster_form",
            needs="both forms to take rows that they took before",
            came=failed,
            todo="Try again.",
        )
    singles = ours.latency_ms_p50_1, theirs.latency_ms_p50_1
    batches = ours.latency_ms_p50_64, theirs.latency_ms_p50_64
    if not singles[1] < singles[0]:
        return f"slower with one row: {singles[1]:.3g} ms against {singles[0]:.3g} ms", ours, theirs
    if not batches[1] <= SLOWER_AT_64 * batches[0]:
        return f"slower with 64 rows: {batches[1]:.3g} ms against {batches[0]:.3g} ms", ours, theirs
    return "", ours, theirs
