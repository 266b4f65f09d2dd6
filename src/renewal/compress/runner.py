"""Carrying out a chain: steps, export, bytes, and the scores that the stored bytes give."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.compress.begun import noted
from renewal.compress.book import Book, kept_scores, read_scores
from renewal.compress.chain import Chain, Step
from renewal.compress.exporting import GRAPH, exported
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.compress.measure import size_of
from renewal.compress.processor import saturates
from renewal.compress.trial import Trial
from renewal.core.errors import Conflict, Invalid, Missing, RenewalError, Unavailable
from renewal.core.plugin import load_plugin
from renewal.core.progress import tell_progress
from renewal.data.rows import Rows
from renewal.evaluate.cache import rows_id
from renewal.models.task import Scores
from renewal.store.digest import digest

_log = logging.getLogger(__name__)
_LONGEST_REASON = 300
_N_KEPT = 6
_N_LOOKED_AT = 16
# A full disk or memory says nothing about a chain.
_PASSING = (MemoryError, OSError)
# What decides the bytes that come out of a chain; one that is not installed decides nothing.
_LIBRARIES = (
    "lightgbm",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "renewal",
    "scikit-learn",
    "torch",
    "torch-pruning",
    "transformers",
    "xgboost",
    "xgboost-cpu",
)


class Changed(Invalid):
    """A step has changed the model that it was handed: nothing here can be trusted any more."""


NOT_OF_A_CHAIN = (Changed, Conflict, Missing, Unavailable)
"""What ends a search: it says nothing about the chain at hand."""


class Runner:
    """Carries out chains on one parent, each of them once.

    Parameters
    ----------
    parent : Form
        What is compressed; never changed.
    parent_key : str
        Digest that names its bytes, its map and its columns.
    parent_bytes : int
        Of its artifact, with the base that it is an addition to.
    material : Material
        What the steps may learn from.
    validation : Rows
        Labelled rows on which the search compares; no step ever sees them.
    book : Book
        What was done already.
    seed : int, default 0
        Of everything that is random.
    """

    def __init__(
        self,
        parent: Form,
        parent_key: str,
        parent_bytes: int,
        *,
        material: Material,
        validation: Rows,
        book: Book,
        seed: int = 0,
    ) -> None:
        self.parent = parent
        self.validation = validation
        self.material = material
        self.book = book
        self.n_run = 0
        self._seed = seed
        self._parent_bytes = parent_bytes
        self._fixed = {
            "parent": parent_key,
            "validation": rows_id(validation),
            "seed": seed,
            "libraries": _libraries(),
        }
        # A label that is corrected arrives anew.
        arrived = np.ascontiguousarray(material.train.label_arrived_us).tobytes()
        self._train = digest(rows_id(material.train).encode() + arrived)
        self._kept: OrderedDict[tuple[str, float], Form] = OrderedDict()

    def trial(self, chain: Chain, effort: float = 1.0) -> Trial:
        """Return what came of a chain; a chain that was carried out before is not run again.

        Parameters
        ----------
        chain : Chain
            Without a free knob.
        effort : float in (0, 1], default 1
            Share of the epochs and rows that its steps spend; of no effect where none learns.

        Returns
        -------
        Trial
            With `failed` where a step, the export or the scoring has failed: the reason.

        Raises
        ------
        Conflict, Unavailable
            When a room fails, which says nothing about the chain.
        Changed
            When a step has changed the model that it was handed.
        """
        found = self.known(chain, effort)
        if found is not None:
            return found
        learns = _learns(chain)
        effort = effort if learns else 1.0
        key = self._key_of(chain, effort)
        tell_progress(chain.label)
        began = time.perf_counter()
        notes = dict.fromkeys(getattr(each.does, "note", "") for each in chain.steps)
        note = "; ".join(each for each in notes if each)
        blank = Trial(key, chain.label, learned=learns, effort=effort, note=note)
        self.n_run += 1
        try:
            with noted(self.material.scratch, key):
                made = self._carried_out(chain, blank)
        except (*NOT_OF_A_CHAIN, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # the plug-in border: a step may raise anything, even sys.exit
            if not isinstance(error, RenewalError):
                # The reason stands in the trial; where it came from is for who wrote the step.
                _log.info("the chain %s failed", chain.label, exc_info=error)
            made = replace(blank, failed=reason_of(error))
            if isinstance(error, _PASSING):
                # Of this moment, not of the chain: another search tries it again.
                return replace(made, seconds=time.perf_counter() - began)
        made = replace(made, seconds=time.perf_counter() - began)
        self.book.write(made)
        return made

    def known(self, chain: Chain, effort: float = 1.0) -> Trial | None:
        """Return what the book holds of a chain; None where it was not carried out yet."""
        return self.book.find(self._key_of(chain, effort))

    def levels(self, chain: Chain) -> tuple[Any, ...]:
        """Return the options that a chain's free knob can take, the mildest first.

        Raises
        ------
        Invalid
            When the step cannot be done with what the steps before it make, with the reason.
        """
        place = chain.free
        assert place is not None, "only a chain with a free knob has levels"
        step = chain.steps[place]
        with noted(self.material.scratch, digest(f"levels of {chain.label}".encode())):
            form, material = self._taken(step, chain.steps[:place], 1.0)
            _demand(step, form, material)
            return step.does.levels(form, material)

    def form(self, trial: Trial) -> Form:
        """Return the model of a trial, loaded from its stored bytes."""
        if not trial.artifact:
            return self.parent
        adapter = load_plugin("adapters", trial.adapter)()
        estimator = adapter.load(self.book.store.get(trial.artifact), self.material.trust)
        assert trial.signature is not None, "a trial that did not fail has a signature"
        return Form(trial.adapter, estimator, trial.signature, trial.classes, self.parent.score_map)

    def scores(self, trial: Trial) -> Scores:
        """Return what a trial says of the validation rows."""
        return read_scores(self.book.store, trial.scores)

    def _carried_out(self, chain: Chain, blank: Trial) -> Trial:
        form = self._after(chain.steps, blank.effort)
        if chain.steps:
            form = exported(form, self.material)
            data = form.runs.dump(form.estimator)
            loaded = form.runs.load(data, self.material.trust)
            # What is scored is what was stored, in the runtime that will serve it.
            form = replace(form, estimator=form.runs.ready(loaded, form.signature))
            artifact, n_bytes = self.book.store.put(data), len(data)
        else:
            artifact, n_bytes = "", self._parent_bytes
        scores = form.predict(self.validation.features)
        self._demand_scores(form, scores)
        return replace(
            blank,
            adapter=form.adapter,
            artifact=artifact,
            signature=form.signature,
            classes=form.classes,
            size=size_of(form, n_bytes),
            scores=kept_scores(self.book.store, scores),
        )

    def _after(self, steps: tuple[Step, ...], effort: float) -> Form:
        """Return the form after some steps; the last few are kept, for chains begin alike."""
        if not steps:
            return self.parent
        return self._once((Chain(steps).label, effort), partial(self._applied, steps, effort))

    def _applied(self, steps: tuple[Step, ...], effort: float) -> Form:
        """Return what the last step makes of what those before it have made."""
        step = steps[-1]
        form, material = self._taken(step, steps[:-1], effort)
        _demand(step, form, material)
        before = self._answers(form)
        made = step.does.apply(form, step.options, material, seed=self._seed)
        self._demand_unchanged(step, form, before)
        return made

    def _once(self, key: tuple[str, float], make: Callable[[], Form]) -> Form:
        """Return a form that is among the last few, or make it."""
        found = self._kept.get(key)
        self._kept[key] = make() if found is None else found
        self._kept.move_to_end(key)
        while len(self._kept) > _N_KEPT:
            self._kept.popitem(last=False)
        return self._kept[key]

    def _answers(self, form: Form) -> Scores | None:
        """Return what a form says of a few rows; None where it is no model between two steps."""
        try:
            return form.predict(self.validation.features.slice(0, _N_LOOKED_AT))
        except RenewalError:
            return None

    def _demand_unchanged(self, step: Step, form: Form, before: Scores | None) -> None:
        """Refuse to go on where what a step was handed answers otherwise than before it."""
        after = self._answers(form)
        # A model that never answers alike cannot tell.
        if not _are_equal(before, after) and _are_equal(after, self._answers(form)):
            raise Changed(
                step.technique,
                needs="to leave the model that it is handed as it is",
                came="other scores of the same rows than before",
                todo="Leave this technique out, and tell who wrote it.",
            )

    def _taken(self, step: Step, before: tuple[Step, ...], effort: float) -> tuple[Form, Material]:
        """Return the form that a step is handed, as a graph where it takes nothing else."""
        form = self._after(before, effort)
        if form.adapter not in step.does.takes and GRAPH in step.does.takes:
            key = (f"{Chain(before).label} as a graph", effort if before else 1.0)
            form = self._once(key, partial(exported, form, self.material))
        return form, self.material.at(effort)

    @cached_property
    def _unlabelled(self) -> str:
        assert self.material.unlabelled is not None, "asked only where there are such rows"
        out = pa.BufferOutputStream()
        with pa.ipc.new_stream(out, self.material.unlabelled.schema) as writer:
            writer.write_table(self.material.unlabelled.combine_chunks())
        return digest(out.getvalue().to_pybytes())

    def _demand_scores(self, form: Form, scores: Scores) -> None:
        theirs = self.parent.classes
        if not set(form.classes) <= set(theirs) or bool(form.classes) != bool(theirs):
            raise Invalid(
                "compress",
                needs=f"a model of the classes {', '.join(map(str, theirs)) or '(none)'}",
                came=f"one of {', '.join(map(str, form.classes)) or 'none'}",
                todo="Leave this chain out.",
            )
        wanted = (len(self.validation), len(form.classes) or 1)
        if scores.shape != wanted or not np.isfinite(scores).all():
            n_bad = int((~np.isfinite(scores)).sum())
            raise Invalid(
                "compress",
                needs=f"finite scores of shape {wanted}",
                came=f"shape {scores.shape}, {n_bad:,} not finite",
                todo="Leave this chain out.",
            )

    def _key_of(self, chain: Chain, effort: float) -> str:
        learns = _learns(chain)
        needs = {**self._fixed, "chain": chain.label, "effort": effort if learns else 1.0}
        # Steps that do not learn may calibrate on a few rows, so the rows are always named.
        needs["train"] = self._train
        needs["learns"] = learns
        if learns and self.material.unlabelled is not None:
            needs["unlabelled"] = self._unlabelled
        return digest(json.dumps(needs, sort_keys=True).encode())


def _learns(chain: Chain) -> bool:
    return any(each.does.learns for each in chain.steps)


def _demand(step: Step, form: Form, material: Material) -> None:
    does = step.does
    if form.adapter not in does.takes:
        graph = " or a network, which is exported first" if GRAPH in does.takes else ""
        raise Invalid(
            step.technique,
            needs=f"a model of {', '.join(does.takes)}{graph}",
            came=f"one of {form.adapter}",
            todo="Leave this chain out.",
        )
    why_not = does.why_not(form, material)
    if why_not is not None:
        raise Invalid(
            step.technique,
            needs="a model that it can work on",
            came=why_not,
            todo="Leave this chain out.",
        )


def _are_equal(ours: Scores | None, theirs: Scores | None) -> bool:
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return ours is theirs
    return bool(np.allclose(ours, theirs, rtol=1e-6, atol=1e-9, equal_nan=True))


def reason_of(error: BaseException) -> str:
    """Return in one line why a step has failed, at most 300 characters."""
    words = str(error) if isinstance(error, RenewalError) else f"{type(error).__name__}: {error}"
    return " ".join(words.split())[:_LONGEST_REASON]


def _libraries() -> Mapping[str, str]:
    # Graphs of integers are written as this processor likes them.
    found = {"processor": f"{platform.machine()}, {'7' if saturates() else '8'} bits"}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
