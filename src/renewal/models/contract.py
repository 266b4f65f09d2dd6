"""What an adapter and a runtime are: the two things a framework brings to the house."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from renewal.core.spec import Signature
from renewal.models.labels import Labels
from renewal.models.task import Classes, Scores


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What can be done with one estimator, declared before anything is tried.

    Parameters
    ----------
    can_partial_fit : bool
        Whether it can take in further rows and keep what it has learned.
    grows : bool
        Whether doing so makes it larger and slower each time.
    why_not : mapping of str to str, default empty
        For each capability that is missing (``partial_fit``), the reason in words.
    """

    can_partial_fit: bool
    grows: bool
    why_not: Mapping[str, str] = field(default_factory=dict)


class Adapter(Protocol):
    """A framework's estimators as values: nothing handed in is ever changed.

    Stateless and safe to call from any thread. Tables carry the columns of the version's
    signature; labels are as `Task.labels` returns them.

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
    ) -> Any:
        """Return a fresh copy of `estimator`, fitted; `names` hands it a named frame."""
        ...

    def partial_fit(self, estimator: Any, features: pa.Table, labels: Labels) -> Any:
        """Return a deep copy of a fitted estimator that has taken in further rows."""
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
