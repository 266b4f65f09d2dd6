"""Breaks when a user's function decides by numbers that it must not return."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.evaluate.metrics_record import Metric
from renewal.evaluate.own_metric import own_metric

SCORES = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
LABELS = np.array([0, 1, 1], dtype=object)
SOURCE = """
import numpy as np

def profit(labels, scores, classes):
    "One number a row: 10 for a positive that is found, -1 for each that is asked."
    asked = scores[:, list(classes).index(1)] > 0.5
    return np.where(asked, 10.0 * (labels == 1) - 1.0, 0.0)

def as_list(labels, scores, classes):
    return [label == 1 for label in labels]

def total(labels, scores, classes):
    return float(profit(labels, scores, classes).sum())

def nothing(labels, scores, classes):
    return float("nan")

def holes(labels, scores, classes):
    return np.where(labels == 1, np.nan, 1.0)

def wide(labels, scores, classes):
    return scores

def words(labels, scores, classes):
    return "good"

def broken(labels, scores, classes):
    return 1 / 0

moody_calls = []

def moody(labels, scores, classes):
    moody_calls.append(1)
    return np.ones(len(labels)) if len(moody_calls) == 1 else 1.0

number = 3
"""

Make = Callable[..., Metric]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return own_metric for functions of a module that lies on the path."""
    (tmp_path / "shop_metrics.py").write_text(SOURCE)
    (tmp_path / "shop_broken.py").write_text("import no_such_module_of_the_shop")
    monkeypatch.syspath_prepend(tmp_path)

    def made(name: str, **options: Any) -> Metric:
        path = name if ":" in name else f"shop_metrics:{name}"
        given = {"labels": LABELS, "classes": (0, 1), "higher_is_better": True, **options}
        return own_metric(path, SCORES, **given)

    return made


def test_one_number_a_row_makes_a_row_metric(make: Make) -> None:
    """Broken by a mean that is taken before rows could be paired."""
    found = make("profit", bounds=(-1.0, 9.0))
    assert (found.kind, found.higher_is_better, found.bounds) == ("row", True, (-1.0, 9.0))
    assert found.per_row is not None
    assert found.per_row(SCORES, LABELS, (0, 1)).tolist() == [0.0, 9.0, 0.0]
    assert found.value(SCORES, LABELS, (0, 1)) == 3.0
    listed = make("as_list")
    assert listed.per_row is not None
    assert listed.per_row(SCORES, LABELS, (0, 1)).tolist() == [0.0, 1.0, 1.0]


def test_one_number_makes_a_set_metric(make: Make) -> None:
    """Broken by a number that is taken for a row's."""
    found = make("total")
    assert (found.kind, found.per_row, found.counts) == ("set", None, None)
    assert found.value(SCORES, LABELS, (0, 1)) == 9.0
    assert math.isnan(make("nothing").value(SCORES, LABELS, (0, 1)))


def test_no_row_is_undefined(make: Make) -> None:
    """Broken by a user's function that is asked for the mean of nothing."""
    for name in ("profit", "total"):
        assert math.isnan(make(name).value(SCORES[:0], LABELS[:0], (0, 1)))
    with pytest.raises(Invalid, match="rows to try it on"):
        make("profit", labels=LABELS[:0])


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("holes", "2 rows that are not finite"),
        ("wide", r"shape \(3, 2\) for 3 rows"),
        ("words", "ValueError"),
        ("broken", "ZeroDivisionError: division by zero"),
        ("number", "no function 'number'"),
        ("absent", "no function 'absent'"),
        ("shop_broken:profit", "no_such_module_of_the_shop"),
        ("no_such_module_of_the_shop:profit", "ModuleNotFoundError"),
        (":profit", "module:function"),
    ],
)
def test_what_cannot_be_used_is_named(make: Make, name: str, match: str) -> None:
    """Broken by an error of the user's that comes out of a gate as if it were ours."""
    with pytest.raises(Invalid, match=match):
        make(name)


def test_a_value_outside_its_bounds_is_refused(make: Make) -> None:
    """Broken by evidence that relies on bounds which the function does not keep."""
    with pytest.raises(Invalid, match=r"0.0 to 9.0, outside the declared bounds \(0.0, 1.0\)"):
        make("profit", bounds=(0.0, 1.0))
    later = make("profit", bounds=(0.0, 9.0))
    with pytest.raises(Invalid, match=r"-1.0 to 0.0"):
        later.value(SCORES, np.array([0, 1, 0], dtype=object), (1, 0))


def test_a_function_that_changes_its_mind_is_refused(make: Make) -> None:
    """Broken by one number that is broadcast over all rows."""
    found = make("moody")
    assert found.per_row is not None
    with pytest.raises(Invalid, match="one number where it gave one a row"):
        found.per_row(SCORES, LABELS, (0, 1))


def test_it_goes_to_another_process(make: Make) -> None:
    """Broken by a closure, which no pool of processes takes."""
    again = pickle.loads(pickle.dumps(make("total")))  # noqa: S301  # our own bytes
    assert again.value(SCORES, LABELS, (0, 1)) == 9.0
