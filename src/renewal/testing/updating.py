"""Small updates for suites: a parent, rows of every kind, and which of them may be used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from renewal.core.clock import from_us
from renewal.core.plugin import load_plugin
from renewal.core.spec import Field, Signature
from renewal.core.version import Manifest, Version
from renewal.data.columns import hash_keys
from renewal.data.forward import ForwardWindow
from renewal.data.keyset import KeySet
from renewal.data.roles import TRAIN, role_of
from renewal.data.rows import NEVER_US, Rows
from renewal.models.adapters import adapter_for
from renewal.testing.recording import (
    ROW_ID,
    FixedClassifier,
    RecordingClassifier,
    RecordingRegressor,
)
from renewal.update.contract import Parent
from renewal.update.stretches import selection_rows, training_rows

DAY_US = 86_400_000_000
SALT = b"a suite's salt"
TAPE = "renewal.testing.updating"
SIGNATURE = Signature((Field(ROW_ID, "float"), Field("a", "float"), Field("b", "float")))

_START_US = 15_706 * DAY_US  # 2013-01-01
_ROWS_A_DAY = 20
_N_DAYS = 60
_WINDOW = ForwardWindow(
    fit_until_us=_START_US + 45 * DAY_US,
    judge_from_us=_START_US + 46 * DAY_US,
    judge_until_us=_START_US + _N_DAYS * DAY_US,
)

Kind = Literal["timed", "timeless"]


@dataclass(frozen=True, slots=True)
class Case:
    """One update that a strategy may be asked for.

    Parameters
    ----------
    label : str
        For messages.
    parent : Parent
        Fitted on the first third of the rows that may be fitted.
    everything : Rows
        All rows of the snapshot: some are to judge, some to choose, some have no label.
    rows : Rows
        Those that may be fitted, by `renewal.update.stretches.training_rows`; what a strategy gets.
    validation : Rows or None, default None
        On which it may choose, and which it may not fit; none where they are fitted.
    trust : tuple of str, default ()
        Own classes that loading such a parent needs leave for.
    """

    label: str
    parent: Parent
    everything: Rows
    rows: Rows
    validation: Rows | None = None
    trust: tuple[str, ...] = ()

    @property
    def allowed_ids(self) -> set[int]:
        """Ids of the rows that a fit may use: before the cut or of role train, with a label."""
        may = self.rows.has_label
        return {int(row_id) for row_id in row_ids(self.rows)[may]}

    @property
    def choosing_ids(self) -> set[int]:
        """Ids of the rows that may be scored to choose, and fitted never."""
        return set() if self.validation is None else set(row_ids(self.validation).tolist())


def cases() -> tuple[Case, ...]:
    """Return updates of timed and timeless data, of classes and values, and odd parents.

    In each of them the rows that judge, those that choose and those without a label are
    planted among the others; 1,200 rows, 4 to a group.
    """
    timed, timeless = snapshot("timed", "binary"), snapshot("timeless", "binary")
    values = snapshot("timed", "regression")
    classifier = RecordingClassifier(tape=TAPE)
    return (
        _case("timed", classifier, timed, _WINDOW),
        *racing(classifier, timed, timeless),
        _case("timed values", RecordingRegressor(tape=TAPE), values, _WINDOW),
        _case("no partial_fit", FixedClassifier(tape=TAPE), timed, _WINDOW),
        _unknown(_case("unknown training", classifier, timed, _WINDOW)),
    )


def racing(
    estimator: Any, timed: Rows, timeless: Rows, trust: tuple[str, ...] = ()
) -> tuple[Case, ...]:
    """Return two updates that choose on rows of their own: of timed and of timeless data.

    Parameters
    ----------
    estimator : object
        Unfitted; it notes on the tape `TAPE`.
    timed, timeless : Rows
        Of `snapshot`.
    trust : tuple of str, default ()
        Own classes that loading it needs leave for.
    """
    return (
        replace(
            _case("timed, in the race", estimator, timed, _WINDOW, timedelta(days=7)), trust=trust
        ),
        replace(_case("timeless", estimator, timeless, None), trust=trust),
    )


def snapshot(kind: Kind, task: str, *, seed: int = 0) -> Rows:
    """Return 1,200 rows whose label depends on two inputs; a tenth waits for its label.

    Parameters
    ----------
    kind : {"timed", "timeless"}
        20 rows on each of 60 days from 2013-01-01, or all at one instant.
    task : {"binary", "regression"}
        Labels ``"no"`` and ``"yes"``, or the number behind them.
    seed : int, default 0
        Of inputs and noise.
    """
    n_rows = _ROWS_A_DAY * _N_DAYS
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(n_rows, 2))
    value = inputs[:, 0] - inputs[:, 1] + rng.normal(size=n_rows)
    waits = rng.random(n_rows) < 0.1
    steps_us = np.arange(n_rows, dtype=np.int64) * (DAY_US // _ROWS_A_DAY)
    event_us = _START_US + (steps_us if kind == "timed" else np.zeros(n_rows, np.int64))
    keys = np.array([f"row {at}" for at in range(n_rows)], dtype=object)
    groups = hash_keys([f"group {at // 4}" for at in range(n_rows)])
    label: npt.NDArray[Any] = np.where(waits, np.nan, value)
    if task != "regression":
        label = np.array(
            [
                None if gap else "yes" if v > 0 else "no"
                for gap, v in zip(waits, value, strict=True)
            ],
            dtype=object,
        )
    return Rows(
        features=pa.table(
            {ROW_ID: np.arange(n_rows, dtype=np.float64), "a": inputs[:, 0], "b": inputs[:, 1]}
        ),
        key=keys,
        key_hash=hash_keys(keys.tolist()),
        group_hash=groups,
        sticky=None,
        event_us=event_us,
        arrived_us=event_us,
        label=label,
        label_arrived_us=np.where(waits, NEVER_US, event_us),
        block=event_us // DAY_US if kind == "timed" else groups.view(np.int64),
    )


def make_parent(estimator: Any, task: str, seen: Rows) -> Parent:
    """Return a parent fitted on the labelled ones of some rows, as the registry would name it.

    Parameters
    ----------
    estimator : object
        Unfitted.
    task : str
        A registered task.
    seen : Rows
        What it trains on; its key set.
    """
    adapter = adapter_for(estimator, who="a suite")
    rules = load_plugin("tasks", task)()
    used = seen.labelled()
    labels = rules.labels(used.label, who="a suite")
    fitted = adapter.fit(estimator, used.features, labels, seed=0)
    until = from_us(int(used.event_us.max()))
    manifest = Manifest(
        model="suite",
        task=task,
        adapter=adapter.name,
        artifact="0" * 64,
        artifact_bytes=0,
        signature=SIGNATURE,
        classes=adapter.classes(fitted),
        strategy="train",
        n_trained_rows=len(used),
        trained_until=until,
    )
    version = Version("1" * 64, 1, manifest, {}, until, "a suite")
    return Parent(version, fitted, adapter, rules, KeySet.of(used))


def row_ids(rows: Rows) -> npt.NDArray[np.int64]:
    """Return the number of each row, as recording estimators note it."""
    return np.asarray(rows.features.column(ROW_ID).to_numpy(), np.int64)


def _case(
    label: str,
    estimator: Any,
    everything: Rows,
    window: ForwardWindow | None,
    before: timedelta | None = None,
) -> Case:
    rows = training_rows(everything, window, salt=SALT, before=before)
    validation = None
    if window is None:
        validation = selection_rows(everything, None, salt=SALT)
    elif before is not None:
        validation = selection_rows(everything, window, salt=SALT, length=before)
    # Whole groups: the first third of them.
    third = np.arange(len(everything)) < len(everything) // 3 // 4 * 4
    if window is None:
        third &= role_of(everything.group_hash, SALT) == TRAIN
    task = "regression" if isinstance(estimator, RecordingRegressor) else "binary"
    parent = make_parent(estimator, task, everything.take(third))
    return Case(label, parent, everything, rows, validation)


def _unknown(case: Case) -> Case:
    """Return the case of a parent of which nobody knows what it trained on."""
    return replace(case, parent=replace(case.parent, keyset=None))
