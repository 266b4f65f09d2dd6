"""Breaks when versions are disturbed differently, or one that raises takes the gate with it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.core.spec import Field, Signature
from renewal.evaluate.perturb import Noise, Nulls
from renewal.evaluate.robustness import Perturbation, Robustness, robustness
from renewal.models.task import Binary, Regression, Task
from renewal.stats.paired import paired_mean

Scores = NDArray[np.float64]
Predict = Callable[[pa.Table], Scores]
SIGNATURE = Signature((Field("x", "float"), Field("z", "float")))


def column(table: pa.Table, name: str) -> Scores:
    return np.nan_to_num(np.asarray(table[name].to_numpy(), dtype=np.float64))


def leaning_on(**weights: float) -> Predict:
    """Return a version whose odds are a weighted sum of columns."""

    def predict(table: pa.Table) -> Scores:
        total = np.zeros(table.num_rows)
        for name, weight in weights.items():
            total += weight * column(table, name)
        p = 1.0 / (1.0 + np.exp(-np.clip(total, -30, 30)))
        return np.column_stack([1.0 - p, p])

    return predict


def rows(n: int) -> tuple[pa.Table, NDArray[np.object_]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    labels = np.array((rng.random(n) < 1 / (1 + np.exp(-2 * x))).tolist(), dtype=object)
    return pa.table({"x": x, "z": x + 0.1 * rng.normal(size=n)}), labels


def run(
    *predict: Predict,
    n: int = 2000,
    perturbations: list[Perturbation] | None = None,
    task: Task | None = None,
    cap_rows: int = 5000,
) -> Robustness:
    features, labels = rows(n)
    used = task or Binary()
    classes = () if isinstance(used, Regression) else (False, True)
    return robustness(
        predict,
        features,
        labels.astype(float) if not classes else labels,
        task=used,
        classes=[classes] * len(predict),
        signature=SIGNATURE,
        perturbations=perturbations,
        cap_rows=cap_rows,
    )


def test_a_version_that_leans_on_one_column_loses_more_by_noise() -> None:
    """The candidate spreads its trust over two columns that say the same."""
    found = run(leaning_on(x=2.0), leaning_on(x=1.0, z=1.0))
    gain = found.gain("noise")
    assert gain is not None
    assert found.clean[0].losses is not None
    assert found.clean[1].losses is not None
    assert abs(found.clean[0].losses.mean() - found.clean[1].losses.mean()) < 0.01
    by_block = gain.reshape(40, 50).mean(axis=1)
    assert paired_mean(by_block).lower(0.01) > 0.02
    stable = [each.stability for each in found.disturbed["noise"]]
    assert 0.5 < stable[0] < stable[1] < 1.0
    assert found.clean[0].stability == 1.0


def test_all_versions_see_the_same_disturbed_rows() -> None:
    seen: list[pa.Table] = []

    def watching(table: pa.Table) -> Scores:
        seen.append(table)
        return leaning_on(x=1.0)(table)

    found = run(watching, watching, watching, perturbations=[Nulls(), Noise()])
    assert len(seen) == 9
    for at in (0, 3, 6):
        assert seen[at].equals(seen[at + 1])
        assert seen[at].equals(seen[at + 2])
    assert not seen[0].equals(seen[3])
    gain = found.gain("nulls", baseline=0, candidate=2)
    assert gain is not None
    assert not gain.any()


def test_leaving_one_disturbance_out_changes_no_other() -> None:
    both = run(leaning_on(x=1.0), perturbations=[Nulls(), Noise()])
    alone = run(leaning_on(x=1.0), perturbations=[Noise()])
    one, other = both.disturbed["noise"][0].losses, alone.disturbed["noise"][0].losses
    assert one is not None
    assert other is not None
    assert one.tolist() == other.tolist()


def test_the_sample_is_capped_and_names_its_rows() -> None:
    found = run(leaning_on(x=1.0), n=3000, cap_rows=200)
    assert len(found.rows) == 200
    assert np.all(np.diff(found.rows) > 0)
    assert found.clean[0].losses is not None
    assert len(found.clean[0].losses) == 200


def refusing_nulls(table: pa.Table) -> Scores:
    if table["x"].null_count:
        message = "cannot convert NaN"
        raise ValueError(message)
    return leaning_on(x=1.0)(table)


def nan_for_nulls(table: pa.Table) -> Scores:
    scores = leaning_on(x=1.0)(table)
    scores[table["x"].is_null().to_numpy()] = np.nan
    return scores


@pytest.mark.parametrize(
    ("predict", "why"),
    [
        (refusing_nulls, "it raised ValueError: cannot convert NaN"),
        (nan_for_nulls, "NaN or infinite scores in"),
    ],
)
def test_a_version_that_breaks_is_a_result(predict: Predict, why: str) -> None:
    found = run(leaning_on(x=1.0), predict, perturbations=[Nulls(), Noise()])
    steady, broken = found.disturbed["nulls"]
    assert steady.failed is None
    assert broken.failed is not None
    assert why in broken.failed
    assert broken.losses is None
    assert math.isnan(broken.stability)
    assert found.gain("nulls") is None
    assert found.gain("noise") is not None
    assert found.gain("no such") is None


def test_a_version_that_answers_with_other_rows_is_found_out() -> None:
    found = run(lambda table: np.ones((table.num_rows - 1, 2)))
    assert found.clean[0].failed == "scores of shape (1999, 2) for 2000 rows"


class Broken:
    """A stranger's disturbance, that raises or returns something else."""

    name = "broken"

    def __init__(self, how: str) -> None:
        self.how = how

    def applies(self, signature: Signature) -> str | None:
        """Return nothing against it."""
        return None if signature is SIGNATURE else "another signature"

    def perturb(
        self, features: pa.Table, signature: Signature, rng: np.random.Generator
    ) -> pa.Table:
        """Raise, or lose rows or a column."""
        assert signature is SIGNATURE
        assert rng is not None
        if self.how == "raises":
            raise KeyError(self.how)
        return features.slice(1) if self.how == "rows" else features.select(["x"])


@pytest.mark.parametrize("how", ["raises", "rows", "columns"])
def test_a_disturbance_that_breaks_is_skipped_with_its_reason(how: str) -> None:
    found = run(leaning_on(x=1.0), perturbations=[Broken(how), Noise()])
    assert list(found.disturbed) == ["noise"]
    assert "raised KeyError" in found.skipped["broken"] or "schema" in found.skipped["broken"]


def test_what_does_not_apply_is_skipped() -> None:
    assert run(leaning_on(x=1.0)).skipped == {"unseen_category": "no string column"}


def test_a_regression_is_stable_where_it_hardly_moves() -> None:
    task = Regression()
    found = run(
        lambda table: column(table, "x")[:, None],
        lambda table: np.ones((table.num_rows, 1)),
        perturbations=[Noise()],
        task=task,
    )
    moving, constant = found.disturbed["noise"]
    assert moving.stability < 0.15
    assert constant.stability == 1.0


def test_no_rows_are_an_answer() -> None:
    found = run(leaning_on(x=1.0), leaning_on(z=1.0), n=0)
    assert len(found.rows) == 0
    gain = found.gain("noise")
    assert gain is not None
    assert len(gain) == 0
    assert math.isnan(found.disturbed["noise"][0].stability)


def test_labels_of_other_rows_are_refused() -> None:
    features, labels = rows(10)
    with pytest.raises(Invalid, match="10 rows, 9 labels"):
        robustness(
            [leaning_on(x=1.0)],
            features,
            labels[:9],
            task=Binary(),
            classes=[(False, True)],
            signature=SIGNATURE,
        )
