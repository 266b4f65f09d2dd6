"""Metrics of decisions and of probabilities: means of rows, and ratios of counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.evaluate.metrics_coded import CLASSES, Coded, Form
from renewal.evaluate.metrics_record import OfCounts
from renewal.models.task import Scores

N_BINS = 15

_EPS = float(np.finfo(np.float64).eps)
_BINARY = ("binary",)
_SETS = ("multilabel",)
Counts = NDArray[Any]
Ratio = Callable[[Scores, Scores, Scores], Scores]


def _mean(per_row: Callable[[Coded], Scores], coded: Coded) -> float:
    return float(np.mean(per_row(coded)))


def _is_right(coded: Coded) -> Scores:
    """1 where every column is as it should be, 0 elsewhere."""
    return np.asarray(np.all(coded.is_true == coded.is_predicted, axis=1), dtype=np.float64)


def _share_wrong(coded: Coded) -> Scores:
    return np.asarray(np.mean(coded.is_true != coded.is_predicted, axis=1))


def _hamming(coded: Coded) -> float:
    # A quotient of counts, as in scikit-learn; the mean of the rows may differ in a bit.
    return float(np.count_nonzero(coded.is_true != coded.is_predicted)) / coded.is_true.size


def _log_losses(coded: Coded) -> Scores:
    if coded.is_sets:
        chosen = np.where(coded.is_true, coded.scores, 1.0 - coded.scores)
        return np.asarray(np.mean(-np.log(np.clip(chosen, _EPS, 1 - _EPS)), axis=1))
    chosen = coded.scores[np.arange(len(coded.scores)), coded.is_true.argmax(axis=1)]
    return np.asarray(-np.log(np.clip(chosen, _EPS, 1 - _EPS)))


def _briers(coded: Coded) -> Scores:
    squares = (coded.is_true.astype(np.float64) - coded.scores) ** 2
    if coded.is_sets:
        return np.asarray(np.mean(squares, axis=1))
    total = np.sum(squares, axis=1)
    return np.asarray(0.5 * total if coded.n_known < 3 else total)


def _ratio(over: Scores, under: Scores) -> Scores:
    undefined: Scores = np.full(np.shape(over), math.nan)
    return np.asarray(np.divide(over, under, out=undefined, where=under != 0))


def _precision(hit: Scores, false: Scores, _missed: Scores) -> Scores:
    return _ratio(hit, hit + false)


def _recall(hit: Scores, _false: Scores, missed: Scores) -> Scores:
    return _ratio(hit, hit + missed)


def _f1(hit: Scores, false: Scores, missed: Scores) -> Scores:
    return _ratio(2.0 * hit, (hit + missed) + (hit + false))


def _counts(columns: slice, coded: Coded) -> Counts:
    """Hit, falsely given and missed of each column, as three groups of columns."""
    true, given = coded.is_true[:, columns], coded.is_predicted[:, columns]
    parts = (true & given, ~true & given, true & ~given)
    return np.hstack(parts).astype(np.int8)


def _pooled_counts(coded: Coded) -> Counts:
    each = _counts(slice(None), coded)
    n_rows, n_counts = each.shape
    return np.asarray(np.sum(each.reshape(n_rows, 3, n_counts // 3), axis=2, dtype=np.int32))


def _of_counts(ratio: Ratio, totals: Counts) -> Scores:
    """Return the ratio of each column, averaged over the columns for which it is defined."""
    parts = np.asarray(totals, dtype=np.float64).reshape(*np.shape(totals)[:-1], 3, -1)
    values = ratio(parts[..., 0, :], parts[..., 1, :], parts[..., 2, :])
    is_defined = ~np.isnan(values)
    # Zeros are summed where it is undefined, as in scikit-learn, so that sums agree in each bit.
    total = np.asarray(np.where(is_defined, values, 0.0).sum(axis=-1))
    return _ratio(total, np.asarray(is_defined.sum(axis=-1), dtype=np.float64))


def _value(counts: Callable[[Coded], Counts], of_counts: OfCounts, coded: Coded) -> float:
    totals = counts(coded).sum(axis=0, dtype=np.float64)
    return float(of_counts(totals))


def _macro_value(ratio: Ratio, coded: Coded) -> float:
    totals = _EACH(coded).sum(axis=0, dtype=np.float64).reshape(3, -1)
    if not coded.is_sets:
        # Classes that are neither true nor given take no part: the bits of a sum know.
        totals = totals[:, totals.any(axis=0)]
    return float(_of_counts(ratio, totals.ravel()))


def _gaps(coded: Coded) -> Counts:
    """Outcome minus probability, in the column of the probability's bin; then how many."""
    if coded.is_sets:
        said, came = coded.scores, coded.is_true.astype(np.float64)
    elif coded.n_known == 2:
        said, came = coded.scores[:, 1:2], coded.is_true[:, 1:2].astype(np.float64)
    else:
        said, came = coded.scores.max(axis=1)[:, None], _is_right(coded)[:, None]
    bins = np.clip((said * N_BINS).astype(np.intp), 0, N_BINS - 1)
    n_rows, n_said = said.shape
    cells = (np.arange(n_rows)[:, None] * (N_BINS + 1) + bins).ravel()
    size = n_rows * (N_BINS + 1)
    counts = np.bincount(cells, weights=(came - said).ravel(), minlength=size).reshape(n_rows, -1)
    counts[:, N_BINS] = n_said
    return counts


def _of_gaps(totals: Counts) -> Scores:
    return _ratio(np.abs(totals[..., :N_BINS]).sum(axis=-1), np.asarray(totals[..., N_BINS]))


def _row(
    per_row: Callable[[Coded], Scores],
    tasks: tuple[str, ...] = CLASSES,
    *,
    up: bool,
    top: float,
    value: Callable[[Coded], float] | None = None,
) -> Form:
    mean = partial(_mean, per_row) if value is None else value
    return Form(up, (0.0, top), "row", tasks, mean, per_row=per_row)


def _set(
    counts: Callable[[Coded], Counts],
    of_counts: OfCounts,
    tasks: tuple[str, ...] = CLASSES,
    *,
    up: bool = True,
    value: Callable[[Coded], float] | None = None,
) -> Form:
    if value is None:
        value = partial(_value, counts, of_counts)
    return Form(up, (0.0, 1.0), "set", tasks, value, counts=counts, of_counts=of_counts)


def _macro(ratio: Ratio) -> Form:
    return _set(_EACH, partial(_of_counts, ratio), value=partial(_macro_value, ratio))


_POSITIVE = partial(_counts, slice(1, 2))
_EACH = partial(_counts, slice(None))

FORMS: Mapping[str, Form] = {
    "accuracy": _row(_is_right, up=True, top=1.0),
    "subset_accuracy": _row(_is_right, _SETS, up=True, top=1.0),
    "hamming_loss": _row(_share_wrong, _SETS, up=False, top=1.0, value=_hamming),
    "log_loss": _row(_log_losses, up=False, top=-math.log(_EPS)),
    "brier": _row(_briers, up=False, top=2.0),
    "precision": _set(_POSITIVE, partial(_of_counts, _precision), _BINARY),
    "recall": _set(_POSITIVE, partial(_of_counts, _recall), _BINARY),
    "f1": _set(_POSITIVE, partial(_of_counts, _f1), _BINARY),
    "macro_precision": _macro(_precision),
    "macro_recall": _macro(_recall),
    "macro_f1": _macro(_f1),
    "micro_precision": _set(_pooled_counts, partial(_of_counts, _precision)),
    "micro_recall": _set(_pooled_counts, partial(_of_counts, _recall)),
    "micro_f1": _set(_pooled_counts, partial(_of_counts, _f1)),
    "calibration_error": _set(_gaps, _of_gaps, up=False),
}
