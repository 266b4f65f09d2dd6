"""A form: a model between two steps of a chain, as an adapter has it in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from renewal.core.plugin import load_plugin
from renewal.core.spec import Signature
from renewal.models.contract import Adapter
from renewal.models.score_map import ScoreMap
from renewal.models.task import Classes, Scores


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A fitted model with everything that a step needs to change it into a smaller one.

    Parameters
    ----------
    adapter : str
        Registered name of the adapter that runs `estimator`.
    estimator : object
        Fitted; never changed once it is here.
    signature : Signature
        The columns that it reads: those of the parent, or fewer of them.
    classes : tuple
        What the columns of its scores mean; empty for a regression.
    score_map : ScoreMap or None, default None
        The correction of its scores that a recalibration left; it is carried along.
    """

    adapter: str
    estimator: Any
    signature: Signature
    classes: Classes
    score_map: ScoreMap | None = None

    @property
    def runs(self) -> Adapter:
        """The adapter, loaded."""
        adapter: Adapter = load_plugin("adapters", self.adapter)()
        return adapter

    def predict(self, features: pa.Table) -> Scores:
        """Return scores, float64 of shape (n_rows, n_scores), of the parent's or more columns."""
        scores = self.said(features)
        return scores if self.score_map is None else self.score_map.apply(scores)

    def said(self, features: pa.Table) -> Scores:
        """Return what the estimator itself says, before the correction: what a student learns."""
        return self.runs.predict(self.estimator, features.select(list(self.signature.names)))
