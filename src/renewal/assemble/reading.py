"""What can be read of one model: versions, history, comparisons, state. Nothing changes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from renewal.assemble.status import status_of
from renewal.core.clock import to_us
from renewal.core.spec import ModelSpec
from renewal.core.version import Version
from renewal.data.feed import Feed
from renewal.data.frame import as_table, conform
from renewal.evaluate.report import Report
from renewal.loop.comparing import compare_versions
from renewal.loop.happening import Tell, tell_nobody
from renewal.loop.operating import rollout_of
from renewal.loop.workshop import Workshop
from renewal.models.load import load_estimator, load_runtime
from renewal.registry.registry import AliasMove, Event
from renewal.rollout.machine import Rollout
from renewal.rollout.states import all_rollouts

if TYPE_CHECKING:
    from renewal.assemble.home import Home


class Readings:
    """One model of a home, as far as it can be read.

    Parameters
    ----------
    home : Home
        Where it lives.
    spec : ModelSpec
        What was declared.
    """

    def __init__(self, home: Home, spec: ModelSpec) -> None:
        self.home = home
        self.spec = spec

    def __repr__(self) -> str:
        """Name the model and its home."""
        return f"Model({self.spec.name!r}, home={str(self.home.root)!r})"

    @property
    def name(self) -> str:
        """Its name in the registry."""
        return self.spec.name

    @property
    def feed(self) -> Feed:
        """Its rows, predictions and labels."""
        return self.home.feed(self.name)

    def version(self, ref: str) -> Version:
        """Return a version by ``v3``, an alias such as ``champion``, or its id."""
        return self.home.registry.version(self.name, ref)

    def versions(self) -> tuple[Version, ...]:
        """Return every version, oldest first."""
        return self.home.registry.versions(self.name)

    def history(self, alias: str = "champion") -> tuple[AliasMove, ...]:
        """Return what an alias pointed to when, who moved it, and on which evidence."""
        return self.home.registry.history(self.name, alias)

    def log(self, limit: int | None = 50) -> tuple[Event, ...]:
        """Return the newest events, newest last."""
        return self.home.registry.log(self.name, limit)

    def rollouts(self) -> tuple[Rollout, ...]:
        """Return every rollout, oldest first."""
        with self.home.db.read() as connection:
            return all_rollouts(connection, self.name)

    def open_rollout(self) -> Rollout | None:
        """Return the rollout that is under way, or None."""
        return rollout_of(self._shop())

    def compare(
        self,
        candidate: str,
        baseline: str = "champion",
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Report:
        """Compare two versions on labelled rows that neither trained on; decide nothing.

        Parameters
        ----------
        candidate, baseline : str
            Versions.
        since, until : datetime or None
            Half-open stretch of event time; default: all.

        Raises
        ------
        Refused
            When no such row is left.
        """
        rows = self.feed.rows(
            since_us=None if since is None else to_us(since),
            until_us=None if until is None else to_us(until),
            labelled=True,
        )
        shop = self.home.workshop(self.spec)
        return compare_versions(shop, self.version(candidate), self.version(baseline), rows)

    def predict(self, ref: str, data: Any) -> NDArray[np.float64]:
        """Score rows with a stored version, here and now; nothing is logged.

        Returns
        -------
        float64 array of shape (n_rows, n_scores)
            Probability of each class in the order of the manifest, or one value.
        """
        manifest = self.version(ref).manifest
        table = as_table(data, who="Model.predict")
        extra = [name for name in table.column_names if name not in manifest.signature.names]
        features = conform(table.drop_columns(extra), manifest.signature, who="Model.predict")
        runtime = load_runtime(manifest, self.home.store, self.home.policy(self.name).trust)
        try:
            return runtime.predict(features)
        finally:
            runtime.close()

    def estimator(self, ref: str = "champion") -> Any:
        """Load a stored version's estimator."""
        manifest = self.version(ref).manifest
        return load_estimator(manifest, self.home.store, self.home.policy(self.name).trust)

    def status(self) -> dict[str, Any]:
        """Return what is live, how fresh it is, what is under way and what is wrong."""
        return status_of(self.home.workshop(self.spec))

    def describe(self, version: Version) -> dict[str, Any]:
        """Return a version as JSON values, for people and programs."""
        manifest = version.manifest
        return {
            "model": self.name,
            "version": version.name,
            "id": version.id,
            "strategy": manifest.strategy,
            "n_trained_rows": manifest.n_trained_rows,
            "trained_until": manifest.trained_until,
            "artifact_bytes": manifest.artifact_bytes,
            "is_champion": self.home.registry.aliases(self.name).get("champion") == version.id,
        }

    def _version(self, ref: str | Version) -> Version:
        return self.version(ref.id if isinstance(ref, Version) else ref)

    def _shop(self, tell: Tell = tell_nobody) -> Workshop:
        return self.home.workshop(self.spec, tell)
