"""When a model is compressed, and into what: the room's part of the policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from renewal.compress.goal import Goal
from renewal.compress.size import Objective
from renewal.core.errors import Invalid

Prefer = Literal["none", "smallest certified", "fastest certified"]


@dataclass(frozen=True, slots=True)
class CompressOptions:
    """What is compressed after an update, and what the compressed version must hold.

    Parameters
    ----------
    prefer : {"none", "smallest certified", "fastest certified"}, default "none"
        Whether the circuit compresses each new champion by itself, and serves the smallest,
        or the fastest, version that is certified: through the gate and a rollout, like any
        other. none: only when a person asks.
    tau, metric, slices, slice_tau, max_latency_ms, max_memory_bytes, max_bytes, alpha
        The line and the further limits; see `renewal.compress.goal.Goal`.
    objective : {"bytes", "parameters", "l1", "macs", "latency"} or None
        What is to be minimal. None: bytes, or latency where the fastest is preferred.
    chains : tuple of str, default ()
        What the search tries; empty: the chains that suit the model
        (`renewal.compress.defaults`).
    budget : timedelta, default 5 minutes
        Time of the search; what is certified afterwards takes a few seconds more.
    seed : int, default 0
        Of every step that is random.
    """

    prefer: Prefer = "none"
    tau: float | str | None = None
    metric: str | None = None
    objective: Objective | None = None
    slices: tuple[str, ...] = ()
    slice_tau: float | str | None = None
    max_latency_ms: float | None = None
    max_memory_bytes: int | None = None
    max_bytes: int | None = None
    alpha: float = 0.05
    chains: tuple[str, ...] = ()
    budget: timedelta = timedelta(minutes=5)
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what no search could do."""
        if self.budget <= timedelta(0):
            raise Invalid(
                "CompressOptions",
                needs="a budget above 0",
                came=str(self.budget),
                todo="Correct budget in the policy's [compress].",
            )
        if self.seed < 0:
            raise Invalid(
                "CompressOptions",
                needs="a seed of at least 0",
                came=str(self.seed),
                todo="Correct seed in the policy's [compress].",
            )
        _ = self.goal

    @property
    def goal(self) -> Goal:
        """What is to be minimal, and the line; not settled for a task yet."""
        by_preference: Objective = "latency" if self.prefer == "fastest certified" else "bytes"
        return Goal(
            tau=self.tau,
            metric=self.metric,
            objective=self.objective or by_preference,
            slices=self.slices,
            slice_tau=self.slice_tau,
            max_latency_ms=self.max_latency_ms,
            max_memory_bytes=self.max_memory_bytes,
            max_bytes=self.max_bytes,
            alpha=self.alpha,
        )
