"""A home with a champion and two candidates whose answers a test chooses."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from renewal.assemble.home import Home, open_home
from renewal.core.clock import ReplayClock
from renewal.core.plugin import _table
from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.loop import comparing
from renewal.loop.workshop import Workshop

Answer = Callable[[NDArray[np.float64]], NDArray[np.float64]]
NOW = datetime(2020, 3, 1, 15, tzinfo=UTC)
DAY = timedelta(days=1)
ROWS_A_DAY = 60


def sure(strength: float) -> Answer:
    """Return the answers of a version that trusts `x` so much."""

    def answer(x: NDArray[np.float64]) -> NDArray[np.float64]:
        p = 1.0 / (1.0 + np.exp(-strength * x))
        return np.column_stack([1.0 - p, p])

    return answer


@dataclass
class Answering:
    """A runtime that answers as told."""

    answer: Answer
    closed: list[str]

    def predict(self, features: pa.Table) -> NDArray[np.float64]:
        """Return the scores."""
        return self.answer(features.column("x").to_numpy())

    def close(self) -> None:
        """Note it."""
        self.closed.append("closed")


@dataclass
class Stage:
    """A model with a champion that trusts `x` too little and candidates that answer as told.

    Attributes
    ----------
    versions : list of Version
        The champion, then two candidates.
    answers : dict of str to callable
        What a version says, by its id.
    loaded, closed : list
        Names of the versions that were loaded, and a note for each runtime closed.
    """

    home: Home
    shop: Workshop
    versions: list[Version]
    answers: dict[str, Answer]
    loaded: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    @property
    def champion(self) -> Version:
        """The champion."""
        return self.versions[0]

    @property
    def candidate(self) -> Version:
        """The candidate."""
        return self.versions[1]

    @property
    def other(self) -> Version:
        """Another candidate."""
        return self.versions[2]

    def days(self, first: int, until: int) -> Rows:
        """Return the labelled rows of some days; day 0 is the oldest."""
        begin = NOW.replace(hour=0) - 60 * DAY
        rows = self.shop.feed.rows(labelled=True)
        us = [int((begin + at * DAY).timestamp()) * 1_000_000 for at in (first, until)]
        return rows.take((rows.event_us >= us[0]) & (rows.event_us < us[1]))

    def gate(self, **options: Any) -> Workshop:
        """Return the workshop under another gate."""
        return replace(self.shop, gate=replace(self.shop.gate, **options))


def table_of(n_days: int, *, seed: int, prefix: str) -> dict[str, list[Any]]:
    """Return labelled rows of the days up to now; the chance of y is that of ``sure(3)``."""
    rng = np.random.default_rng(seed)
    n = n_days * ROWS_A_DAY
    x = rng.normal(size=n)
    y = rng.random(n) < sure(3.0)(x)[:, 1]
    begin = NOW.replace(hour=0) - 60 * DAY
    at = [begin + (k // ROWS_A_DAY) * DAY + timedelta(minutes=k % ROWS_A_DAY) for k in range(n)]
    return {
        "id": [f"{prefix}{k}" for k in range(n)],
        "at": at,
        "x": x.tolist(),
        "y": [int(each) for each in y],
    }


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the strategies of `odd_strategies`: workers find them as they find any package's."""
    folder = tmp_path / "site"
    info = folder / "odd_strategies-1.0.dist-info"
    info.mkdir(parents=True)
    text = Path(__file__).with_name("odd_strategies.py").read_text(encoding="utf-8")
    (folder / "odd_strategies.py").write_text(text, encoding="utf-8")
    points = [
        f"{name.lower()} = odd_strategies:{name}"
        for name in re.findall(r"^class (\w+)", text, flags=re.MULTILINE)
    ]
    (info / "METADATA").write_text("Name: odd-strategies\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "\n".join(["[renewal.strategies]", *points]), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(folder))
    _table.cache_clear()
    yield
    _table.cache_clear()
    sys.modules.pop("odd_strategies", None)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """Return a stage of 40 days; every version was trained on rows of its own."""
    with open_home(tmp_path, clock=ReplayClock(NOW)) as home:
        model = home.model("m", task="binary", target="y", key="id", time="at", block="1d")
        model.feed.append(table_of(40, seed=1, prefix="row"))
        made = []
        for number in range(3):
            data = table_of(1, seed=10 + number, prefix=f"own{number}-")
            fitted = LogisticRegression().fit(np.array(data["x"])[:, None], data["y"])
            fitted.feature_names_in_ = np.array(["x"], dtype=object)
            made.append(model.register(fitted, trained_on=data))
        found = Stage(
            home,
            home.workshop(model.spec),
            made,
            {each.id: sure(k) for each, k in zip(made, (1.0, 3.0, 3.0), strict=True)},
        )

        def load(_shop: Workshop, version: Version, _form: str = "native") -> Answering:
            found.loaded.append(version.name)
            return Answering(found.answers[version.id], found.closed)

        monkeypatch.setattr(comparing, "runtime_of", load)
        yield found
