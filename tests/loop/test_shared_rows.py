"""Breaks when two models that are judged on the same rows spend each other's budget or rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

import renewal
from renewal.core.clock import ReplayClock
from renewal.gate.ledger import claims, rows_used

START = datetime(2026, 3, 1, tzinfo=UTC)
N_A_DAY = 96


def test_each_has_a_verdict_and_a_ledger_of_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    n = 20 * N_A_DAY
    rows = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    rows["key"] = [f"k{at}" for at in range(n)]
    rows["at"] = pd.date_range(START, periods=n, freq="15min")
    rows["won"] = (rows["a"] + rows["b"] + rng.normal(size=n) > 0).astype(int)
    clock = ReplayClock(START + timedelta(days=20))
    with renewal.open(tmp_path, clock=clock) as home:
        verdicts = []
        for name in ("games", "twins"):
            model = home.model(name, task="binary", target="won", key="key", time="at", block="1d")
            for weight, first in ((0.0, 0), (1.0, 3)):
                seen = rows[first * N_A_DAY : (first + 3) * N_A_DAY]
                inputs = seen[["a", "b"]].assign(b=seen["b"] * weight)
                model.register(LogisticRegression().fit(inputs, seen["won"]), trained_on=seen)
            model.feed.append(rows[6 * N_A_DAY :])
            verdicts.append(model.gate("v2"))
        assert verdicts[0].outcome == verdicts[1].outcome == "accept"
        assert verdicts[0].n_rows == verdicts[1].n_rows == 14 * N_A_DAY
        # The second is not charged for the first: both are the first claim of a life.
        assert [each.number for each in verdicts] == [1, 1]
        assert verdicts[0].threshold == verdicts[1].threshold
        for name in ("games", "twins"):
            assert [each.number for each in claims(home.db, name)] == [1]
            assert len(rows_used(home.db, name)) == 1
