"""What can be read of one model: versions, history, comparisons, state. Nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from renewal.assemble.reporting import card_of
from renewal.assemble.status import status_of
from renewal.core.clock import to_us
from renewal.core.spec import ModelSpec
from renewal.core.version import Snapshot, Version
from renewal.data.feed import Feed
from renewal.data.frame import as_table, conform
from renewal.evaluate.report import Report
from renewal.gate.card.record import Card
from renewal.gate.planning import Needed
from renewal.loop.comparing import evaluate_versions
from renewal.loop.crossfitting import CrossFit, RecipeComparison, compare_recipes
from renewal.loop.happening import HearRecipe, Tell, hear_no_recipe, tell_nobody
from renewal.loop.operating import rollout_of
from renewal.loop.planning import evidence_needed
from renewal.loop.replaying import Replay, replay
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

    def evaluate(
        self,
        *versions: str | Version,
        since: datetime | None = None,
        until: datetime | None = None,
        snapshot: Snapshot | None = None,
        form: str = "native",
        metrics: Sequence[str] = (),
        has_cost: bool = False,
    ) -> Report:
        """Measure versions on labelled rows that none of them trained on; decide nothing.

        Parameters
        ----------
        *versions : str or Version
            Such as ``"v1"`` and ``"champion"``; at least one, none twice.
        since, until : datetime or None
            Half-open stretch of event time; default: all.
        snapshot : Snapshot or None
            The feed as it was then; None: as it is.
        form : str, default "native"
            In which they run; ``onnx`` compiles them first.
        metrics : sequence of str
            Beside those of the task: ``average_precision``, ``pinball_0.9``, or a function
            of one's own as ``module:function``.
        has_cost : bool, default False
            Whether latency, memory and bytes are measured too, which takes some seconds.

        Returns
        -------
        Report
            Metrics of each version; losses row by row and block by block. Scores are kept,
            so a version is scored once on the same rows.

        Raises
        ------
        Refused
            When no such row is left.
        Invalid
            When a version cannot be scored; `fields["version_id"]` names it.
        """
        rows = self.feed.rows(
            snapshot=snapshot,
            since_us=None if since is None else to_us(since),
            until_us=None if until is None else to_us(until),
            labelled=True,
        )
        found = [self._version(each) for each in versions]
        return evaluate_versions(
            self._shop(), found, rows, form=form, more=metrics, has_cost=has_cost
        )

    def report(
        self,
        candidate: str | Version | None = None,
        verdict: str | None = None,
        *,
        beside: Sequence[str | Version] = (),
    ) -> Card:
        """Return the card of a verdict, measured again on exactly the rows that it used.

        Parameters
        ----------
        candidate : str, Version or None
            Whose newest verdict; None: of any version.
        verdict : str or None
            This verdict and no other, by its id.
        beside : sequence of str or Version
            Shown side by side with the two, such as the version that was fine-tuned; rows
            that one of them trained on are set aside.

        Returns
        -------
        Card
            `renewal.gate.card.writing.write_card` writes it as Markdown or as one page.

        Raises
        ------
        NotFound
            When there is no such verdict.
        """
        return card_of(
            self._shop(),
            candidate=None if candidate is None else self._version(candidate),
            verdict_id=verdict,
            beside=[self._version(each) for each in beside],
        )

    def replay(self, verdict_id: str) -> Replay:
        """Judge again what a stored verdict judged, and say what differs; nothing is stored.

        Raises
        ------
        NotFound
            When there is no such verdict, or rows that it judged have been deleted.
        """
        return replay(self._shop(), verdict_id)

    def evidence_needed(
        self, gain: float | None = None, *, disagreement: float | None = None
    ) -> Needed:
        """Say how many rows and labels a proof will take, before anything is trained.

        Parameters
        ----------
        gain : float or None
            True gain that is to be found, in the unit of the headline claim's metric; None:
            the smallest worth shipping.
        disagreement : float or None
            Share of rows on which exactly one of two versions will be right: plans a
            comparison of accuracies. None: plans from the spread of the last comparison.

        Raises
        ------
        NotFound
            When nothing was compared yet and no `disagreement` is given.
        """
        return evidence_needed(self._shop(), gain, disagreement)

    def compare_recipes(
        self,
        candidate: str | Version,
        baseline: str | Version = "champion",
        *,
        folds: int = 10,
        repeats: int = 5,
        seed: int = 0,
    ) -> RecipeComparison:
        """Compare how two versions were fitted, where rows are too few to judge the versions.

        Copies of both estimators, without what they learned, are fitted on parts of all
        labeled rows and scored on the rest. It is weaker evidence than a verdict and accepts
        nothing.

        Parameters
        ----------
        candidate, baseline : str or Version
            Whose estimators; default baseline: the champion.
        folds : int >= 2, default 10
            Parts; fewer are made where a class has not two rows for each.
        repeats : int from 1 to 10, default 5
            How often the rows are cut up anew.
        seed : int >= 0, default 0
            Of the cuts and the fits.

        Returns
        -------
        RecipeComparison
            "cannot tell", with the reason, where rows are too few or a fit fails.

        Raises
        ------
        Refused
            When the model has event time: later rows judge it.
        Invalid
            When both are one version.
        """
        plan = CrossFit(folds, repeats, seed)
        pair = (self._version(candidate), self._version(baseline))
        return compare_recipes(self._shop(), *pair, plan)

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
        """Load a stored version's estimator; a `Mapped` where its scores are corrected."""
        manifest = self.version(ref).manifest
        return load_estimator(manifest, self.home.store, self.home.policy(self.name).trust)

    def status(self) -> dict[str, Any]:
        """Return what is live, how fresh it is, what is under way and what is wrong."""
        return status_of(self.home.workshop(self.spec))

    def describe(self, version: Version) -> dict[str, Any]:
        """Return a version as JSON values, for people and programs."""
        manifest = version.manifest
        judged = [
            {"id": verdict_id, "outcome": verdict.outcome, "reason": verdict.reason}
            for verdict_id, verdict in self.home.registry.verdicts(self.name)
            if verdict.candidate == version.id
        ]
        return {
            "model": self.name,
            "version": version.name,
            "id": version.id,
            "strategy": manifest.strategy,
            "n_trained_rows": manifest.n_trained_rows,
            "trained_until": manifest.trained_until,
            "artifact_bytes": manifest.artifact_bytes,
            "verdict": judged[-1] if judged else None,
            "is_champion": self.home.registry.aliases(self.name).get("champion") == version.id,
        }

    def _version(self, ref: str | Version) -> Version:
        return self.version(ref.id if isinstance(ref, Version) else ref)

    def _shop(self, tell: Tell = tell_nobody, hear: HearRecipe = hear_no_recipe) -> Workshop:
        return self.home.workshop(self.spec, tell, hear)
