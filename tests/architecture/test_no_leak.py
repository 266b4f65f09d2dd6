"""Through the whole circuit: no estimator is ever fitted on a row that decides about it.

A real home, a real feed, every registered strategy, and an estimator that remembers what it was
shown. Rows that choose, that judge, and the embargo between are planted among the others; the
world turns over after the champion was trained, so that fitting them would pay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import renewal
from renewal.core.clock import ReplayClock, to_us
from renewal.core.plugin import plugin_names
from renewal.data.keyset import KeySet
from renewal.data.roles import TRAIN, role_of
from renewal.data.rows import Rows
from renewal.testing.recording import ROW_ID, RecordingClassifier, recording

START = datetime(2013, 1, 1, tzinfo=UTC)
N_DAYS, N_A_DAY, N_TRAINED_DAYS = 60, 40, 20
TAPE = "test_no_leak"
RECIPES = (*plugin_names("strategies"), "retrain:window=2w")


def _frame() -> pd.DataFrame:
    n_rows = N_DAYS * N_A_DAY
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(n_rows, 2))
    at = pd.date_range(START, periods=n_rows, freq=pd.Timedelta(days=1) / N_A_DAY)
    turned = np.where(at >= START + timedelta(days=N_TRAINED_DAYS), -1.0, 1.0)
    late = turned * inputs[:, 0] + 0.5 * rng.normal(size=n_rows) > 0
    return pd.DataFrame(
        {
            "id": [f"row {number}" for number in range(n_rows)],
            "at": at,
            ROW_ID: np.arange(n_rows, dtype=float),
            "a": inputs[:, 0],
            "b": inputs[:, 1],
            "late": late,
        }
    )


@pytest.fixture
def clock() -> ReplayClock:
    """Stand at the end of the rows on which the champion is trained."""
    return ReplayClock(START + timedelta(days=N_TRAINED_DAYS))


@pytest.fixture
def home(tmp_path: Path, clock: ReplayClock) -> Iterator[Any]:
    """Open a home whose policy trusts the recording estimator."""
    (tmp_path / "renewal.toml").write_text(
        'trust = ["renewal.testing.recording.RecordingClassifier"]\n', encoding="utf-8"
    )
    with renewal.open(tmp_path, clock=clock) as opened:
        yield opened


Updated = Callable[..., tuple[set[int], Any, Any, pd.DataFrame]]


@pytest.fixture
def updated(home: Any, clock: ReplayClock) -> Updated:
    """Train a champion, let the world turn, update, and say which rows were fitted."""

    def run(
        recipes: Sequence[str] = RECIPES, **declared: Any
    ) -> tuple[set[int], Any, Any, pd.DataFrame]:
        frame = _frame() if "time" in declared else _frame().drop(columns="at")
        model = home.model("m", task="binary", target="late", key="id", **declared)
        n_trained = N_TRAINED_DAYS * N_A_DAY
        with recording(TAPE) as tape:
            model.train(RecordingClassifier(tape=TAPE), frame[:n_trained])
            clock.move_to(START + timedelta(days=N_DAYS))
            model.feed.append(frame[n_trained:])
            update = model.update(recipes)
        return tape.fitted, update, model, frame

    return run


def test_timed_rows_are_fitted_before_the_cut_only(home: Any, updated: Updated) -> None:
    """Breaks when any step between feed and fit loses the forward window or the embargo."""
    fitted, update, model, frame = updated(time="at", label_delay="1d")
    # Rows of the last day wait for their labels; 14 days judge; a day of embargo before.
    cut = START + timedelta(days=N_DAYS - 1 - 14 - 1)
    allowed = set(frame[ROW_ID][frame["at"] < cut].astype(int))
    assert fitted <= allowed
    assert len(fitted) == len(allowed), "the winner is fitted up to the cut"
    verdict, candidate = update.verdict, update.candidate
    assert verdict.outcome == "accept", verdict
    assert verdict.judged_from_us >= to_us(cut + timedelta(days=1))
    assert (verdict.n_rows, verdict.n_seen) == (14 * N_A_DAY, 0)
    keyset = KeySet.from_bytes(home.store.get(candidate.manifest.trained_keys))
    rows = model.feed.rows()
    assert not keyset.seen(rows)[rows.event_us >= to_us(cut)].any()


def test_timeless_rows_are_fitted_by_their_role_only(home: Any, updated: Updated) -> None:
    """Breaks when a validation or test row is fitted, by `train` or by any strategy."""
    fitted, update, model, frame = updated()
    rows = model.feed.rows()
    ids = rows.features.column(ROW_ID).to_numpy().astype(int)
    in_train = role_of(rows.group_hash, home.salt) == TRAIN
    assert len(ids) == len(frame)
    assert fitted <= set(ids[in_train].tolist())
    keyset = KeySet.from_bytes(home.store.get(update.candidate.manifest.trained_keys))
    assert not keyset.seen(rows)[~in_train].any()
    assert update.verdict.n_seen == 0


def test_every_strategy_ran_in_the_race(updated: Updated) -> None:
    """Breaks when a strategy fails in the circuit and the leak tests pass for want of a fit."""
    _, update, _, _ = updated(time="at", label_delay="1d")
    outcomes = {entry["recipe"]: entry["outcome"] for entry in update.entries}
    names = ["keep", *plugin_names("strategies"), "retrain(window=2w)"]
    # The recorder has no layers; what tunes them is planted with rows in the strategies' suite.
    assert outcomes == dict.fromkeys(names, "made") | {"fine_tune": "not_possible"}


def test_a_planted_leak_is_never_judged(updated: Updated, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the one verb that keeps rows apart: the gate finds them in the key set itself."""

    def every_row(rows: Rows, *_: object, **__: object) -> Rows:
        return rows

    monkeypatch.setattr("renewal.update.desk.training_rows", every_row)
    _, update, model, _ = updated(["retrain"], time="at", label_delay="1d")
    verdict = update.verdict
    assert (verdict.outcome, verdict.n_rows, verdict.n_blocks) == ("undecided", 0, 0)
    assert "all of them trained on by one of the two" in verdict.reason
    with pytest.raises(renewal.Refused, match="accept verdict"):
        model.promote(update.candidate)
