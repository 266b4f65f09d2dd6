"""The catalogue of bases for a fine-tuning: what could spoil the evidence is left out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.core.clock import ReplayClock
from renewal.loop.pinning import desk_of, pin
from renewal.models.adapters import adapter_of
from renewal.models.layers import Tuning
from renewal.models.load import load_estimator
from renewal.models.torch_model import TorchModel
from renewal.testing.torch_nets import TRUST, Dense
from renewal.update.heat import bases_for

START = datetime(2020, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NET = TorchModel(Dense, {"n_inputs": 2}, Tuning(epochs=1, batch=64, lr=1e-2, patience=None))


def frame(*, first_day: int, n_days: int = 20, target: str = "late") -> dict[str, Any]:
    rng = np.random.default_rng(abs(first_day))
    n_rows = 10 * n_days
    x = rng.normal(size=n_rows)
    return {
        "key": np.array([f"{first_day}/{at}" for at in range(n_rows)]),
        "at": [START + (first_day + at / 10) * DAY for at in range(n_rows)],
        "x": x,
        "z": rng.normal(size=n_rows),
        target: x > 0 if target == "late" else x,
    }


@pytest.fixture(autouse=True)
def _on_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    trust = ", ".join(f"'{each}'" for each in TRUST)
    (tmp_path / "renewal.toml").write_text(f"trust = [{trust}]\n", encoding="utf-8")
    with open_home(tmp_path, clock=ReplayClock(START + 61 * DAY)) as opened:
        yield opened


def declared(home: Home, name: str, task: str = "binary") -> Model:
    target = "late" if task == "binary" else "delay"
    return home.model(name, task=task, target=target, key="key", time="at", label_delay="1d")


def catalogue(model: Model) -> set[str]:
    shop = model.home.workshop(model.spec)
    desk = desk_of(shop, pin(shop, model.home.clock.now()))
    return {each.manifest.model for each in bases_for(desk, desk.parent)}


def test_only_what_leaves_the_evidence_clean_is_a_base(home: Home) -> None:
    """Breaks when a base brings rows in that decide about the candidate, or hides its own."""
    known = declared(home, "known")
    version = known.train(NET, frame(first_day=-60))
    mine = declared(home, "mine")
    mine.train(NET, frame(first_day=0))
    mine.feed.append(frame(first_day=20, n_days=40))
    declared(home, "delays", "regression").train(NET, frame(first_day=-40, target="delay"))
    # It trained on the rows on which the race of `mine` chooses.
    declared(home, "same_rows").train(NET, frame(first_day=20, n_days=40))
    # Nobody knows what its first version trained on, though its present one says what it saw.
    unknown = declared(home, "unknown")
    net = load_estimator(version.manifest, home.store, TRUST)
    assert adapter_of(version.manifest).capabilities(net).has_layers
    unknown.feed.append(frame(first_day=-20))
    unknown.register(net)
    home.clock.move_to(START + 62 * DAY)  # type: ignore[attr-defined]  # a replay's clock
    unknown.feed.append(frame(first_day=21, n_days=40))
    update = unknown.update(["recalibrate:min_rows=50"])
    (mapped,) = [each for each in unknown.versions() if each.facts.get("raced")]
    assert mapped.manifest.trained_keys is not None, update.entries
    assert catalogue(mine) == {"known"}
    unknown.promote(mapped, force=True, who="a test", why="a map beside the unknown one")
    assert catalogue(mine) == {"known"}
