"""Networks compressed and certified, beside ONNX Runtime's quantizer, NNCF and torchao.

``python -m bench.compress.networks [--quick] [--only mlp|cnn|resnet20]``

A perceptron and a residual network are trained here on photos of CIFAR-10 (`bench.compress.nets`).
The search of the product looks for small models on validation rows, and its front is certified
on 10,000 test rows at one point of accuracy. Beside it stand the single points of other tools,
made of the same network with the same calibration rows.

All models then answer in turns: one photo, and 64 of them, decoded before the clock starts; one
thread each; graphs in ONNX Runtime, torchao in torch. Ratios are of medians, over the parent's
float32 graph in ONNX Runtime; the first call of a turn, to cold caches, is told apart.

``--quick`` trains the networks for moments on few rows: a parent that has learned next to nothing
is easy to compress, so its figures bear the name ``networks.quick`` and are no results. Without
the photos of RENEWAL_DATA nothing runs.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.compress import nets
from bench.compress.beside import ALPHA, PARENT, Model, Pixels, Result, right_of, show, tell, timed
from bench.compress.peers import HINT, PEERS, Subject, is_installed, session_of
from renewal.compress.book import MemoryBook
from renewal.compress.certify import Certified, Contender, Evidence, certify
from renewal.compress.chain import Chain, parse_chain
from renewal.compress.defaults import default_chains
from renewal.compress.form import Form
from renewal.compress.front import order
from renewal.compress.goal import Goal
from renewal.compress.material import Material
from renewal.compress.runner import Runner
from renewal.compress.search import Found, search
from renewal.compress.trial import Trial
from renewal.core.plugin import load_plugin
from renewal.data.rows import Rows
from renewal.loop.certifying import Entrant
from renewal.loop.entrants import points_of, spread_of_trial
from renewal.models.torch_inputs import finished
from renewal.stats.apart import Apart
from renewal.store.local import LocalStore

GOAL = Goal(tau=-0.01, metric="accuracy", objective="bytes")
_SEED = 0
_QUICK = "quick."
_N_COMPARED = 64
# Beside the default chains: those that reach the aims, which need more recovery.
CHAINS: Mapping[str, tuple[str, ...]] = {
    "mlp": (
        "prune.channels:* > recover.distil:epochs=3 > quantize.static",
        "prune.channels:* > recover.distil:epochs=3 > quantize.dynamic",
    ),
    "cnn": ("prune.channels:* > recover.distil:epochs=3 > quantize.static",),
}
AIMS = {"mlp": (4.0, 3.0), "cnn": (6.0, 1.5)}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    Parameters
    ----------
    n_train, n_validation, n_test : int
        Photos of each kind.
    n_material : int
        Of the training photos, those that a chain may learn from.
    epochs : mapping of str to int
        Of each network's training.
    limit_s : float
        Of one search.
    n_single, n_batch : int
        Calls with one photo, and with 64, of each model.
    is_quick : bool
        Whether the default chains, and what torch compiles, are left out.
    """

    n_train: int = 30_000
    n_validation: int = 5_000
    n_test: int = 10_000
    n_material: int = 20_000
    epochs: Mapping[str, int] = field(default_factory=lambda: {"mlp": 8, "cnn": 8, "resnet20": 40})
    limit_s: float = 1_200.0
    n_single: int = 400
    n_batch: int = 40
    is_quick: bool = False


QUICK = Size(
    1_000, 500, 2_000, 500, {"mlp": 1, "cnn": 1, "resnet20": 1}, 10.0, 60, 5, is_quick=True
)


class Served(nn.Module):  # type: ignore[misc]  # torch is not followed, hence Any
    """A network of torch with what stands before it: pixels in, scores out."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        fitted = form.estimator.fitted
        self.module, self.inputs = fitted.module, fitted.inputs

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the score of each class."""
        scores: Tensor = self.module(*finished(self.inputs, (pixels,)))
        return scores


def graph_of(form: Form, train: Rows) -> bytes:
    """Return the float32 graph of a network; some training rows are answered by both."""
    few = train.features.slice(0, _N_COMPARED)
    graph: bytes = load_plugin("exports", form.adapter)(
        form.estimator, form.signature, rows=few
    ).graph
    return graph


def searched(
    material: Material,
    n_bytes: int,
    validation: Rows,
    chains: Sequence[Chain],
    *,
    limit_s: float,
    folder: Path,
) -> tuple[Runner, Found]:
    """Return what the search of the product finds.

    Parameters
    ----------
    material : Material
        With the parent; training rows that chains may learn from.
    n_bytes : int
        Of the parent's graph.
    validation : Rows
        On which models are compared; of the test rows it sees none.
    chains : sequence of Chain
        Tried.
    limit_s : float, seconds
        When it is over, no further trial begins.
    folder : Path
        Where bytes are stored.
    """
    book = MemoryBook(LocalStore(folder))
    runner = Runner(
        material.parent,
        PARENT,
        n_bytes,
        material=material,
        validation=validation,
        book=book,
        seed=_SEED,
    )
    began = time.perf_counter()

    def tell(trial: Trial, gain: float) -> None:
        size = trial.size.bytes if trial.size is not None else 0
        said = trial.failed or f"{size:,} bytes, {100.0 * gain:+.2f} points"
        now = time.perf_counter() - began
        print(f"  {now:5.0f} s  {_label(trial)}: {said}", flush=True)

    found = search(runner, chains, GOAL.settled(material.task), limit_s=limit_s, tell=tell)
    return runner, found


def front_of(runner: Runner, found: Found) -> list[Entrant]:
    """Return the front of a search in the order in which it is certified."""
    goal = GOAL.settled(runner.material.task)
    trials = {each.key: each for each in found.trials}
    size = found.trials[0].size
    value = math.inf if size is None else float(size.bytes)
    entrants = []
    for each in order(points_of(runner, found, goal), margin=found.margin, parent_value=value):
        trial = trials[each.key]
        spread = spread_of_trial(runner, found, goal, trial)
        entrants.append(Entrant(trial, runner.form(trial), each.value, (), spread))
    return entrants


def certified(
    parent: Model, entrants: Sequence[Entrant], pixels: Pixels, labels: NDArray[np.int64]
) -> tuple[list[Model], Certified]:
    """Return the models of a front with what the test rows say of each."""
    models, contenders = [], []
    for each in entrants:
        graph_run = session_of(each.form.estimator.graph)
        label = _label(each.trial)
        right = right_of(graph_run, pixels, labels)
        model = Model(label, int(each.value), graph_run, right, "")
        flips = model.beside(parent)
        assert each.spread is not None, "accuracy is a mean over rows"
        bounds = Apart(flips.mean, flips.n_rows, each.spread)
        evidence = Evidence(flips.mean, bounds, flips.n_rows)
        contenders.append(Contender(each.trial.key, label, each.value, evidence))
        models.append(model)
    found = certify(contenders, margin=0.01, alpha=ALPHA)
    told = [
        replace(
            model,
            status="certified" if each.certified else "not certified",
            lower=each.claims[0].lower,
        )
        for model, each in zip(models, found.tested, strict=True)
    ]
    return told, found


def peers_of(
    subject: Subject, pixels: Pixels, labels: NDArray[np.int64], *, is_compiled: bool
) -> list[Model]:
    """Return what the peers make; one that is absent or fails is told and left out."""
    found = []
    for name, (package, make) in PEERS.items():
        if not is_installed(package):
            print(f"NOT RUN: {name}: {HINT}")
            continue
        if name == "torchao compiled" and not is_compiled:
            continue
        try:
            made = make(subject)
            right = right_of(made.run, pixels, labels)
        except Exception as error:  # noqa: BLE001  # a stranger may raise anything; it is told
            print(f"NOT RUN: {name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        found.append(Model(name, made.n_bytes, made.run, right, "peer"))
    return found


def measured(net: str, size: Size) -> Result:
    """Train, search, certify, ask the peers, and time all of them.

    Parameters
    ----------
    net : str
        A name of `nets.NETS`.
    size : Size
        How much is done.
    """
    photos = nets.photos(size.n_train, size.n_validation, size.n_test)
    recipe = replace(nets.NETS[net], epochs=size.epochs[net])
    form, seconds = nets.parent_of(recipe, photos.train)
    weights = sum(each.numel() for each in form.estimator.fitted.module.parameters())
    print(f"{net}: {weights:,} weights; trained in {seconds:.0f} s (0: kept from before)")
    chains = [parse_chain(each) for each in CHAINS.get(net, CHAINS["cnn"])]
    if not size.is_quick:
        chains += default_chains(form)
    with TemporaryDirectory(prefix="renewal-bench-") as folder:
        name = f"{_QUICK}{net}" if size.is_quick else net
        return compared(name, form, photos, size, chains=chains, folder=Path(folder))


def compared(
    net: str,
    form: Form,
    photos: nets.Photos,
    size: Size,
    *,
    chains: Sequence[Chain],
    folder: Path,
) -> Result:
    """Return what comes of a trained network.

    Parameters
    ----------
    net : str
        Its name.
    form : Form
        Trained.
    photos : Photos
        Rows.
    size : Size
        How much is done.
    chains : sequence of Chain
        Tried.
    folder : Path
        Where bytes are stored.
    """
    train = photos.train.take(np.arange(min(size.n_material, len(photos.train))))
    material = Material(load_plugin("tasks", "multiclass")(), train, form)
    graph = graph_of(form, train)
    pixels, labels = nets.pixels_of(form, photos.test), nets.labels_of(photos.test)
    answers = session_of(graph)
    parent = Model(PARENT, len(graph), answers, right_of(answers, pixels, labels), "")
    runner, found = searched(
        material, len(graph), photos.validation, chains, limit_s=size.limit_s, folder=folder
    )
    ours, verdict = certified(parent, front_of(runner, found), pixels, labels)
    print(f"{net}: {verdict.status}: {verdict.reason}")
    subject = Subject(
        graph,
        Served(form),
        nets.pixels_of(form, train.take(material.few(256))),
        nets.pixels_of(form, photos.validation),
        nets.labels_of(photos.validation),
    )
    peers = peers_of(subject, pixels, labels, is_compiled=not size.is_quick)
    runs = {each.name: each.run for each in (parent, *ours, *peers)}
    times = timed(runs, pixels, size.n_single, size.n_batch)
    return Result(net, parent, ours, peers, times, AIMS.get(net.removeprefix(_QUICK), AIMS["cnn"]))


def _label(trial: Trial) -> str:
    return trial.chain if trial.effort == 1.0 else f"{trial.chain} (effort {trial.effort:g})"


def run(quick: bool, only: str | None = None) -> None:  # noqa: FBT001  # every script of the folder is called so
    """Run it for the perceptron and the residual network; print tables and figures.

    Parameters
    ----------
    quick : bool
        Few rows, and little time.
    only : str or None
        One network.
    """
    if not nets.is_there():
        print(f"NOT RUN: networks, for want of {nets.FOLDER}/cifar10_train.parquet")
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for net in ("mlp", "cnn") if only is None else (only,):
            result = measured(net, QUICK if quick else Size())
            show(result)
            tell(result)
    finally:
        torch.set_num_threads(threads)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, and little time")
    parser.add_argument("--only", choices=tuple(nets.NETS), help="one network")
    asked = parser.parse_args()
    run(asked.quick, asked.only)


if __name__ == "__main__":
    main()
