"""Breaks when a stored verdict cannot be had again from the same rows, options and seed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import renewal
from renewal.assemble.home import Home
from renewal.assemble.model import Model
from renewal.core.clock import ReplayClock
from renewal.core.errors import NotFound

START = datetime(2026, 3, 1, tzinfo=UTC)
N_A_DAY = 96
POLICY = """
[gate]
must_prove = ["superior", "no_worse(auc, 5%)", "superior(f1)"]
[gate.guards]
slices = ["a:3"]
max_negative_flips = 0.5
calibration_margin = 0.5
robustness = ["noise"]
max_latency_ms = 10000.0
max_bytes = 10000000
"""


def days(first: int, last: int) -> pd.DataFrame:
    """Return rows of some days; the label depends on both columns."""
    rng = np.random.default_rng(7)
    n = 40 * N_A_DAY
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    frame["key"] = [f"k{at}" for at in range(n)]
    frame["at"] = pd.date_range(START, periods=n, freq="15min")
    frame["won"] = (frame["a"] + frame["b"] + rng.normal(size=n) > 0).astype(int)
    return frame[first * N_A_DAY : last * N_A_DAY]


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(START + timedelta(days=20))


@pytest.fixture
def home(tmp_path: Path, clock: ReplayClock) -> Iterator[Home]:
    (tmp_path / "renewal.toml").write_text(POLICY, encoding="utf-8")
    with renewal.open(tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture
def model(home: Home) -> Model:
    """Return a model whose second version sees a column that the first is blind to."""
    found = home.model("games", task="binary", target="won", key="key", time="at", block="1d")
    for weight, seen in ((0.0, days(0, 3)), (1.0, days(3, 6))):
        inputs = seen[["a", "b"]].assign(b=seen["b"] * weight)
        found.register(LogisticRegression().fit(inputs, seen["won"]), trained_on=seen)
    found.feed.append(days(6, 20))
    return found


def newest_verdict(model: Model) -> str:
    """Return the id of the newest verdict."""
    return model.home.registry.verdicts(model.name)[-1][0]


def test_a_first_look_comes_out_the_same(model: Model) -> None:
    verdict = model.gate("v2")
    assert verdict.outcome == "accept", verdict.reason
    names = {each.name for each in verdict.clauses}
    assert {"superior", "no_worse(auc, 5%)", "superior(f1)", "negative flips"} <= names
    assert {"robustness noise", "latency", "size"} <= names
    again = model.replay(newest_verdict(model))
    assert again.differs == ()
    assert again.again.reason == verdict.reason


def test_labels_that_came_later_do_not_change_it(model: Model, clock: ReplayClock) -> None:
    """Breaks when a replay reads labels that nobody had at the time."""
    model.gate("v2")
    clock.move_to(START + timedelta(days=21))
    corrected = days(6, 20)[["key", "won"]].assign(won=lambda frame: 1 - frame["won"])
    model.feed.label(corrected.rename(columns={"won": "label"}))
    assert model.replay(newest_verdict(model)).differs == ()


def test_the_running_test_comes_out_the_same(model: Model, clock: ReplayClock) -> None:
    model.gate("v2")
    clock.move_to(START + timedelta(days=24))
    model.feed.append(days(20, 24))
    verdict = model.gate("v2")
    assert (verdict.look, verdict.n_blocks) == ("sequential", 18)
    assert model.replay(newest_verdict(model)).differs == ()


def test_a_changed_policy_does_not_change_it(model: Model, home: Home) -> None:
    model.gate("v2")
    (home.root / "renewal.toml").write_text("[gate]\nalpha = 0.2\n", encoding="utf-8")
    with renewal.open(home.root, clock=home.clock) as opened:
        again = opened.model("games")
        assert again.replay(newest_verdict(again)).differs == ()


def test_what_compared_nothing_cannot_be_replayed(model: Model) -> None:
    with pytest.raises(NotFound):
        model.replay("0" * 26)


def test_the_next_proof_is_planned_from_the_last(model: Model) -> None:
    with pytest.raises(NotFound, match="an earlier comparison"):
        model.evidence_needed()
    assert model.evidence_needed(0.01, disagreement=0.05).n_labels_decisive is not None
    model.gate("v2")
    plan = model.evidence_needed(0.02)
    assert (plan.metric, plan.unit) == ("log_loss", "day")
    assert plan.level < 0.05, "one claim of the model's life is spent"
