"""Forests of a few trees to compress, a book to write in, and techniques that misbehave."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from renewal.compress.book import MemoryBook
from renewal.compress.runner import Runner
from renewal.core.plugin import _table
from renewal.data.rows import Rows
from renewal.store.local import LocalStore
from renewal.testing.forms import FormCase, fitted_case, numbers, rows_of

MakeRunner = Callable[..., Runner]
N_TREES = 8


def forest_case(task: str = "binary", n_rows: int = 1500) -> FormCase:
    """Return a forest that was fitted on two thirds of its rows."""
    kind = RandomForestRegressor if task == "regression" else RandomForestClassifier
    recipe = kind(N_TREES, max_depth=5, random_state=0)
    return fitted_case("forest", "sklearn", recipe, *numbers(n_rows, task=task), task=task)


def validation_of(case: FormCase, task: str = "binary", n_rows: int = 1500) -> Rows:
    """Return the rows that the forest has not seen, labelled."""
    _, labels = numbers(n_rows, task=task)
    return rows_of(case.features, labels[n_rows * 2 // 3 :])


@pytest.fixture(scope="session")
def forest() -> FormCase:
    """Return a forest of 8 trees for two classes."""
    return forest_case()


@pytest.fixture(scope="session")
def validation(forest: FormCase) -> Rows:
    """Return 500 rows that it has not seen."""
    return validation_of(forest)


@pytest.fixture
def runner_of(forest: FormCase, validation: Rows, tmp_path: Path) -> MakeRunner:
    """Make runners that share a store and a book, unless told otherwise."""
    book = MemoryBook(LocalStore(tmp_path / "objects"))

    def make(**changed: Any) -> Runner:
        values = {"material": forest.material, "validation": validation, "book": book, **changed}
        parent = values.pop("parent", forest.form)
        key = values.pop("parent_key", "parent")
        return Runner(parent, key, values.pop("parent_bytes", 1_000_000), **values)

    return make


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Install the techniques of `odd_techniques`, with nothing noted yet."""
    folder = tmp_path / "site"
    info = folder / "odd_techniques-1.0.dist-info"
    info.mkdir(parents=True)
    text = Path(__file__).with_name("odd_techniques.py").read_text(encoding="utf-8")
    (folder / "odd_techniques.py").write_text(text, encoding="utf-8")
    found = re.findall(
        r'^class (\w+)\(.*?name: ClassVar\[str\] = "(.*?)"', text, re.MULTILINE | re.DOTALL
    )
    points = [f"{name} = odd_techniques:{kind}" for kind, name in found if kind != "_Odd"]
    (info / "METADATA").write_text("Name: odd-techniques\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "\n".join(["[renewal.techniques]", *points]), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(folder))
    _table.cache_clear()
    sys.modules.pop("odd_techniques", None)
    import odd_techniques  # type: ignore[import-not-found]  # noqa: PLC0415  # installed just now

    yield odd_techniques
    _table.cache_clear()
    sys.modules.pop("odd_techniques", None)


def accuracy(scores: np.ndarray[Any, Any], classes: Any, labels: Any) -> float:
    """Return the share of rows that are told right."""
    return float(np.mean(np.array(classes, dtype=object)[scores.argmax(axis=1)] == labels))
