"""Every adapter and runtime as one that knows score maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from renewal.core.errors import Invalid
from renewal.core.spec import Signature
from renewal.models.contract import Adapter, Capabilities, Runtime, Way, Weights
from renewal.models.labels import Labels
from renewal.models.layers import LayeredAdapter, Lesson, Tuning
from renewal.models.score_map import Mapped, ScoreMap, decision_of, unmapped
from renewal.models.space import Space
from renewal.models.task import Classes, Scores


@dataclass(frozen=True, slots=True)
class MappedAdapter:
    """An adapter whose estimators may be `Mapped`; others pass through untouched.

    A prediction applies the map. A fit learns without it, from scratch or going on: it was made
    for the scores of the model as it was. One that flattened them, because the model was stale,
    would hide all that the model learns from then on, and no later candidate could show it.
    What goes on learning keeps the decision by costs alone, unless classes came in: then the
    costs do not fit any more, and are left out, too.

    Parameters
    ----------
    inner : LayeredAdapter
        Of a framework. One without layers has fewer verbs, and nobody asks it for those.

    Examples
    --------
    >>> import numpy as np
    >>> from renewal.models.score_map_curves import Temperature
    >>> from renewal.models.sklearn import SklearnAdapter
    >>> from sklearn.linear_model import LogisticRegression
    >>> adapter = MappedAdapter(SklearnAdapter())
    >>> rows, labels = pa.table({"a": [0.0, 1.0]}), np.array(["no", "yes"], dtype=object)
    >>> fitted = adapter.fit(LogisticRegression(), rows, labels)
    >>> calmer = Mapped(fitted, ScoreMap((Temperature(2.0),)))
    >>> [round(float(adapter.predict(each, rows).max()), 3) for each in (fitted, calmer)]
    [0.555, 0.528]
    """

    inner: LayeredAdapter

    @property
    def name(self) -> str:
        """The registered name of the adapter inside."""
        return self.inner.name

    @property
    def reads_forward(self) -> tuple[str, ...]:
        """As the adapter inside says."""
        return self.inner.reads_forward

    def accepts(self, estimator: Any) -> bool:
        """Say whether the adapter inside takes it, mapped or not."""
        return self.inner.accepts(unmapped(estimator))

    def capabilities(self, estimator: Any) -> Capabilities:
        """Say what can be done with the estimator inside."""
        return self.inner.capabilities(unmapped(estimator))

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
        """Return a fresh copy of the recipe inside, fitted, without a map."""
        recipe = unmapped(estimator)
        return self.inner.fit(recipe, features, labels, names=names, seed=seed, weights=weights)

    def partial_fit(
        self, estimator: Any, features: pa.Table, labels: Labels, *, seed: int | None = None
    ) -> Any:
        """Return a deep copy that has taken in further rows; of its map the decision is kept."""
        grown = self.inner.partial_fit(unmapped(estimator), features, labels, seed=seed)
        return self._deciding_as(estimator, grown)

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
        """Return a copy whose fit was continued; of its map the decision is kept."""
        grown = self.inner.continue_fit(
            unmapped(estimator), features, labels, way=way, rounds=rounds, decay=decay, seed=seed
        )
        return self._deciding_as(estimator, grown)

    def params(self, estimator: Any) -> Mapping[str, Any]:
        """Return the parameters of the recipe inside."""
        return self.inner.params(unmapped(estimator))

    def with_params(self, estimator: Any, params: Mapping[str, Any]) -> Any:
        """Return an unfitted copy of the recipe inside with other parameters."""
        return self.inner.with_params(unmapped(estimator), params)

    def search_space(self, estimator: Any) -> Space:
        """Return what is worth tuning in the recipe inside."""
        return self.inner.search_space(unmapped(estimator))

    def predict(self, estimator: Any, features: pa.Table) -> Scores:
        """Return the scores, mapped where the estimator is."""
        if isinstance(estimator, Mapped):
            return estimator.score_map.apply(self.inner.predict(estimator.estimator, features))
        return self.inner.predict(estimator, features)

    def classes(self, estimator: Any) -> Classes:
        """Return what the columns of the scores mean; a map changes nothing in it."""
        return self.inner.classes(unmapped(estimator))

    def dump(self, estimator: Any) -> bytes:
        """Return the bytes of an estimator without a map.

        Raises
        ------
        Invalid
            For a `Mapped`: its bytes and its map are two objects, and a dump would lose one.
        """
        if isinstance(estimator, Mapped):
            raise Invalid(
                "MappedAdapter.dump",
                needs="an estimator without a score map",
                came=f"one with a map ({', '.join(estimator.score_map.kinds)})",
                todo="Call renewal.models.adapters.stored, which stores both.",
            )
        return self.inner.dump(estimator)

    def load(self, data: bytes, trust: tuple[str, ...] = ()) -> Any:
        """Return the estimator in `data`, without a map."""
        return self.inner.load(data, trust)

    def ready(self, estimator: Any, signature: Signature) -> Any:
        """Return it in the form that predicts fastest, under the same map."""
        found = self.inner.ready(unmapped(estimator), signature)
        return Mapped(found, estimator.score_map) if isinstance(estimator, Mapped) else found

    def environment(self) -> dict[str, str]:
        """Return what the bytes need; a map needs nothing."""
        return self.inner.environment()

    def fine_tune(
        self,
        estimator: Any,
        lesson: Lesson,
        watched: Lesson | None,
        how: Tuning,
        *,
        seed: int,
        scratch: Path | None = None,
    ) -> Any:
        """Return a copy that has gone on learning; of its map the decision is kept."""
        tuned = self.inner.fine_tune(
            unmapped(estimator), lesson, watched, how, seed=seed, scratch=scratch
        )
        return self._deciding_as(estimator, tuned)

    def with_classes(self, estimator: Any, classes: Classes, *, seed: int) -> Any:
        """Return the estimator inside with other outputs, without its map."""
        return self.inner.with_classes(unmapped(estimator), classes, seed=seed)

    def embed(self, estimator: Any, features: pa.Table) -> Scores:
        """Return what the head of the estimator inside is handed."""
        return self.inner.embed(unmapped(estimator), features)

    def base_digest(self, estimator: Any) -> str | None:
        """Return the digest of the base of the estimator inside."""
        return self.inner.base_digest(unmapped(estimator))

    def dump_base(self, estimator: Any) -> bytes:
        """Return the bytes of the base of the estimator inside."""
        return self.inner.dump_base(unmapped(estimator))

    def load_onto(self, base: Any, data: bytes, trust: tuple[str, ...] = ()) -> Any:
        """Return the base with the addition in `data`, without a map."""
        return self.inner.load_onto(unmapped(base), data, trust)

    def _deciding_as(self, estimator: Any, grown: Any) -> Any:
        decision = decision_of(estimator)
        if not decision or self.inner.classes(grown) != self.inner.classes(unmapped(estimator)):
            return grown
        return Mapped(grown, ScoreMap(decision))


def knowing_maps(adapter: Adapter) -> Adapter:
    """Return an adapter that takes mapped estimators; one that does already, as it is."""
    if isinstance(adapter, MappedAdapter):
        return adapter
    return MappedAdapter(cast("LayeredAdapter", adapter))


class MappedRuntime:
    """A runtime of another form, such as compiled, under a map of its scores.

    Parameters
    ----------
    runtime : Runtime
        Of the model inside; owned from now on.
    score_map : ScoreMap
        For its number of scores.

    Attributes
    ----------
    takes_matrix : bool
        Whether the runtime inside does.
    """

    def __init__(self, runtime: Runtime, score_map: ScoreMap) -> None:
        self._runtime: Any = runtime
        self.takes_matrix: bool = getattr(runtime, "takes_matrix", False)
        self._score_map = score_map

    def predict(self, features: pa.Table) -> Scores:
        """Return the mapped scores; raises what the runtime inside raises."""
        return self._score_map.apply(self._runtime.predict(features))

    def predict_matrix(self, values: Scores) -> Scores:
        """Return the mapped scores of a matrix; only where the runtime inside takes one."""
        return self._score_map.apply(self._runtime.predict_matrix(values))

    def close(self) -> None:
        """Close the runtime inside."""
        self._runtime.close()
