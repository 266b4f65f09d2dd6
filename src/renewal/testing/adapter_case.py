"""A case of the adapters' conformance suite, and what its checks demand."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from renewal.core.errors import RenewalError
from renewal.core.spec import Signature
from renewal.data.frame import signature_of
from renewal.models.contract import Adapter, Weights
from renewal.models.labels import Labels
from renewal.models.task import Scores


@dataclass(frozen=True)
class AdapterCase:
    """An adapter with a recipe that it accepts and rows from which that can learn.

    Parameters
    ----------
    name : str
        Shown when a check fails.
    adapter : Adapter
        What is checked.
    estimator : object
        The unfitted recipe; where it cannot be refitted, the estimator as it came.
    features : pyarrow.Table
        At least 50 rows of the kinds that the recipe takes, each; what there is to learn must
        be plain.
    labels : ndarray of shape (n_rows,)
        As `Task.labels` returns them.
    names : bool, default True
        Whether the recipe is fitted on named columns.
    trust : tuple of str, default ()
        Types that `load` needs leave for.
    tolerance : float >= 0, default 1e-9
        Largest difference of a score between equal ways to compute it; about 1e-6 for what
        computes in single precision.
    """

    name: str
    adapter: Adapter
    estimator: Any
    features: pa.Table
    labels: Labels
    names: bool = True
    trust: tuple[str, ...] = ()
    tolerance: float = 1e-9

    @cached_property
    def can_fit(self) -> bool:
        """Whether it has a recipe."""
        return self.adapter.capabilities(self.estimator).can_refit

    @cached_property
    def fitted(self) -> Any:
        """The recipe, fitted once; no check may change it."""
        return self.fit()

    def fit(self, seed: int = 7) -> Any:
        """Fit the recipe anew; what cannot be refitted is handed back as it came."""
        return self.fit_on(self.features, self.labels, seed=seed)

    def fit_on(
        self,
        features: pa.Table,
        labels: Labels,
        *,
        seed: int = 7,
        weights: Weights | None = None,
        recipe: Any = None,
    ) -> Any:
        """Fit the recipe, or another one, on rows of one's own."""
        recipe = self.estimator if recipe is None else recipe
        if not self.can_fit:
            return recipe
        options = {} if weights is None else {"weights": weights}
        return self.adapter.fit(recipe, features, labels, names=self.names, seed=seed, **options)

    @property
    def signature(self) -> Signature:
        """The columns of the rows."""
        return signature_of(self.features)


def copy_of(table: pa.Table) -> pa.Table:
    """Return a table that shares no memory, so that a change of it can be seen."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    copied: pa.Table = pa.ipc.open_stream(sink.getvalue()).read_all()
    return copied


def demand_form(scores: Scores, n_rows: int, n_scores: int) -> None:
    """Demand finite float64 scores of one shape."""
    assert scores.dtype == np.float64, f"scores are {scores.dtype}, promised is float64"
    assert scores.shape == (n_rows, n_scores), f"{scores.shape} is not {(n_rows, n_scores)}"
    assert np.isfinite(scores).all(), "scores are not finite"


def demand_equal(case: AdapterCase, one: Any, other: Any, when: str) -> None:
    """Demand that two estimators score the rows alike to the bit."""
    first = case.adapter.predict(one, case.features)
    second = case.adapter.predict(other, case.features)
    assert first.shape == second.shape, f"{when} scores have other shapes"
    assert np.array_equal(first, second), f"{when} scores differ by {np.abs(first - second).max()}"


def demand_scores_or_typed_error(case: AdapterCase, rows: pa.Table, column: str) -> None:
    """Demand finite scores of strange rows, or a typed error, and nothing else."""
    try:
        scores = case.adapter.predict(case.fitted, rows)
    except RenewalError:
        return
    assert np.isfinite(scores).all(), f"column {column!r} makes scores that are not finite"


def demand_typed_error(call: Callable[[], Any], on: str, *, says: str = "") -> None:
    """Demand a typed error whose text holds `says`."""
    said = said_by(call, RenewalError)
    assert said is not None, f"{on} was taken without an error"
    assert says in said, f"{on}: the error hides the reason {says!r}: {said}"


def said_by(call: Callable[[], Any], kind: type[RenewalError]) -> str | None:
    """Return the text of the typed error that a call raises; None: it raises none."""
    try:
        call()
    except kind as error:
        return str(error)
    return None


class Watched:
    """Demands, when it is left, that an estimator is still what it was, to the byte.

    Examples
    --------
    ::

        with Watched(case, parent, "partial_fit"):
            case.adapter.partial_fit(parent, rows, labels)
    """

    def __init__(self, case: AdapterCase, estimator: Any, verb: str) -> None:
        self._case, self._estimator, self._verb = case, estimator, verb

    def __enter__(self) -> bytes:
        """Return the bytes from before."""
        self._scores = self._case.adapter.predict(self._estimator, self._case.features)
        self._before = self._case.adapter.dump(self._estimator)
        return self._before

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Compare, unless something else has gone wrong."""
        if kind is not None:
            return
        case, verb = self._case, self._verb
        after = case.adapter.dump(self._estimator)
        assert after == self._before, f"{verb} changed what it was handed"
        scores = case.adapter.predict(self._estimator, case.features)
        assert np.array_equal(scores, self._scores), f"{verb} changed the scores of its parent"
