"""Which of several versions to fine-tune from: a cheap probe of what they see in the new rows."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from renewal.core.errors import Invalid
from renewal.core.progress import tell_progress
from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.models.adapters import adapter_of
from renewal.models.labels import Labels
from renewal.models.layers import LayeredAdapter
from renewal.models.load import load_estimator
from renewal.models.score_map import unmapped
from renewal.models.task import Classes, Scores, Task
from renewal.stats.folds import stratified_folds
from renewal.store.contract import Store
from renewal.update.contract import Parent
from renewal.update.eligible import labelled_rows

N_ROWS = 500
_N_FOLDS = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe says of one version.

    Parameters
    ----------
    version : Version
        From the catalogue.
    loss : float or None, unit of the task's loss
        Mean loss of a linear model on what the version's head is handed, cross-validated;
        None: it could not be probed.
    seconds : float, seconds
        Loading, embedding and fitting together.
    reason : str or None
        Why it could not be probed, as one sentence.
    """

    version: Version
    loss: float | None
    seconds: float
    reason: str | None = None


def choose_base(
    parent: Parent,
    rows: Rows,
    bases: Sequence[Version],
    *,
    store: Store,
    trust: tuple[str, ...] = (),
    seed: int,
) -> tuple[Probed, ...]:
    """Rank versions by how much a linear model reads from what their heads are handed.

    Each version embeds at most 500 of the rows, and a logistic regression on the standardized
    embeddings (for numbers: a ridge regression) is cross-validated by groups. That is minutes
    cheaper than fine-tuning each, and ranks bases as their fine-tunings mostly would.

    Parameters
    ----------
    parent : Parent
        Whose inputs the bases must share. It may be among them, and is not loaded again.
    rows : Rows
        All of them may be fitted.
    bases : sequence of Version
        The catalogue; of equals the earlier wins.
    store : Store
        Holds their bytes.
    trust : tuple of str, default ()
        Own classes that stored models may load.
    seed : int
        Of the sample of rows and of the folds.

    Returns
    -------
    tuple of Probed
        The best first; those that could not be probed last, each with its reason.

    Raises
    ------
    Invalid
        When no row has a label, or all lie in one group or class.

    Notes
    -----
    One base is in memory at a time. A base that was itself trained on these rows looks better
    than it is; that costs time and no trust, since the gate judges on rows that none has seen.
    """
    probe = _Probe.of(parent, rows, seed)
    found = []
    for at, version in enumerate(bases):
        tell_progress(f"probes {version.manifest.model} {version.name}", at / len(bases))
        began = time.perf_counter()
        loss, reason = None, _unfit(parent, version)
        if reason is None:
            try:
                loss = probe.loss(_loaded(parent, version, store, trust), version)
            except Exception as error:  # noqa: BLE001  # the call of a plug-in: the others go on
                _log.warning("version %s cannot be probed", version.id, exc_info=True)
                reason = f"{type(error).__name__}: {error}"
        found.append(Probed(version, loss, time.perf_counter() - began, reason))
    return tuple(sorted(found, key=lambda each: math.inf if each.loss is None else each.loss))


@dataclass(frozen=True)
class _Probe:
    """The rows of one probe, the same for every version."""

    task: Task
    features: pa.Table
    labels: Labels
    classes: Classes
    fold: NDArray[np.intp]

    @classmethod
    def of(cls, parent: Parent, rows: Rows, seed: int) -> _Probe:
        who = "choose_base"
        rng = np.random.default_rng(seed)
        rows = labelled_rows(rows, who=who)
        rows = rows.take(np.sort(rng.permutation(len(rows))[:N_ROWS]))
        labels = parent.task.labels(rows.label, who=who)
        classes = tuple(parent.task.classes(labels))
        _, groups = np.unique(rows.group_hash, return_inverse=True)
        n_groups = int(groups.max()) + 1
        if n_groups < 2:
            raise Invalid(
                who,
                needs="rows of at least two groups",
                came=f"{len(rows)} rows of one",
                todo="Wait for more rows, or fine-tune from the champion.",
            )
        strata = np.array([[label == each for each in classes] for label in labels.tolist()])
        fold = stratified_folds(
            strata.reshape(len(labels), len(classes)).astype(np.bool_),
            groups.astype(np.intp),
            n_folds=min(_N_FOLDS, n_groups),
            rng=rng,
        )
        return cls(parent.task, rows.features, labels, classes, fold)

    def loss(self, estimator: Any, version: Version) -> float:
        plain = adapter_of(version.manifest)
        if not plain.capabilities(estimator).has_layers:
            raise Invalid(
                "choose_base",
                needs="a version with layers",
                came=f"one of the adapter {version.manifest.adapter!r}",
                todo="Leave it out of the catalogue.",
            )
        adapter = cast("LayeredAdapter", plain)
        seen = adapter.embed(estimator, self.features)
        if not np.isfinite(seen).all():
            raise Invalid(
                "choose_base",
                needs="finite embeddings",
                came=f"{int((~np.isfinite(seen)).any(axis=1).sum())} rows with others",
                todo="Leave this base out; it has diverged.",
            )
        losses = np.empty(len(self.labels))
        for each in np.unique(self.fold):
            test = self.fold == each
            scores = self._scores(seen, ~test, test)
            losses[test] = self.task.loss(scores, self.labels[test], self.classes)
        return float(losses.mean())

    def _scores(self, seen: Scores, train: NDArray[np.bool_], test: NDArray[np.bool_]) -> Scores:
        labels = self.labels[train]
        if not self.classes:
            model = make_pipeline(StandardScaler(), Ridge()).fit(seen[train], labels)
            return np.asarray(model.predict(seen[test]), np.float64)[:, np.newaxis]
        codes = np.array([self.classes.index(label) for label in labels.tolist()])
        scores = np.zeros((int(test.sum()), len(self.classes)))
        if len(set(codes.tolist())) == 1:
            scores[:, codes[0]] = 1.0
            return scores
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
        with warnings.catch_warnings():
            # A probe that has not quite converged ranks as well.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(seen[train], codes)
        scores[:, model[-1].classes_] = model.predict_proba(seen[test])
        return scores


def _loaded(parent: Parent, version: Version, store: Store, trust: tuple[str, ...]) -> Any:
    if version.id == parent.version.id:
        return unmapped(parent.estimator)
    return unmapped(load_estimator(version.manifest, store, trust))


def _unfit(parent: Parent, version: Version) -> str | None:
    """Return why a version cannot be a base, by its manifest alone."""
    mine, theirs = parent.version.manifest.signature, version.manifest.signature
    if mine == theirs:
        return None
    return f"its inputs are {', '.join(theirs.names)}, the model's {', '.join(mine.names)}"
