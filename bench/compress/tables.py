"""A forest and a small transformer compressed and certified, the latter beside other tools.

``python -m bench.compress.tables [--quick] [--only forest|transformer]``

The forest has 200 trees on census rows (adult), the transformer reads customers' questions
(banking77); both are trained here. The search of the product looks for small models on
validation rows, and its front is certified on test rows at one point of accuracy. Beside the
transformer stand the single points of ONNX Runtime's own quantizer, NNCF and torchao.

All models then answer in turns, 1 row and 64, as a server calls them: the columns of a table
in, scores out, one thread; a model of scikit-learn in its compiled form where that is proved
equal. Ratios are medians over the parent's float32 graph in ONNX Runtime. ``--quick`` takes
few rows and trees: what it prints are no results. Without the data nothing runs.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from bench.compress.beside import ALPHA, PARENT, Model, Result, Times, show
from bench.compress.networks import front_of, searched
from bench.compress.parents import FOLDER, MODELS, Recipe, Split, is_there, parent_of, split_of
from bench.compress.peers import HINT, is_installed
from bench.compress.text_peers import PEERS, Subject
from bench.figure import figure
from renewal.compress.certify import Contender, Evidence, certify
from renewal.compress.chain import Chain, parse_chain
from renewal.compress.defaults import default_chains
from renewal.compress.exporting import exported
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.runner import Runner
from renewal.compress.search import Found
from renewal.core.errors import RenewalError
from renewal.core.plugin import load_plugin
from renewal.core.version import Manifest
from renewal.data.rows import Rows
from renewal.evaluate.compiled import check_compiled
from renewal.evaluate.cost import measure_costs
from renewal.models.contract import Runtime
from renewal.models.native import NativeRuntime
from renewal.models.onnx import OnnxRuntime
from renewal.models.onnx_convert import convert
from renewal.stats.apart import Apart

# Beside the default chains.
CHAINS: Mapping[str, tuple[str, ...]] = {
    "transformer": (
        "quantize.dynamic",
        "factorize.svd:* > recover.distil > quantize.dynamic",
    ),
}
_SEED = 0
_CONVERT_S, _CONVERT_BYTES = 600.0, 12 * 1024**3
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    Parameters
    ----------
    recipe : Recipe
        Of the parent.
    limit_s : float
        Of one search.
    n_single, n_batch : int
        Calls with 1 row, and with 64, of each model.
    n_asked : int
        Rows on which a compiled form is compared.
    """

    recipe: Recipe = field(default_factory=Recipe)
    limit_s: float = 1_200.0
    n_single: int = 400
    n_batch: int = 60
    n_asked: int = 2_000


QUICK = Size(Recipe(600, 300, 2_000, 10, 1, 16, 1), 8.0, 40, 4, 200)


def served(form: Form, data: bytes, rows: Rows, n_asked: int) -> tuple[Runtime, str]:
    """Return what a server would run: the compiled form where it is proved equal; and its name.

    Parameters
    ----------
    form : Form
        The model.
    data : bytes
        Its artifact.
    rows : Rows
        Rows on which both forms are compared.
    n_asked : int
        So many of them.
    """
    runs = form.runs
    native = NativeRuntime(runs, runs.ready(form.estimator, form.signature), form.signature)
    if form.adapter != "sklearn":
        return native, form.adapter
    manifest = Manifest(
        model="bench",
        task="multiclass",
        adapter=form.adapter,
        artifact="0" * 64,
        artifact_bytes=len(data),
        signature=form.signature,
        classes=form.classes,
        strategy="train",
    )
    try:
        graph = convert(manifest, data, timeout_s=_CONVERT_S, memory_bytes=_CONVERT_BYTES)
        plain = OnnxRuntime(graph, len(form.classes))
        few = rows.features.slice(0, n_asked)
        checked = check_compiled(native, plain, few, form.signature)
    except RenewalError as error:
        print(f"  native: {error}"[:200])
        return native, "native"
    if checked.failure:
        print(f"  native: {checked.failure}"[:200])
        return native, "native"
    return OnnxRuntime(graph, len(form.classes), checked.refusals), "compiled"


def right_of(runtime: Runtime, form: Form, rows: Rows) -> Any:
    """Return which rows a model gets right."""
    classes = np.array(form.classes, dtype=object)
    said = [
        classes[runtime.predict(rows.features.slice(at, _AT_ONCE)).argmax(axis=1)]
        for at in range(0, len(rows), _AT_ONCE)
    ]
    return np.concatenate(said) == rows.label


def compared(
    name: str,
    parent: tuple[Form, bytes],
    split: Split,
    size: Size,
    *,
    chains: Sequence[Chain],
    folder: Path,
) -> tuple[Result, dict[str, Runtime]]:
    """Search, certify, ask the peers and time all of them.

    Parameters
    ----------
    name : str
        Of the model.
    parent : tuple of (Form, bytes)
        Fitted, and its artifact.
    split : Split
        Rows.
    size : Size
        How much is done.
    chains : sequence of Chain
        Tried.
    folder : Path
        Where bytes are stored.
    """
    form, data = parent
    material = Material(load_plugin("tasks", MODELS[name][1])(), split.train, form)
    graph = exported(form, material)
    if graph is not form:
        data = graph.runs.dump(graph.estimator)
    runtime, how = served(graph, data, split.validation, size.n_asked)
    print(f"{name}: the parent as {how}, {len(data):,} bytes")
    first = Model(PARENT, len(data), runtime.predict, right_of(runtime, graph, split.test), "")
    runner, found = searched(
        material, len(data), split.validation, chains, limit_s=size.limit_s, folder=folder
    )
    runtimes: dict[str, Runtime] = {PARENT: runtime}
    ours = _certified(first, runner, found, split=split, n_asked=size.n_asked, runtimes=runtimes)
    peers = (
        _peers(Subject(form, graph, _calibration(material)), split, runtimes)
        if graph is not form
        else []
    )
    costs = measure_costs(
        runtimes,
        split.test.features,
        n_single=size.n_single,
        n_batch=size.n_batch,
        limit_s=600.0,
        seed=_SEED,
    )
    times = {
        # Each call comes after another model's: every time of one row is to cold caches.
        key: Times(each.latency_ms_p50_1, each.latency_ms_p50_64, each.latency_ms_p50_1)
        for key, each in costs.items()
    }
    smallest = max((first.n_bytes / each.n_bytes for each in peers), default=4.0)
    aims = (4.0, 2.0) if name == "forest" else (smallest, 1.0)
    return Result(name, first, ours, peers, times, aims), runtimes


def _certified(
    first: Model,
    runner: Runner,
    found: Found,
    *,
    split: Split,
    n_asked: int,
    runtimes: dict[str, Runtime],
) -> list[Model]:
    """Return the models of a front with what the test rows say of each; note their runtimes."""
    models, contenders = [], []
    for each in front_of(runner, found):
        stored = runner.book.store.get(each.trial.artifact)
        runtime, _ = served(each.form, stored, split.validation, n_asked)
        effort = "" if each.trial.effort == 1.0 else f" (effort {each.trial.effort:g})"
        label = f"{each.trial.chain}{effort}"
        right = right_of(runtime, each.form, split.test)
        model = Model(label, int(each.value), runtime.predict, right, "")
        runtimes[label] = runtime
        flips = model.beside(first)
        spread = each.spread
        bounds = flips if spread is None else Apart(flips.mean, flips.n_rows, spread)
        evidence = Evidence(flips.mean, bounds, flips.n_rows)
        contenders.append(Contender(each.trial.key, label, each.value, evidence))
        models.append(model)
    verdict = certify(contenders, margin=0.01, alpha=ALPHA)
    print(f"{verdict.status}: {verdict.reason}")
    return [
        replace(
            model,
            status="certified" if each.certified else "not certified",
            lower=each.claims[0].lower,
        )
        for model, each in zip(models, verdict.tested, strict=True)
    ]


def _calibration(material: Material) -> pa.Table:
    return material.train.features.take(pa.array(material.few(256)))


def _peers(subject: Subject, split: Split, runtimes: dict[str, Runtime]) -> list[Model]:
    """Return what the peers make; one that is absent or fails is told and left out."""
    found = []
    for name, (package, make) in PEERS.items():
        if not is_installed(package):
            print(f"NOT RUN: {name}: {HINT}")
            continue
        try:
            form, n_bytes = make(subject)
            runtime, _ = served(form, b"", split.validation, 0)
            right = right_of(runtime, form, split.test)
        except Exception as error:  # noqa: BLE001  # a stranger may raise anything; it is told
            print(f"NOT RUN: {name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        runtimes[name] = runtime
        found.append(Model(name, n_bytes, runtime.predict, right, "peer"))
    return found


def tell(result: Result) -> None:
    """Print the figures of a model: of the certified one that comes nearest to both aims."""
    small, fast = result.aims
    name, best = f"tables.{result.net}", result.best()
    size, single, batch = 0.0, 0.0, 0.0
    if best is not None:
        size, (single, batch) = result.size_ratio(best), result.speed(best)
    print(f"{name}: {'nothing certified' if best is None else best.name}")
    figure(f"{name}.size_ratio", size, f">={small:.4g}", ok=size >= small)
    figure(f"{name}.latency_ratio_b1", single, f">={fast:g}", ok=single >= fast)
    figure(f"{name}.latency_ratio_b64", batch, f">={fast:g}", ok=batch >= fast)
    for each in result.peers:
        by = result.dominates(each)
        key = each.name.replace(" ", "_")
        figure(f"{name}.dominates_{key}", "no" if by is None else "yes", "yes", ok=by is not None)


def run(quick: bool, only: str | None = None) -> None:  # noqa: FBT001  # every script of the folder is called so
    """Run it for both models; print tables and figures.

    Parameters
    ----------
    quick : bool
        Few rows, and little time.
    only : str or None
        One model.
    """
    size = QUICK if quick else Size()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name in MODELS if only is None else (only,):
            if not is_there(name):
                print(f"NOT RUN: {name}, for want of its data in {FOLDER}")
                continue
            split = split_of(name, size.recipe)
            parent = parent_of(name, split, size.recipe)
            chains = [*map(parse_chain, CHAINS.get(name, ())), *default_chains(parent[0])]
            chains = list({each.label: each for each in chains}.values())
            with tempfile.TemporaryDirectory(prefix="renewal-bench-") as folder:
                result, _ = compared(name, parent, split, size, chains=chains, folder=Path(folder))
            show(result)
            tell(result)
    finally:
        torch.set_num_threads(threads)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rows, and little time")
    parser.add_argument("--only", choices=tuple(MODELS), help="one model")
    asked = parser.parse_args()
    run(asked.quick, asked.only)


if __name__ == "__main__":
    main()
