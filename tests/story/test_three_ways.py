"""The world turns a little: a network is fine-tuned, and three versions stand side by side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import renewal
from renewal.assemble.model import Model
from renewal.loop.happening import Happening
from renewal.models.layers import Tuning
from renewal.models.torch_model import TorchModel
from renewal.testing.torch_nets import TRUST, Dense

NET = TorchModel(Dense, {"n_inputs": 4}, Tuning(epochs=12, batch=32, lr=1e-2, patience=None))
WEAK = TorchModel(Dense, {"n_inputs": 4}, Tuning(epochs=1, batch=512, lr=1e-4, patience=None))
RECIPE = "fine_tune:epochs=6,batch=32,lr=0.01,replay=0.0"


@pytest.fixture(autouse=True)
def _on_one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def net() -> TorchModel:
    """Return the network and the recipe by which it is retrained."""
    return NET


@pytest.fixture
def moved() -> float:
    """Return how far the ring of the classes has turned when the new rows come."""
    return 1.5


@pytest.fixture
def model(tmp_path: Path, net: TorchModel, moved: float) -> Iterator[Model]:
    policy = f"trust = {list(TRUST)!r}\n[update]\nformer = 0\n"
    (tmp_path / "renewal.toml").write_text(policy.replace("'", '"'), encoding="utf-8")
    with renewal.open(tmp_path) as home:
        found = home.model("digits", task="multiclass", target="label", key="key")
        found.train(net, frame(900, seed=0, moved=0.0))
        found.feed.append(frame(2_400, seed=1, moved=moved))
        yield found


def frame(n_rows: int, *, seed: int, moved: float) -> dict[str, Any]:
    """Return rows of three classes whose centers lie in a ring that turns by `moved`."""
    rng = np.random.default_rng(seed)
    at = rng.integers(0, 3, n_rows)
    angle = 2 * np.pi * at / 3 + moved
    columns = {
        "a": np.cos(angle) + 0.4 * rng.normal(size=n_rows),
        "b": np.sin(angle) + 0.4 * rng.normal(size=n_rows),
        "c": rng.normal(size=n_rows),
        "d": rng.normal(size=n_rows),
    }
    key = [f"{seed}/{number}" for number in range(n_rows)]
    return {"key": key, **columns, "label": np.array(["x", "y", "z"])[at]}


def test_after_a_fine_tuning_three_versions_are_compared(model: Model) -> None:
    told: list[Happening] = []
    update = model.update([RECIPE], tell=told.append)
    assert update.candidate is not None
    assert update.candidate.manifest.strategy == "fine_tune"
    found = update.three_way
    assert list(found["versions"]) == ["original", "fine-tuned", "retrained"]
    retrained = model.version(found["versions"]["retrained"])
    assert retrained.manifest.strategy == "retrain"
    assert found["versions"]["fine-tuned"] == update.candidate.id
    assert found["loss"]["fine-tuned"] < found["loss"]["original"]
    assert found["n_rows"] > 400
    assert [each.kind for each in told][-1] == "three_way"
    # What is compared is what the gate's report shows, on the rows of the verdict.
    card = model.report(update.candidate)
    assert set(card.versions) == set(found["versions"].values())


def test_the_retrained_version_decides_nothing(model: Model) -> None:
    """Breaks when a version that is only shown beside takes a claim or a pointer."""
    update = model.update([RECIPE])
    retrained = update.three_way["versions"]["retrained"]
    assert model.version("champion").name == "v1"
    judged = [verdict.candidate for _, verdict in model.home.registry.verdicts(model.name)]
    assert update.candidate is not None
    assert judged == [update.candidate.id]
    assert retrained not in judged
    # Nor does it stay on the disk for ever: it goes where other losers go.
    assert model.version(retrained).name in model.sweep("0s").versions
    assert model.home.store.get(update.candidate.manifest.artifact)
    assert set(model.report(update.candidate).versions) == {
        update.candidate.id,
        model.version("champion").id,
    }


def test_no_other_update_is_compared_three_ways(model: Model) -> None:
    assert model.update(["retrain"]).three_way == {}


def test_a_fine_tuning_that_loses_its_race_is_compared_too(model: Model) -> None:
    """What raced stands beside what raced: a fit up to the cut would have seen more rows."""
    update = model.update(["fine_tune:steps=1,lr=0.000001,replay=0.0", "retrain"])
    assert update.candidate is not None
    assert update.candidate.manifest.strategy == "retrain"
    found = update.three_way
    tuned = model.version(found["versions"]["fine-tuned"])
    assert tuned.manifest.strategy == "fine_tune"
    assert tuned.facts["raced"]
    assert found["versions"]["retrained"] == update.candidate.id  # without time they are one
    assert found["loss"]["retrained"] < found["loss"]["fine-tuned"]


# Where old and new rows contradict each other, what learns from the new alone may lose.
@pytest.mark.parametrize(("net", "moved"), [(WEAK, 0.2)])
def test_the_report_shows_a_retrained_version_that_raced(model: Model) -> None:
    """Breaks when it is found by a mark that a version of the race was registered without."""
    update = model.update([RECIPE, "retrain:min_rows=31"])
    assert update.candidate is not None
    assert update.candidate.manifest.strategy == "fine_tune"
    card = model.report(update.candidate)
    assert set(card.versions) == set(update.three_way["versions"].values())
