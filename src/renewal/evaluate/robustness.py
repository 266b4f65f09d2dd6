"""Robustness: what versions answer when their input is disturbed, all on the same rows.

Every model loses when its input breaks; the question is whether the candidate loses more than
the version in service. So each disturbance is done once, and all versions score its result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin, plugin_names
from renewal.core.spec import Signature
from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores, Task

Floats = NDArray[np.float64]
Predict = Callable[[pa.Table], Scores]

CAP_ROWS = 5000
# A regression is stable where it moves by less than this share of the spread of its answers.
_STABLE_SD = 0.1


class Perturbation(Protocol):
    """A disturbance of a model's input; registered under ``renewal.perturbations``.

    Attributes
    ----------
    name : str
        As registered.
    """

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    def applies(self, signature: Signature) -> str | None:
        """Return why it cannot be done to such rows, in words; None: it can."""
        ...

    def perturb(
        self, features: pa.Table, signature: Signature, rng: np.random.Generator
    ) -> pa.Table:
        """Return as many rows of the same schema, disturbed by draws of `rng` alone."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Disturbed:
    """What one version made of one disturbance.

    Parameters
    ----------
    losses : float64 array, shape (n_sample,), or None
        Of every sampled row, in the unit of the task's loss; None where it failed.
    stability : float in [0, 1]
        Share of rows whose predicted label is as without the disturbance; of a regression,
        rows that moved by at most a tenth of the standard deviation of its undisturbed
        answers. NaN where it failed or there is no row.
    failed : str or None
        Why there are no losses: what the version raised, or which scores are no numbers.
    """

    losses: Floats | None
    stability: float
    failed: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Robustness:
    """Losses of several versions on the same disturbed rows.

    Parameters
    ----------
    rows : int array, shape (n_sample,)
        Which rows were sampled, ascending: ``block_at[rows]`` are their blocks.
    clean : tuple of Disturbed
        Of each version without a disturbance.
    disturbed : mapping of str to tuple of Disturbed
        By the name of the disturbance, one for each version.
    skipped : mapping of str to str
        Disturbances that were not done, and why.

    Notes
    -----
    A clause compares ``disturbed[name][candidate].losses`` with those of the baseline, row by
    row, and averages by block. A candidate that fails where the baseline does not is shown to
    be worse; where both fail, nothing can be told.
    """

    rows: NDArray[np.intp]
    clean: tuple[Disturbed, ...]
    disturbed: Mapping[str, tuple[Disturbed, ...]]
    skipped: Mapping[str, str]

    def gain(self, name: str, *, baseline: int = 0, candidate: int = 1) -> Floats | None:
        """Return the loss of the baseline minus the candidate's on each row of a disturbance.

        None where one of the two failed, or the disturbance was skipped.
        """
        found = self.disturbed.get(name)
        if found is None:
            return None
        before, after = found[baseline].losses, found[candidate].losses
        return None if before is None or after is None else before - after


def robustness(
    predict: Sequence[Predict],
    features: pa.Table,
    labels: Labels,
    *,
    task: Task,
    classes: Sequence[Classes],
    signature: Signature,
    perturbations: Sequence[Perturbation] | None = None,
    cap_rows: int = CAP_ROWS,
    seed: int = 0,
) -> Robustness:
    """Score all versions on the same disturbed sample of rows, one disturbance at a time.

    Parameters
    ----------
    predict : sequence of callables
        Of each version: a table with the signature's columns to scores, shape (n, n_scores).
    features, labels : pyarrow.Table of n rows, array of shape (n,)
        Rows with labels as `Task.labels` returns them.
    task : Task
        Gives the losses and what counts as the same answer.
    classes : sequence of tuple
        What each version's scores mean.
    signature : Signature
        Kinds of the columns, and which may be null.
    perturbations : sequence of Perturbation, default all that are registered
        Done in this order, each with its own draws: leaving one out changes no other.
    cap_rows : int >= 1, default 5,000
        Rows sampled at most, the same for all.
    seed : int, default 0
        Of sample and disturbances.

    Returns
    -------
    Robustness
        A version that raises is a result, and so is a disturbance that does.

    Raises
    ------
    Invalid
        When the numbers of rows and labels, or of versions and classes, differ.

    Notes
    -----
    Each version scores ``cap_rows`` rows once more than there are disturbances.

    Examples
    --------
    >>> from renewal.core.spec import Field
    >>> from renewal.models.task import Regression
    >>> x = np.arange(100.0)
    >>> found = robustness(
    ...     [lambda table: np.nan_to_num(table["x"].to_numpy())[:, None]] * 2,
    ...     pa.table({"x": x}), x, task=Regression(), classes=[(), ()],
    ...     signature=Signature((Field("x", "float"),)),
    ... )
    >>> sorted(found.disturbed), found.skipped["unseen_category"]
    (['noise', 'nulls', 'unit_change'], 'no string column')
    >>> round(float(found.disturbed["noise"][0].losses.mean()), 1), found.clean[0].losses.max()
    (20.6, np.float64(0.0))
    """
    _check(predict, features, labels, classes, cap_rows)
    if perturbations is None:
        names = plugin_names("perturbations")
        perturbations = [load_plugin("perturbations", name)() for name in names]
    rng = np.random.default_rng(seed)
    n_rows, n_sample = features.num_rows, min(features.num_rows, cap_rows)
    rows = np.sort(rng.choice(n_rows, size=n_sample, replace=False))
    sample, truth = features.take(pa.array(rows, pa.int64())), labels[rows]
    versions = list(zip(predict, classes, strict=True))
    tried = [_tried(each, known, sample, truth, task) for each, known in versions]
    disturbed: dict[str, tuple[Disturbed, ...]] = {}
    skipped: dict[str, str] = {}
    for perturbation in perturbations:
        drawn = np.random.default_rng([seed, *perturbation.name.encode()])
        changed = _changed(perturbation, sample, signature, drawn)
        if isinstance(changed, str):
            skipped[perturbation.name] = changed
            continue
        disturbed[perturbation.name] = tuple(
            _compared(_tried(each, known, changed, truth, task), clean, bool(known))
            for (each, known), clean in zip(versions, tried, strict=True)
        )
    return Robustness(
        rows=rows,
        clean=tuple(_compared(each, each, bool(classes[at])) for at, each in enumerate(tried)),
        disturbed=disturbed,
        skipped=skipped,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """One scoring: losses and answers, or why there are none."""

    losses: Floats | None
    answers: NDArray[np.generic] | None
    failed: str | None


def _check(
    predict: Sequence[Predict],
    features: pa.Table,
    labels: Labels,
    classes: Sequence[Classes],
    cap_rows: int,
) -> None:
    same = len(labels) == features.num_rows and len(classes) == len(predict)
    if not same or cap_rows < 1:
        raise Invalid(
            "robustness",
            needs="a label for each row, classes for each version, and a cap of 1 row or more",
            came=f"{features.num_rows} rows, {len(labels)} labels, {len(predict)} versions, "
            f"{len(classes)} lists of classes, a cap of {cap_rows}",
            todo="Take rows and labels from one snapshot, and classes from each version.",
        )


def _changed(
    perturbation: Perturbation,
    sample: pa.Table,
    signature: Signature,
    rng: np.random.Generator,
) -> pa.Table | str:
    """Return the disturbed rows, or why there are none."""
    try:
        why_not = perturbation.applies(signature)
        if why_not is not None:
            return why_not
        changed = perturbation.perturb(sample, signature, rng)
    except Exception as error:  # noqa: BLE001  # the plug-in border: a stranger's may raise anything
        return f"it raised {type(error).__name__}: {error}"
    if changed.num_rows != sample.num_rows or not changed.schema.equals(sample.schema):
        return f"it changed {sample.num_rows} rows into {changed.num_rows}, or their schema"
    return changed


def _tried(
    predict: Predict, classes: Classes, features: pa.Table, labels: Labels, task: Task
) -> _Tried:
    if features.num_rows == 0:
        return _Tried(np.zeros(0), np.zeros(0), None)
    try:
        scores = np.asarray(predict(features), dtype=np.float64)
        if scores.ndim != 2 or len(scores) != len(labels):
            return _Tried(None, None, f"scores of shape {scores.shape} for {len(labels)} rows")
        n_bad = len(scores) - int(np.isfinite(scores).all(axis=1).sum())
        if n_bad:
            return _Tried(None, None, f"NaN or infinite scores in {n_bad} of {len(labels)} rows")
        losses = task.loss(scores, labels, classes)
    except Exception as error:  # noqa: BLE001  # the plug-in border: a version may raise anything
        return _Tried(None, None, f"it raised {type(error).__name__}: {error}")
    return _Tried(losses, scores.argmax(axis=1) if classes else scores[:, 0], None)


def _compared(found: _Tried, clean: _Tried, has_classes: bool) -> Disturbed:  # noqa: FBT001  # of the task
    stability = float("nan")
    if found.answers is not None and clean.answers is not None and len(clean.answers):
        if has_classes:
            stable = found.answers == clean.answers
        else:
            moved = np.abs(found.answers.astype(np.float64) - clean.answers.astype(np.float64))
            stable = moved <= _STABLE_SD * float(clean.answers.astype(np.float64).std())
        stability = float(np.mean(stable))
    return Disturbed(losses=found.losses, stability=stability, failed=found.failed)
