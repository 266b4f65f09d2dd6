"""What a compressed version claims, and limits besides the metric.

What would break it: a claim that the gate reads otherwise than the certificate, a limit that
was not measured and counts as held.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.compress.goal import Goal
from renewal.core.clock import ReplayClock
from renewal.gate.claims import parse_proof
from renewal.loop.certifying import claim_of

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("metric", "margin", "expected"),
    [
        ("accuracy", 0.01, "no_worse(accuracy, 0.010000000)"),
        ("loss", 0.25, "no_worse(0.250000000)"),
        # None allowed: a claim needs a margin, one that no rows can tell from none.
        ("auc", 0.0, "no_worse(auc, 0.000000001)"),
    ],
)
def test_the_gate_reads_the_claim(metric: str, margin: float, expected: str) -> None:
    claim = claim_of(Goal(metric=metric), margin)
    assert claim == expected
    assert parse_proof(claim).margin == pytest.approx(max(margin, 1e-9))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """Train a forest of 12 trees."""
    folder: Path = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2_500))
    rows: dict[str, Any] = {"a": a, "b": b, "target": a + b + 0.5 * rng.normal(size=2_500) > 0}
    home: Home
    (folder / "salt").write_bytes(b"which row is what"[:16])
    (folder / "renewal.toml").write_text('[serve]\ncompiled = "never"\n', encoding="utf-8")
    with open_home(folder, clock=ReplayClock(START)) as home:
        made = home.model("m", task="binary", target="target")
        made.train(RandomForestClassifier(12, max_depth=5, random_state=0), rows)
        yield made


CHAINS = ["prune.forest:trees=9", "prune.forest:trees=3"]


def test_a_limit_on_bytes_is_held_or_nothing_is_certified(model: Model) -> None:
    store = model.home.store
    free = model.compress(CHAINS, tau=-0.1)
    assert free.status == "certified"
    assert free.candidate is not None
    n_bytes = len(store.get(free.candidate.manifest.artifact))
    tight = model.compress(CHAINS, tau=-0.1, max_bytes=n_bytes - 1)
    assert tight.status == "infeasible", tight.sentence
    over = [reason for each in tight.result.tested for reason in each.over]
    assert over
    assert all("bytes" in each and "allowed" in each for each in over)


def test_the_fastest_is_measured_and_certified(model: Model) -> None:
    done = model.compress(CHAINS, tau=-0.15, objective="latency", max_latency_ms=10_000.0)
    assert done.status == "certified", done.sentence
    assert done.certificate is not None
    values = {each.label: each.value for each in done.result.tested}
    assert all(0.0 < each < 1_000.0 for each in values.values())


def test_a_limit_of_memory_is_measured_and_told(model: Model) -> None:
    """Breaks when what loading adds to a process is asked for, and stands nowhere."""
    done = model.compress(["prune.forest:trees=9"], tau=-0.15, max_memory_bytes=10**11)
    assert done.status == "certified", done.sentence
    assert done.certificate is not None
    side = done.certificate.report.model
    assert side is not None
    assert side.memory_bytes is not None
    assert 0 < side.memory_bytes < 10**11
