"""Through a whole compression: no step is ever shown a row that chooses or certifies.

A real home and a real feed; each technique is watched while it works, and the parent remembers
which rows it was asked about. Rows whose label has not come are planted among the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import renewal
from renewal.compress.chain import Step
from renewal.compress.runner import Runner
from renewal.compress.search import search
from renewal.core.clock import ReplayClock, to_us
from renewal.core.plugin import load_plugin
from renewal.data.keyset import KeySet
from renewal.data.roles import TRAIN, role_of
from renewal.testing.recording import ROW_ID, RecordingClassifier, Tape, recording

START = datetime(2013, 1, 1, tzinfo=UTC)
N_DAYS, N_A_DAY, N_TRAINED_DAYS = 60, 40, 20
TAPE = "test_no_leak_compress"
CHAINS = ("distil.student:student=linear,*", "distil.student:student=tree,size=0.5",
          "prune.features:by=variance,keep=0.9")  # fmt: skip


class Watched:
    """A technique with a tape that runs while it works, and stops when others score."""

    def __init__(self, technique: Any, tape: Tape, materials: list[Any]) -> None:
        self._technique, self._tape, self._materials = technique, tape, materials

    def __getattr__(self, name: str) -> Any:
        """Return what the technique has; its two verbs run under the tape."""
        found = getattr(self._technique, name)
        return self._taped(found) if name in {"apply", "levels", "why_not"} else found

    def _taped(self, verb: Any) -> Any:
        def run(*arguments: Any, **named: Any) -> Any:
            self._materials.append(next(each for each in arguments if hasattr(each, "train")))
            with recording(TAPE) as tape:
                try:
                    return verb(*arguments, **named)
                finally:
                    self._tape.fitted |= tape.fitted
                    self._tape.scored |= tape.scored

        return run


def _frame() -> pd.DataFrame:
    n_rows = N_DAYS * N_A_DAY
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(n_rows, 2))
    return pd.DataFrame(
        {
            "id": [f"row {number}" for number in range(n_rows)],
            "at": pd.date_range(START, periods=n_rows, freq=pd.Timedelta(days=1) / N_A_DAY),
            ROW_ID: np.arange(n_rows, dtype=float),
            "a": inputs[:, 0],
            "b": inputs[:, 1],
            "late": inputs[:, 0] + 0.5 * rng.normal(size=n_rows) > 0,
        }
    )


@pytest.fixture
def clock() -> ReplayClock:
    """Stand at the end of the rows on which the champion is trained."""
    return ReplayClock(START + timedelta(days=N_TRAINED_DAYS))


@pytest.fixture
def home(tmp_path: Path, clock: ReplayClock) -> Iterator[Any]:
    """Open a home whose policy trusts the recording estimator, with the same roles every time.

    By other roles, one in ten, no student is enough better than the parent to be tried further.
    """
    (tmp_path / "salt").write_bytes(b"which row is what"[:16])
    (tmp_path / "renewal.toml").write_text(
        'trust = ["renewal.testing.recording.RecordingClassifier"]\n', encoding="utf-8"
    )
    with renewal.open(tmp_path, clock=clock) as opened:
        yield opened


@pytest.mark.parametrize("is_timed", [True, False])
def test_no_step_is_shown_a_row_that_chooses_or_certifies(
    home: Any, clock: ReplayClock, monkeypatch: pytest.MonkeyPatch, *, is_timed: bool
) -> None:
    """Breaks when material holds a validation, test or embargoed row, labelled or not."""
    tape, materials = Tape(), list[Any]()

    def does(step: Step) -> Any:
        return Watched(load_plugin("techniques", step.technique)(), tape, materials)

    frame = _frame() if is_timed else _frame().drop(columns="at")
    declared = {"time": "at", "label_delay": "1d"} if is_timed else {}
    model = home.model("m", task="binary", target="late", key="id", **declared)
    n_trained = N_TRAINED_DAYS * N_A_DAY
    model.train(RecordingClassifier(tape=TAPE), frame[:n_trained])
    clock.move_to(START + timedelta(days=N_DAYS))
    without = np.arange(len(frame)) % 5 == 0
    late = frame[n_trained:]
    model.feed.append(late[~without[n_trained:]])
    model.feed.append(late[without[n_trained:]].drop(columns="late"))
    chosen_on: list[set[int]] = []

    def spied(runner: Runner, *arguments: Any, **named: Any) -> Any:
        column = runner.validation.features.column(ROW_ID)
        chosen_on.append(set(column.to_numpy().astype(int)))
        return search(runner, *arguments, **named)

    monkeypatch.setattr("renewal.loop.compressing.search", spied)
    monkeypatch.setattr(Step, "does", property(does))
    done = model.compress(CHAINS, tau=-0.4)
    monkeypatch.undo()

    rows = model.feed.rows()
    ids = rows.features.column(ROW_ID).to_numpy().astype(int)
    if is_timed:
        # Of the last day no label has come; 14 days certify; a day of embargo before.
        may = rows.event_us < to_us(START + timedelta(days=N_DAYS - 1 - 14 - 1))
    else:
        may = role_of(rows.group_hash, home.salt) == TRAIN
    (chose,) = chosen_on
    allowed = set(ids[may].tolist()) - chose
    assert chose, "no row chose"
    shown = tape.shown
    assert shown, "the parent was asked about no row"
    assert shown <= allowed
    waiting = 0
    for each in materials:
        assert set(each.train.features.column(ROW_ID).to_numpy().astype(int)) <= allowed
        assert each.train.has_label.all()
        if each.unlabelled is not None:
            extra = set(each.unlabelled.column(ROW_ID).to_numpy().astype(int))
            assert extra <= allowed
            waiting += len(extra)
    assert waiting > 0, "no row without a label was there to leak"
    assert done.candidate is not None, done.sentence
    keys = KeySet.from_bytes(home.store.get(done.candidate.manifest.trained_keys))
    seen = keys.seen(rows)
    assert set(ids[seen].tolist()) <= allowed
    assert set(shown) <= set(ids[seen].tolist())
    assert done.certificate is not None
    assert done.certificate.n_rows > 0
