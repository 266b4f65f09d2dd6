"""Ten kinds of model, native against compiled: equal or not, and how fast with 1 and 1,000 rows.

Each is fitted on 8,000 rows of 30 numbers and compared on 4,000 others as the watch does it;
then both forms answer the same rows in turn, through the runtimes that a server calls.

Run it as ``python -m bench.compress.compiled``; ``--quick`` takes fewer rows, trees and calls.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from bench.figure import figure
from renewal.core.version import Manifest
from renewal.data.frame import signature_of
from renewal.evaluate.compiled import check_compiled, faster_form
from renewal.models.contract import Runtime
from renewal.models.native import NativeRuntime
from renewal.models.onnx import OnnxRuntime
from renewal.models.onnx_convert import convert
from renewal.models.sklearn import SklearnAdapter

N_COLUMNS = 30
TIMES_AT_ONE = 10.0
# Of these the aim is promised: trees and linear pipelines.
AIMED = {"logistic", "scaler+logistic", "ridge", "tree", "forest", "extra-trees", "hist-boosting",
         "boosting"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    n_fit: int
    n_held_out: int
    n_trees: int
    n_single: int
    n_thousand: int


FULL, QUICK = Size(8000, 4000, 100, 300, 15), Size(1000, 1000, 10, 60, 3)


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of one kind of model; times in milliseconds."""

    name: str
    failure: str
    is_served: bool
    convert_s: float
    ones: tuple[float, float]
    thousands: tuple[float, float]


def estimators(n_trees: int) -> dict[str, Any]:
    """Return the ten, unfitted."""
    return {
        "logistic": LogisticRegression(),
        "scaler+logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "ridge": Ridge(),
        "tree": DecisionTreeClassifier(),
        "forest": RandomForestClassifier(n_trees),
        "extra-trees": ExtraTreesClassifier(n_trees),
        "hist-boosting": HistGradientBoostingClassifier(max_iter=n_trees),
        "boosting": GradientBoostingClassifier(n_estimators=n_trees),
        "mlp": MLPClassifier((256, 128), max_iter=20),
        "k-nn": KNeighborsClassifier(),
    }


def measure(name: str, estimator: Any, size: Size) -> Row:
    """Fit one, convert it in its child process, compare both forms and time them."""
    rng = np.random.default_rng(7)
    n_rows = size.n_fit + size.n_held_out
    x = rng.normal(size=(n_rows, N_COLUMNS))
    signal = x[:, 0] + x[:, 1] * x[:, 2] + 0.5 * rng.normal(size=n_rows)
    rows = pa.table({f"c{at}": x[:, at] for at in range(N_COLUMNS)})
    labels = signal if name == "ridge" else np.array((signal > 0).tolist(), dtype=object)
    adapter, signature = SklearnAdapter(), signature_of(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = adapter.fit(estimator, rows.slice(0, size.n_fit), labels[: size.n_fit], seed=0)
    held_out = rows.slice(size.n_fit)
    classes = adapter.classes(fitted)
    began = time.perf_counter()
    graph = convert(_manifest(name, signature, classes), adapter.dump(fitted), timeout_s=300.0)
    convert_s = time.perf_counter() - began
    native = NativeRuntime(adapter, adapter.ready(fitted, signature), signature)
    plain = OnnxRuntime(graph, len(classes) or 1)
    checked = check_compiled(native, plain, held_out, signature)
    compiled = OnnxRuntime(graph, len(classes) or 1, checked.refusals)
    loses, _ours, _theirs = faster_form(native, compiled, held_out)
    thousand = held_out.slice(0, 1000)
    return Row(
        name,
        checked.failure,
        not checked.failure and not loses,
        convert_s,
        _in_turn((native, compiled), held_out, 1, size.n_single),
        _in_turn((native, compiled), thousand, 1000, size.n_thousand),
    )


def _manifest(name: str, signature: Any, classes: Any) -> Manifest:
    return Manifest(
        model=name,
        task="binary" if classes else "regression",
        adapter="sklearn",
        artifact="0" * 64,
        artifact_bytes=0,
        signature=signature,
        classes=classes,
        strategy="train",
    )


def _in_turn(
    forms: tuple[Runtime, Runtime], rows: pa.Table, n_rows: int, n_calls: int
) -> tuple[float, float]:
    """Return the median time of a call of each form, their calls taking turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for call in range(n_calls + 3):
        piece = rows.slice(call % (rows.num_rows - n_rows + 1), n_rows)
        for form, found in zip(forms, times, strict=True):
            began = time.perf_counter()
            form.predict(piece)
            found.append((time.perf_counter() - began) * 1e3)
    return float(np.median(times[0][3:])), float(np.median(times[1][3:]))


def run(quick: bool) -> None:  # noqa: FBT001  # the one switch of every part
    """Measure all ten, print the table and the figures."""
    size = QUICK if quick else FULL
    rows = [measure(name, each, size) for name, each in estimators(size.n_trees).items()]
    drawn = Table(title="p50 of a call, ms: native, compiled, how many times as fast", box=None)
    for head in ("model", "equal", "served", "convert s", "1 row", "", "x", "1,000 rows", "", "x"):
        drawn.add_column(head, justify="left" if head in {"model", "equal"} else "right")
    for row in rows:
        drawn.add_row(
            row.name,
            row.failure or "yes",
            "compiled" if row.is_served else "native",
            f"{row.convert_s:.1f}",
            *_three(row.ones),
            *_three(row.thousands),
        )
    Console(width=120).print(drawn)
    for row in rows:
        ratio = row.ones[0] / row.ones[1]
        if row.name in AIMED:
            figure(
                f"compiled.batch1.{row.name}", ratio, f">={TIMES_AT_ONE:g}", ratio >= TIMES_AT_ONE
            )
            figure(f"compiled.equal.{row.name}", not row.failure, "True", not row.failure)
    (k_nn,) = (row for row in rows if row.name == "k-nn")
    figure("compiled.k-nn_stays_native", not k_nn.is_served, "True", not k_nn.is_served)


def _three(times: tuple[float, float]) -> tuple[str, str, str]:
    return f"{times[0]:.3f}", f"{times[1]:.3f}", f"{times[0] / times[1]:.1f}"


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows, trees and calls")
    run(parser.parse_args().quick)


if __name__ == "__main__":
    main()
