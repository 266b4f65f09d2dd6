"""Students: what they learn from, which columns they take, and in which order they answer."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from renewal.compress.chain import parse_chain
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.student import DistilStudent, StudentOptions, student_of
from renewal.core.errors import Invalid, Missing
from renewal.core.plugin import plugin_names
from renewal.core.spec import Field, Signature
from renewal.data.columns import hash_keys
from renewal.data.rows import Rows
from renewal.models.multilabel import Multilabel
from renewal.models.onnx import OnnxRuntime
from renewal.models.onnx_graph import onnx_graph
from renewal.models.sklearn import SklearnAdapter
from renewal.models.task import Binary, Multiclass, Regression, Task

TECHNIQUE = DistilStudent()
ADAPTER = SklearnAdapter()
_RNG = np.random.default_rng(7)
_N = 600
NUMBERS = pa.table(
    {"a": _RNG.normal(size=_N), "b": _RNG.integers(0, 9, _N), "c": _RNG.random(_N) < 0.5}
)
SIGNATURE = Signature((Field("a", "float"), Field("b", "int"), Field("c", "bool")))
_VALUE = NUMBERS["a"].to_numpy() + 0.2 * NUMBERS["b"].to_numpy()
LATE = np.array(np.where(_VALUE > 1.0, "yes", "no").tolist(), dtype=object)
KINDS = ("boosting", "forest", "tree", "linear", "lightgbm")


def _rows(features: pa.Table, labels: NDArray[Any]) -> Rows:
    keys = np.array([f"{at}" for at in range(len(features))], dtype=object)
    hashes, instants = hash_keys(keys.tolist()), np.zeros(len(features), np.int64)
    return Rows(
        features=features,
        key=keys,
        key_hash=hashes,
        group_hash=hashes,
        sticky=None,
        event_us=instants,
        arrived_us=instants,
        label=labels,
        label_arrived_us=instants,
        block=instants,
    )


def _form(estimator: Any, features: pa.Table, labels: Any, signature: Signature) -> Form:
    fitted = ADAPTER.fit(estimator, features, labels, seed=0)
    return Form("sklearn", fitted, signature, ADAPTER.classes(fitted))


def _material(
    form: Form, features: pa.Table, labels: Any, task: Task | None = None, **more: Any
) -> Material:
    return Material(task or Binary(), _rows(features, labels), form, **more)


def _hits(form: Form, features: pa.Table, labels: Any) -> float:
    found = form.predict(features).argmax(axis=1)
    return float((np.array(form.classes, dtype=object)[found] == labels).mean())


@pytest.fixture(scope="module")
def forest() -> Form:
    return _form(RandomForestClassifier(60), NUMBERS, LATE, SIGNATURE)


def _stored(form: Form) -> Form:
    """Return the form as a store would give it back: its bytes hold all of it, and no code."""
    return replace(form, estimator=form.runs.load(form.runs.dump(form.estimator)))


# ------------------------------------------------------------------ what comes out


@pytest.mark.parametrize("student", KINDS)
def test_each_student_is_smaller_and_says_what_the_teacher_says(forest: Form, student: str) -> None:
    """Breaks when a ready-made student does not take booleans and whole numbers."""
    options = StudentOptions(student=student, size=0.1)
    small = _stored(TECHNIQUE.apply(forest, options, _material(forest, NUMBERS, LATE), seed=1))
    assert small.classes == forest.classes
    assert small.score_map is None
    assert _hits(small, NUMBERS, LATE) > 0.9
    own = len(small.runs.dump(small.estimator))
    assert own < 0.6 * len(forest.runs.dump(forest.estimator))


@pytest.mark.parametrize("student", ["boosting", "forest", "tree"])
def test_size_is_a_knob_that_shrinks(forest: Form, student: str) -> None:
    """Breaks when a smaller size gives more bytes: the search bisects along it."""
    words = pa.array([f"w{int(each)}" for each in _RNG.integers(0, 60, _N)])
    features = NUMBERS.append_column("s", words)
    form = replace(forest, signature=Signature((*SIGNATURE.fields, Field("s", "string"))))
    material = _material(form, features, LATE)
    sizes = []
    for size in (1.0, 0.02):
        options = StudentOptions(student=student, size=size)
        small = TECHNIQUE.apply(form, options, material, seed=1)
        sizes.append(len(small.runs.dump(small.estimator)))
    assert sizes[0] > 1.2 * sizes[1]


@pytest.mark.parametrize("student", [*KINDS, "text_linear"])
def test_gaps_and_texts_unseen_are_taken(forest: Form, student: str) -> None:
    """Breaks when a column with a null, or only nulls, stops a fit or a prediction."""
    columns = {
        "a": [None, 1.0, 2.0] * 20,
        "n": pa.array([None] * 60, pa.float64()),
        "c": [True, None, False] * 20,
        "s": ["u", "v", "w"] * 20 if student == "text_linear" else ["u", None, "w"] * 20,
    }
    features = pa.table(columns)
    labels = np.array(["no", "yes", "yes"] * 20, dtype=object)
    kinds = (("a", "float"), ("n", "float"), ("c", "bool"), ("s", "string"))
    signature = Signature(tuple(Field(name, kind) for name, kind in kinds))  # type: ignore[arg-type]  # words of the literal
    teacher = replace(forest, signature=Signature(SIGNATURE.fields[:1]))
    told = _material(teacher, features, labels)
    told.teacher_scores = np.column_stack([labels == "no", labels == "yes"]).astype(float)
    small = TECHNIQUE.apply(
        replace(teacher, signature=signature),
        StudentOptions(student=student, size=0.1),
        told,
        seed=0,
    )
    unseen = pa.table({**columns, "s": ["never seen"] * 60})
    assert np.isfinite(_stored(small).predict(unseen)).all()
    assert _hits(small, features, labels) == 1.0


def test_a_regression_is_mixed_of_teacher_and_truth() -> None:
    """Breaks when the truth is not mixed in, or two columns are made of one."""
    teacher = _form(DummyRegressor(), NUMBERS, _VALUE, SIGNATURE)
    material = _material(teacher, NUMBERS, _VALUE, Regression())
    means = []
    for truth in (0.0, 1.0):
        options = StudentOptions(student="linear", truth=truth)
        small = TECHNIQUE.apply(teacher, options, material, seed=0)
        assert small.classes == ()
        assert small.predict(NUMBERS).shape == (_N, 1)
        means.append(float(np.std(small.predict(NUMBERS))))
    assert means[0] == pytest.approx(0.0, abs=1e-9)
    assert means[1] > 0.5


def test_the_same_seed_gives_the_same_student_and_the_teacher_stays(forest: Form) -> None:
    before = forest.runs.dump(forest.estimator)
    options = StudentOptions(student="tree", max_rows=300)
    found = [
        TECHNIQUE.apply(forest, options, _material(forest, NUMBERS, LATE), seed=seed)
        for seed in (3, 3, 4)
    ]
    scores = [each.predict(NUMBERS) for each in found]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()
    assert forest.runs.dump(forest.estimator) == before


@pytest.mark.parametrize("student", ["boosting", "forest", "tree", "linear"])
def test_students_are_equal_as_graphs_too(forest: Form, student: str) -> None:
    """Breaks when a student is built of what the converter gets wrong: gaps, rare texts."""
    words = [None if at % 7 == 0 else f"w{at % 40}" for at in range(_N)]
    features = NUMBERS.append_column("s", pa.array(words))
    form = replace(forest, signature=Signature((*SIGNATURE.fields, Field("s", "string"))))
    options = StudentOptions(student=student, size=0.1)
    small = TECHNIQUE.apply(form, options, _material(form, features, LATE), seed=1)
    graph = OnnxRuntime(onnx_graph(small.estimator, small.signature), 2)
    unseen = features.set_column(3, "s", pa.array(["never seen", "w1", None] * (_N // 3)))
    for each in (features, unseen):
        np.testing.assert_allclose(graph.predict(each), small.predict(each), atol=1e-4)
    graph.close()


# ------------------------------------------------------------------ what it learns from


def test_rows_without_a_label_teach_what_labelled_rows_do_not_show(forest: Form) -> None:
    """Breaks when unlabelled rows are left out: on the left half alone nothing is learned."""
    left = NUMBERS.filter(pa.array(_VALUE < 0.5))
    labels = LATE[_VALUE < 0.5]
    options = StudentOptions(student="boosting", size=0.2)
    blind = TECHNIQUE.apply(forest, options, _material(forest, left, labels), seed=0)
    material = _material(forest, left, labels, unlabelled=NUMBERS)
    seeing = TECHNIQUE.apply(forest, options, material, seed=0)
    assert _hits(seeing, NUMBERS, LATE) > 0.95 > _hits(blind, NUMBERS, LATE)


def test_a_class_that_nobody_names_is_given_all_the_same(forest: Form) -> None:
    """Breaks when training rows of one class make a student of one class."""
    left = NUMBERS.filter(pa.array(_VALUE < -0.5))
    labels = np.array(["no"] * len(left), dtype=object)
    for student in ("boosting", "tree", "linear", "lightgbm"):
        material = _material(forest, left, labels)
        small = TECHNIQUE.apply(forest, StudentOptions(student=student), material, seed=0)
        assert small.classes == ("no", "yes")
        assert small.predict(left).argmax(axis=1).mean() < 0.1


def test_rows_of_a_class_that_the_parent_does_not_know_are_left_out(forest: Form) -> None:
    strange = np.array(["new"] * 100 + LATE[100:].tolist(), dtype=object)
    material = _material(forest, NUMBERS, strange, Multiclass())
    small = TECHNIQUE.apply(forest, StudentOptions(student="tree"), material, seed=0)
    assert small.classes == ("no", "yes")
    every = _material(forest, NUMBERS, np.array(["new"] * _N, dtype=object), Multiclass())
    with pytest.raises(Invalid, match="none of 600"):
        TECHNIQUE.apply(forest, StudentOptions(student="tree"), every, seed=0)


def test_less_effort_learns_from_fewer_rows(forest: Form) -> None:
    """Breaks when early rungs of a search cost as much as late ones."""
    few = _material(forest, NUMBERS, LATE, effort=0.05)
    options = StudentOptions(student="tree")
    small = TECHNIQUE.apply(forest, options, few, seed=0)
    whole = TECHNIQUE.apply(forest, options, _material(forest, NUMBERS, LATE), seed=0)
    sizes = [len(each.runs.dump(each.estimator)) for each in (small, whole)]
    assert sizes[0] < 0.7 * sizes[1]


def test_sentences_are_read_by_their_words(forest: Form) -> None:
    texts = [f"sentence {at} says {'late again' if at % 2 else 'in time'}" for at in range(200)]
    features = pa.table({"text": texts})
    labels = np.array(["no", "yes"] * 100, dtype=object)
    form = replace(forest, signature=Signature((Field("text", "string"),)))
    material = _material(form, features, labels)
    material.teacher_scores = np.tile([[0.9, 0.1], [0.1, 0.9]], (100, 1))
    assert student_of(StudentOptions(), form, material) == "text_linear"
    small = TECHNIQUE.apply(form, StudentOptions(size=0.02), material, seed=0)
    assert _hits(small, features, labels) == 1.0
    assert student_of(StudentOptions(), forest, _material(forest, NUMBERS, LATE)) == "boosting"


def test_levels_go_from_large_to_small(forest: Form) -> None:
    sizes = [each.size for each in TECHNIQUE.levels(forest, _material(forest, NUMBERS, LATE))]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes) >= 4


# ------------------------------------------------------------------ bad input


def test_what_cannot_be_distilled_is_said(forest: Form) -> None:
    def reason(form: Form = forest, task: Task | None = None, n_rows: int = _N) -> str:
        told = _material(form, NUMBERS.slice(0, n_rows), LATE[:n_rows], task)
        said = TECHNIQUE.why_not(form, told)
        assert said is not None
        with pytest.raises(Invalid):
            TECHNIQUE.apply(form, StudentOptions(), told, seed=0)
        return said

    pixels = Signature((Field("pixels", "tensor", shape=(2, 2)),))
    assert "tensor columns such as 'pixels'" in reason(replace(forest, signature=pixels))
    assert "several labels" in reason(task=Multilabel())
    assert "no training row" in reason(n_rows=0)
    assert "single class" in reason(replace(forest, classes=("no",)))
    assert "not sorted" in reason(replace(forest, classes=("yes", "no")))
    assert TECHNIQUE.why_not(forest, _material(forest, NUMBERS, LATE)) is None


def test_a_teacher_without_numbers_is_refused(forest: Form) -> None:
    material = _material(forest, NUMBERS, LATE)
    material.teacher_scores = np.full((_N, 2), np.nan)
    with pytest.raises(Invalid, match="600 rows without"):
        TECHNIQUE.apply(forest, StudentOptions(), material, seed=0)


def one_dummy(_signature: Signature, _classes: Any, _size: float) -> Any:
    return DummyClassifier(strategy="prior")


def one_of_another_task(_signature: Signature, _classes: Any, _size: float) -> Any:
    return RandomForestRegressor(2)


def test_a_student_of_ones_own_comes_by_its_path(forest: Form, monkeypatch: Any) -> None:
    """Breaks when only ready-made students are found."""
    monkeypatch.setitem(sys.modules, "shop_students", sys.modules[__name__])
    material = _material(forest, NUMBERS, LATE)
    own = parse_chain("distil.student:student=shop_students:one_dummy").steps[0]
    small = own.does.apply(forest, own.options, material, seed=0)
    assert isinstance(small.estimator, DummyClassifier)
    with pytest.raises(Missing, match="no_such"):
        TECHNIQUE.apply(forest, StudentOptions(student="shop_students:no_such"), material, seed=0)
    with pytest.raises(Invalid, match="an import path"):
        TECHNIQUE.apply(forest, StudentOptions(student="bosting"), material, seed=0)
    with pytest.raises(Invalid):
        TECHNIQUE.apply(
            forest, StudentOptions(student="shop_students:one_of_another_task"), material, seed=0
        )


@pytest.mark.parametrize("wrong", [{"size": 0.0}, {"size": 2.0}, {"truth": -0.1}, {"max_rows": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="0 < size"):
        StudentOptions(**wrong)


def test_every_adapter_can_teach() -> None:
    """Breaks when an adapter is added and students do not know it."""
    assert plugin_names("adapters") == TECHNIQUE.takes
