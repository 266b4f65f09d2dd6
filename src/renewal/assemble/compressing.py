"""The face of one model's compression: the smallest version that still holds the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from renewal.assemble.policy import decode, encode
from renewal.assemble.updating import Updating
from renewal.compress.certify import Certified
from renewal.compress.options import CompressOptions
from renewal.core.duration import parse_duration
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.loop.certificate import Certificate
from renewal.loop.circuit import Circuit, verdict_in
from renewal.loop.happening import HearRecipe, Tell, hear_no_recipe, tell_nobody
from renewal.registry.codec import from_plain


@dataclass(frozen=True, slots=True)
class Compression:
    """What came of a compression.

    Parameters
    ----------
    run_id : str
        In the journal.
    trials : tuple of mapping
        Chains that were carried out: chain, gain over the parent on the validation rows,
        size, seconds, why it failed; the parent as it is comes first.
    margin : float
        Largest loss of gain that holds the line, on the validation rows.
    certificate : Certificate or None
        What the test rows said of the front; None where there was nothing to test.
    candidate : Version or None
        The version that was registered: certified, or the one that seems to hold the line and
        needs more rows. None where nothing seems to.
    verdict : Verdict or None
        What the gate says of it.
    is_cut : bool, default False
        Whether the budget ended the search before all was tried.
    """

    run_id: str
    trials: tuple[Mapping[str, Any], ...]
    margin: float
    certificate: Certificate | None
    candidate: Version | None
    verdict: Verdict | None
    is_cut: bool = False

    @property
    def status(self) -> str:
        """``certified``, ``uncertified`` or ``infeasible``."""
        return "infeasible" if self.certificate is None else str(self.result.status)

    @property
    def result(self) -> Certified:
        """The certification."""
        assert self.certificate is not None, "asked only where something was tested"
        return self.certificate.certified

    @property
    def sentence(self) -> str:
        """The status in one line, with the bound or what is missing."""
        if self.margin < 0.0:
            beyond = f"{-self.margin:.4g} beyond what the parent itself reaches"
            return f"infeasible: the line lies {beyond} on the validation rows"
        if self.trials and self.trials[0]["failed"] is not None:
            return f"infeasible: the model itself has no scores: {self.trials[0]['failed']}"
        if self.certificate is None:
            why = " before the budget was over" if self.is_cut else "; see what failed"
            return f"infeasible: no chain came to a model{why}"
        return f"{self.status}: {self.result.reason}"


class Compressing(Updating):
    """What a model offers about its compression; see `renewal.assemble.model.Model`."""

    def compress(
        self,
        chains: Sequence[str] | str | None = None,
        *,
        budget: str | None = None,
        roll_out: bool = False,
        tell: Tell = tell_nobody,
        hear: HearRecipe = hear_no_recipe,
        **goal: Any,
    ) -> Compression:
        """Search the smallest version that holds the line, and certify it on test rows.

        The champion, or what it was compressed from, is the parent; it stays as it is. The
        search compares on validation rows, and its front is then certified on rows that no
        search has seen, by the stored bytes in the runtime that will serve them. What is
        certified is a version like any other: the gate judges it with ``no_worse`` and it goes
        live by a rollout.

        Parameters
        ----------
        chains : sequence of str, str or None
            Such as ``prune.channels:* > recover.distil > quantize.static``; None: those of the
            policy, or what suits the model.
        budget : str or None
            Time of the search, such as ``5m``; None: that of the policy.
        roll_out : bool, default False
            Whether a certified version goes into a rollout at once.
        tell : callable
            Hears of each trial, and of the result.
        hear : callable
            Hears how far the search has come.
        **goal
            Fields of `renewal.compress.goal.Goal` that replace the policy's: ``tau=-0.01``,
            ``metric="auc"``, ``objective="latency"``, ``slices=("origin",)``, ...

        Returns
        -------
        Compression
            With a status in every case.

        Raises
        ------
        Invalid
            When the goal means nothing, or a chain is no chain.
        NotFound
            When there is no champion, or a chain names an unknown technique.
        Refused
            When there is no row to search on.
        Unavailable
            When a watcher is at work on the model.
        """
        options = self._compress_options(chains, budget, goal)
        shop = self.home.workshop(self.spec, tell, hear)
        run = Circuit(shop).compress(options, roll_out=roll_out)
        outcome = run.outcome or {}
        candidate, certificate = outcome.get("candidate"), outcome.get("certificate")
        return Compression(
            run_id=run.id,
            trials=tuple(outcome.get("trials", ())),
            margin=float(outcome.get("margin", 0.0)),
            certificate=None if certificate is None else from_plain(Certificate, certificate),
            candidate=None if candidate is None else self.version(candidate),
            verdict=verdict_in(outcome),
            is_cut=bool(outcome.get("is_cut", False)),
        )

    def _compress_options(
        self, chains: Sequence[str] | str | None, budget: str | None, goal: Mapping[str, Any]
    ) -> CompressOptions:
        options = self.home.policy(self.name).compress
        changed: dict[str, Any] = {
            name: each.item() if isinstance(each, np.generic) else each
            for name, each in goal.items()
            if each is not None
        }
        if chains:
            changed["chains"] = [chains] if isinstance(chains, str) else list(chains)
        if budget is not None:
            changed["budget"] = parse_duration(budget, who="compress")
        # As strict as the policy file, and in its words.
        return decode(CompressOptions, {**encode(options), **changed}, "compress")
