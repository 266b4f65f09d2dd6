"""What an adapter and a runtime are: the two things a framework brings to the house."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.core.spec import Signature
from renewal.models.labels import Labels
from renewal.models.space import Space
from renewal.models.task import Classes, Scores

Weights = NDArray[np.float64]


Way = Literal["boost", "leaves"]
"""How a fit is continued: more trees on top, or the old trees with new leaf values."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What can be done with one estimator, declared before anything is tried.

    What is declared is what is *sound*, not what the library lets pass: a warm start of
    HistGradientBoosting runs on new rows and reads its old trees through the wrong bins, so
    it is declared impossible, and the framework refuses it.

    Parameters
    ----------
    can_partial_fit : bool
        Whether it can take in further rows and keep what it has learned (`Adapter.partial_fit`).
    can_continue_on_new_data : bool, default False
        Whether a finished fit can be continued on rows that it has not seen
        (`Adapter.continue_fit`), in one of `ways`.
    accepts_new_classes : bool, default False
        Whether either may bring classes that it does not know.
    grows : bool, default False
        Whether going on makes it larger and slower each time.
    has_layers : bool, default False
        Whether it can be fine-tuned (`renewal.models.layers.LayeredAdapter`).
    can_refit : bool, default True
        Whether it can be fitted from scratch. False: it came without a recipe (ONNX).
    ways : tuple of {"boost", "leaves"}, default ()
        In which a fit is continued, the best first.
    size : int or None, default None
        What grows, such as its number of trees.
    why_not : mapping of str to str, default empty
        For each capability that is missing (``partial_fit``, ``continue``, ``new_classes``,
        ``layers``, ``refit``), the reason in words; where it is silent, nobody expects it.
    """

    can_partial_fit: bool
    can_continue_on_new_data: bool = False
    accepts_new_classes: bool = False
    grows: bool = False
    has_layers: bool = False
    can_refit: bool = True
    ways: tuple[Way, ...] = ()
    size: int | None = None
    why_not: Mapping[str, str] = field(default_factory=dict)


class Adapter(Protocol):
    """A framework's estimators as values: nothing handed in is ever changed.

    Stateless, picklable and safe to call from any thread. Tables carry the columns of the
    version's signature; labels are as `Task.labels` returns them.

    Attributes
    ----------
    name : str
        As registered under ``renewal.adapters``.
    reads_forward : tuple of str
        Libraries of `environment` whose newer minor releases write what an older cannot
        read.
    """

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    @property
    def reads_forward(self) -> tuple[str, ...]:
        """Libraries that must not be older than the version's."""
        ...

    def accepts(self, estimator: Any) -> bool:
        """Say whether this adapter knows how to work with `estimator`."""
        ...

    def capabilities(self, estimator: Any) -> Capabilities:
        """Say what can be done with `estimator`, and why not the rest."""
        ...

    def fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        names: bool = True,
        seed: int | None = None,
        weights: Weights | None = None,
    ) -> Any:
        """Return a fresh copy of `estimator`, fitted.

        `names` hands it a named frame; `weights`, float64 of shape (n_rows,) and positive,
        say how much each row counts. An estimator that cannot weigh rows raises `Invalid`.
        """
        ...

    def partial_fit(
        self, estimator: Any, features: pa.Table, labels: Labels, *, seed: int | None = None
    ) -> Any:
        """Return a deep copy of a fitted estimator that has taken in further rows."""
        ...

    def continue_fit(
        self,
        estimator: Any,
        features: pa.Table,
        labels: Labels,
        *,
        way: Way,
        rounds: int = 10,
        decay: float = 0.9,
        seed: int | None = None,
    ) -> Any:
        """Return a copy of a fitted estimator whose fit was continued on further rows.

        ``boost`` adds `rounds` rounds; ``leaves`` keeps the trees and gives their leaves
        `decay` of their old value and the rest of the new rows' where the library can.
        """
        ...

    def params(self, estimator: Any) -> Mapping[str, Any]:
        """Return the recipe's parameters, JSON values only: what `with_params` changes."""
        ...

    def with_params(self, estimator: Any, params: Mapping[str, Any]) -> Any:
        """Return an unfitted copy of the recipe with other parameters."""
        ...

    def search_space(self, estimator: Any) -> Space:
        """Return what is worth tuning in such an estimator; empty where nothing is known."""
        ...

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        """Return scores, float64 of shape (n_rows, n_scores); no rows give no scores."""
        ...

    def classes(self, estimator: Any) -> Classes:
        """Return what the columns of the scores mean; empty for a regression."""
        ...

    def dump(self, estimator: Any) -> bytes:
        """Return the estimator as bytes that hold no code."""
        ...

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> Any:
        """Return the estimator; `trust` names types that the operator allows besides."""
        ...

    def ready(self, estimator: Any, signature: Signature) -> Any:
        """Return a loaded estimator in the form that predicts fastest, with equal scores.

        The one verb that may change what it is handed: the runtime alone owns it. Rows come
        in the order of `signature` from then on.
        """
        ...

    def environment(self) -> dict[str, str]:
        """Return Python and the libraries that the bytes need, with their versions."""
        ...


class Runtime(Protocol):
    """One version, loaded and ready. `predict` may be called by several threads at once."""

    def predict(self, features: pa.Table) -> Scores:
        """Return scores, float64 of shape (n_rows, n_scores)."""
        ...

    def close(self) -> None:
        """Let go of memory; closing twice is free of harm."""
        ...
