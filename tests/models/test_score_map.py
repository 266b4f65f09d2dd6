"""Score maps: plain numbers that correct scores, and keep their order and their sums."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.models.score_map import Mapped, ScoreMap, unmapped
from renewal.models.score_map_curves import Isotonic, Sigmoid, Temperature
from renewal.models.score_map_weights import Costs, Prior, Shift
from renewal.models.task import Binary

Numbers = st.floats(0.05, 20.0)
Offsets = st.floats(-5.0, 5.0)
Shares = st.floats(0.01, 1.0)


def _distinct(values: list[float]) -> tuple[float, ...]:
    return tuple(sorted(set(values)))


@st.composite
def _curve(draw: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    points = draw(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6).map(_distinct))
    values = draw(
        st.lists(st.floats(0.0, 1.0), min_size=len(points), max_size=len(points)).map(sorted)
    )
    return points, tuple(values)


@st.composite
def _step(draw: Any, n_classes: int) -> Any:
    n_curves = 1 if n_classes == 2 else n_classes
    kind = draw(st.sampled_from(["temperature", "sigmoid", "isotonic", "prior", "costs"]))
    if kind == "temperature":
        return Temperature(draw(Numbers))
    if kind == "sigmoid":
        slopes = draw(st.tuples(*[Numbers] * n_curves))
        return Sigmoid(slopes, draw(st.tuples(*[Offsets] * n_curves)))
    if kind == "isotonic":
        curves = [draw(_curve()) for _ in range(n_curves)]
        return Isotonic(tuple(p for p, _ in curves), tuple(v for _, v in curves))
    if kind == "prior":
        return Prior(draw(st.tuples(*[Shares] * n_classes)), draw(st.tuples(*[Shares] * n_classes)))
    row = st.tuples(*[st.floats(-2.0, 2.0)] * n_classes)
    return Costs((*draw(st.tuples(*[row] * (n_classes - 1))), (9.0, *([0.5] * (n_classes - 1)))))


@st.composite
def _maps(draw: Any) -> tuple[ScoreMap, NDArray[np.float64]]:
    n_classes = draw(st.integers(2, 4))
    steps = draw(st.lists(_step(n_classes), min_size=1, max_size=2))
    cells = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0))
    rows = draw(st.lists(st.lists(cells, min_size=n_classes, max_size=n_classes), max_size=6))
    found = np.array(rows, np.float64).reshape(-1, n_classes) + 1e-12
    return ScoreMap(tuple(steps)), found / found.sum(axis=1, keepdims=True)


@given(_maps())
def test_every_map_gives_probabilities_and_survives_bytes(
    made: tuple[ScoreMap, NDArray[np.float64]],
) -> None:
    """Broken by a row that sums to something else, a NaN, or a number lost in storage."""
    score_map, scores = made
    before = scores.copy()
    found = score_map.apply(scores)
    assert found.shape == scores.shape
    assert found.dtype == np.float64
    assert ((found >= 0) & (found <= 1)).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(len(scores)))
    assert np.array_equal(scores, before)
    again = ScoreMap.from_bytes(score_map.to_bytes())
    assert again == score_map
    assert again.to_bytes() == score_map.to_bytes()
    assert np.array_equal(again.apply(scores), found)
    assert pickle.loads(pickle.dumps(score_map)) == score_map  # noqa: S301  # our own bytes


@given(_step(2), st.lists(st.floats(0.0, 1.0), min_size=2, max_size=8))
def test_no_map_of_two_classes_turns_an_order_around(step: Any, chances: list[float]) -> None:
    """Broken by a slope below 0, or by clipping: AUC would move and nobody would know why.

    Costs alone may: a table in which mistakes are cheaper than right answers says so.
    """
    second = np.sort(chances)
    found = step.apply(np.column_stack([1 - second, second]))[:, 1]
    if not isinstance(step, Costs):
        assert (np.diff(found) >= -1e-12).all()


@pytest.mark.parametrize(
    "step", [Temperature(3.0), Sigmoid((0.4,), (-1.0,)), Prior((1, 1), (9, 1))]
)
def test_the_order_is_strict_down_to_tiny_scores(step: Any) -> None:
    """Broken by a floor that makes all scores below it equal: a rare class lives there."""
    second = np.concatenate([np.logspace(-12, -1, 200), 1 - np.logspace(-1, -9, 100)])
    found = step.apply(np.column_stack([1 - second, second]))[:, 1]
    assert (np.diff(found) > 0).all()


def test_one_row_gets_what_it_gets_among_many() -> None:
    """Broken by a map that looks at the batch: a request of one row would differ."""
    rng = np.random.default_rng(1)
    scores = rng.dirichlet(np.ones(3), size=50)
    steps = (Sigmoid((1.0, 2.0, 0.5), (0.0, 1.0, -1.0)), Costs(((0, 1, 2), (3, 0, 1), (5, 1, 0))))
    for step in (*steps, Temperature(0.3), Prior((1, 1, 1), (1, 2, 7))):
        whole = step.apply(scores)
        one = np.vstack([step.apply(scores[at : at + 1]) for at in range(50)])
        assert one == pytest.approx(whole, abs=1e-15)
        assert step.apply(scores[:0]).shape == (0, 3)


def test_a_gap_stays_a_gap() -> None:
    """Broken by a NaN that comes out as a sure answer."""
    scores = np.array([[np.nan, np.nan], [0.5, 0.5]])
    for step in (Temperature(2.0), Sigmoid((1.0,), (0.0,)), Isotonic(((0.0, 1.0),), ((0.0, 1.0),))):
        found = step.apply(scores)
        assert np.isnan(found[0]).all()
        assert found[1] == pytest.approx([0.5, 0.5])
    assert Shift(2.0).apply(np.array([[1.0]])).tolist() == [[3.0]]


def test_labels_apart_are_not_made_to_sum_to_one() -> None:
    """Broken by shares where a row carries several labels: one sure label would hide others."""
    scores = np.array([[0.9, 0.8, 0.1]])
    lines = Sigmoid((1.0,) * 3, (0.0,) * 3, exclusive=False)
    assert lines.apply(scores) == pytest.approx(scores, abs=1e-5)
    steps = Isotonic(((0.0, 1.0),) * 3, ((0.0, 1.0),) * 3, exclusive=False)
    assert steps.apply(scores) == pytest.approx(scores)
    assert Sigmoid((1.0,), (0.0,), exclusive=False).n_scores == 1


def test_costs_make_the_cheapest_decision_the_served_label() -> None:
    """Broken by a table read the wrong way round, or a rule for two classes only."""
    rng = np.random.default_rng(3)
    table = rng.uniform(0, 5, size=(4, 4))
    scores = rng.dirichlet(np.ones(4), size=500)
    found = Costs(tuple(map(tuple, table.tolist()))).apply(scores)
    assert np.array_equal(found.argmax(axis=1), (scores @ table).argmin(axis=1))


@pytest.mark.parametrize(("dear", "cheap"), [(5.0, 1.0), (1.0, 1.0), (0.2, 3.0)])
def test_with_two_classes_the_label_changes_where_theory_says(dear: float, cheap: float) -> None:
    """Broken by another threshold than c_fp / (c_fp + c_fn)."""
    threshold = cheap / (cheap + dear)
    second = threshold + np.array([-1e-9, 1e-9])
    found = Costs(((0.0, cheap), (dear, 0.0))).apply(np.column_stack([1 - second, second]))
    served = Binary().outputs(found, ("no", "yes"))["label"]
    assert served.tolist() == ["no", "yes"]


def test_equal_costs_leave_probabilities_as_they_are() -> None:
    scores = np.random.default_rng(4).dirichlet(np.ones(3), size=20)
    equal = Costs(((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)))
    assert equal.apply(scores) == pytest.approx(scores)


def test_a_second_map_replaces_the_first() -> None:
    """Broken by maps on maps: each month would add one."""
    first = Mapped("model", ScoreMap((Temperature(2.0),)))
    second = Mapped(first, ScoreMap((Temperature(3.0),)))
    assert second == Mapped("model", ScoreMap((Temperature(3.0),)))
    assert unmapped(second) == "model"
    kept = Mapped("model", second.score_map, "a digest")
    again = pickle.loads(pickle.dumps(kept))  # noqa: S301  # our own bytes
    assert (again, again.artifact) == (kept, "a digest")
    assert unmapped("other") == "other"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Temperature(0.0),
        lambda: Temperature(float("nan")),
        lambda: Sigmoid((-1.0,), (0.0,)),
        lambda: Sigmoid((1.0, 1.0), (0.0,)),
        lambda: Sigmoid((), ()),
        lambda: Isotonic(((0.0, 1.0),), ((0.6, 0.4),)),
        lambda: Isotonic(((0.5, 0.5),), ((0.1, 0.2),)),
        lambda: Isotonic(((0.5,),), ((1.2,),)),
        lambda: Isotonic((), ()),
        lambda: Prior((0.0, 1.0), (0.5, 0.5)),
        lambda: Prior((1.0,), (1.0,)),
        lambda: Costs(((0.0, 1.0),)),
        lambda: Costs(((0.0, float("inf")), (1.0, 0.0))),
        lambda: Costs(((1.0, 1.0), (2.0, 2.0))),
        lambda: Shift(float("nan")),
        lambda: ScoreMap(()),
        lambda: ScoreMap((Shift(1.0), Prior((1.0, 1.0), (1.0, 1.0)))),
    ],
)
def test_what_would_do_harm_is_refused(wrong: Any) -> None:
    """Broken by a record that turns an order around or divides by zero when it serves."""
    with pytest.raises(Invalid):
        wrong()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 200_000,
        b'{"format":"renewal.score_map/1","steps":"shift"}',
        b'{"format":"renewal.score_map/2","steps":[]}',
        b'{"format":"renewal.score_map/1","steps":[{"kind":"spline"}]}',
        b'{"format":"renewal.score_map/1","steps":[{"kind":"shift","constant":"x"}]}',
        b'{"format":"renewal.score_map/1","steps":[{"kind":"shift","code":1}]}',
        b'{"format":"renewal.score_map/1","steps":[{"kind":"sigmoid","slopes":[-1],"offsets":[0]}]}',
    ],
)
def test_bytes_that_are_no_map_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        ScoreMap.from_bytes(data)


def test_scores_of_another_model_are_refused() -> None:
    """Broken by a map of three classes that is put on a model of two, which numpy allows."""
    with pytest.raises(Invalid, match="2 scores a row"):
        ScoreMap((Prior((1.0, 1.0), (1.0, 2.0)),)).apply(np.ones((4, 3)))
