"""Breaks when a candidate goes live without the person whom the policy asks for."""

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
from renewal.core.errors import NotFound, Refused

START = datetime(2026, 3, 1, tzinfo=UTC)
N_A_DAY = 96
NOW = START + timedelta(days=20)


def days(first: int, last: int) -> pd.DataFrame:
    """Return rows of some days; the label depends on both columns."""
    rng = np.random.default_rng(7)
    n = 20 * N_A_DAY
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    frame["at"] = pd.date_range(START, periods=n, freq="15min")
    frame["won"] = (frame["a"] + frame["b"] + rng.normal(size=n) > 0).astype(int)
    return frame[first * N_A_DAY : last * N_A_DAY]


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(NOW)


@pytest.fixture
def home(tmp_path: Path, clock: ReplayClock) -> Iterator[Home]:
    policy = '[gate]\napproval = "person"\napproval_for = "3d"\n'
    (tmp_path / "renewal.toml").write_text(policy, encoding="utf-8")
    with renewal.open(tmp_path, clock=clock) as opened:
        yield opened


@pytest.fixture
def accepted(home: Home) -> Model:
    """Return a model whose second version the gate has accepted."""
    found = home.model("games", task="binary", target="won", time="at", block="1d")
    for weight, seen in ((0.0, days(0, 3)), (1.0, days(3, 6))):
        inputs = seen[["a", "b"]].assign(b=seen["b"] * weight)
        found.register(LogisticRegression().fit(inputs, seen["won"]), trained_on=seen)
    found.feed.append(days(6, 20))
    verdict = found.gate("v2")
    assert (verdict.outcome, verdict.next_action) == ("accept", "approve or decline")
    return found


def test_nothing_moves_before_a_person_has_decided(accepted: Model) -> None:
    for move in (accepted.rollout, accepted.promote):
        with pytest.raises(Refused, match="a person's approval"):
            move("v2")
    assert any("waits for a person" in note for note in accepted.status()["notes"])


def test_an_approved_candidate_begins_its_rollout(accepted: Model) -> None:
    rollout = accepted.approve("v2", who="ada", why="looks right")
    assert rollout is not None
    assert (rollout.stage, rollout.candidate) == ("shadow", accepted.version("v2").id)
    assert ("approved", "ada", "looks right") in [
        (each.kind, each.who, each.why) for each in accepted.log()
    ]
    with pytest.raises(NotFound, match="one that is approved"):
        accepted.decline("v2", who="bob", why="too late")


def test_a_declined_candidate_goes_nowhere(accepted: Model) -> None:
    assert accepted.decline("v2", who="ada", why="wrong season") is None
    assert accepted.open_rollout() is None
    with pytest.raises(Refused, match="declined"):
        accepted.rollout("v2")


def test_what_nobody_decides_in_time_is_declined(accepted: Model, clock: ReplayClock) -> None:
    clock.move_to(NOW + timedelta(days=4))
    with pytest.raises(Refused, match="a decision before"):
        accepted.approve("v2", who="ada", why="sorry, holidays")
    accepted.tick()
    with pytest.raises(Refused, match="expired"):
        accepted.promote("v2")
    assert "expired" in [each.kind for each in accepted.log()]


def test_a_decision_needs_a_name_and_a_reason(accepted: Model) -> None:
    for who, why in (("", "fine"), ("ada", "")):
        with pytest.raises(Refused, match="a name and a reason"):
            accepted.approve("v2", who=who, why=why)


def test_force_goes_past_the_person_too_and_says_so(accepted: Model) -> None:
    accepted.promote("v2", force=True, who="ada", why="the house is on fire")
    assert accepted.history()[-1].forced


def test_a_candidate_that_nobody_accepted_is_nobodys_to_approve(accepted: Model) -> None:
    with pytest.raises(NotFound, match="waits for a person"):
        accepted.approve("v1", who="ada", why="why not")
