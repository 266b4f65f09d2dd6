"""The form of a calibration: the simplest that is as good as the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from renewal.models.multilabel import Multilabel
from renewal.models.task import Binary
from renewal.update.calibrating import calibrated


def world(n_rows: int, bend: Any, seed: int = 0) -> tuple[Any, Any, Any]:
    """Scores whose truth is `bend` of their log-odds, labels, and blocks of 20 rows."""
    rng = np.random.default_rng(seed)
    odds = 2 * rng.normal(size=n_rows)
    late = rng.random(n_rows) < 1 / (1 + np.exp(-bend(odds)))
    second = 1 / (1 + np.exp(-odds))
    scores = np.column_stack([1 - second, second])
    return scores, np.array(late.tolist(), dtype=object), np.arange(n_rows) // 20


def chosen(n_rows: int, bend: Any) -> tuple[str, ...]:
    scores, labels, blocks = world(n_rows, bend)
    return calibrated(scores, labels, Binary(), (False, True), blocks=blocks).score_map.kinds


@pytest.mark.parametrize(
    ("n_rows", "bend", "form"),
    [
        (3000, lambda odds: odds / 2, "temperature"),
        (3000, lambda odds: odds / 2 - 1.5, "sigmoid"),
        (3000, lambda odds: np.where(odds > 1, 3.0, -2.0), "isotonic"),
        (300, lambda odds: np.where(odds > 1, 3.0, -2.0), "sigmoid"),
    ],
)
def test_more_numbers_must_be_worth_it(n_rows: int, bend: Any, form: str) -> None:
    """Broken by the best of all on the rows of the fit: steps would always win there.

    Truths of one number, two, and a jump; below 1,000 rows no steps. The seed is fixed.
    """
    assert chosen(n_rows, bend) == (form,)


def test_no_block_lies_on_both_sides() -> None:
    """Broken by folds of rows: 40 rows of one day would choose steps that fit that day.

    All rows of a block have one label and nearly one score, told apart by the block alone.
    """
    rng = np.random.default_rng(1)
    blocks = np.repeat(np.arange(50), 40)
    second = np.clip(rng.random(50)[blocks] + 1e-6 * rng.random(2000), 0, 1)
    labels = np.array((rng.random(50) < 0.5)[blocks].tolist(), dtype=object)
    scores = np.column_stack([1 - second, second])
    found = calibrated(scores, labels, Binary(), (False, True), blocks=blocks)
    assert found.losses["isotonic"] > found.losses["temperature"]
    assert found.score_map.kinds != ("isotonic",)


def test_rows_of_one_block_are_no_choice() -> None:
    """Broken by a fold without rows to fit on."""
    scores, labels, _ = world(400, lambda odds: odds)
    one = np.zeros(400, np.int64)
    found = calibrated(scores, labels, Binary(), (False, True), blocks=one)
    assert found.score_map.kinds == ("sigmoid",)
    assert found.losses == {}


def test_the_same_rows_choose_the_same() -> None:
    scores, labels, blocks = world(1500, lambda odds: odds / 2)
    one, two = (
        calibrated(scores, labels, Binary(), (False, True), blocks=blocks) for _ in range(2)
    )
    assert one == two


def test_labels_apart_choose_too() -> None:
    """Broken by a temperature, which shares one sum among labels that do not."""
    rng = np.random.default_rng(3)
    scores = rng.random((1200, 2))
    on = rng.random((1200, 2)) < scores
    texts = ["|".join(name for name, each in zip("ab", row, strict=True) if each) for row in on]
    task = Multilabel()
    labels = task.labels(texts, who="test")
    found = calibrated(scores, labels, task, ("a", "b"), blocks=np.arange(1200) // 10)
    assert sorted(found.losses) == ["isotonic", "sigmoid"]
