"""A plan: how the traffic of a model is routed. `rollout` makes it, `serve` obeys it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from renewal.core.errors import Invalid

Stage = Literal["steady", "shadow", "canary", "full"]
_TWO_64 = float(2**64)


@dataclass(frozen=True, slots=True)
class Arm:
    """A version and its share of the traffic.

    Parameters
    ----------
    name : str
        ``champion`` or ``candidate``; goes into responses, logs and metrics.
    version_id : str
        What answers.
    weight : float in [0, 1]
        Share of sticky keys; exactly 0 receives none, exactly 1 receives all.
    """

    name: str
    version_id: str
    weight: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The routing of one model's traffic.

    Parameters
    ----------
    model : str
        Whose traffic.
    stage : {"steady", "shadow", "canary", "full"}
        Which step of a rollout it belongs to; ``steady`` when there is none.
    arms : tuple of Arm
        Weights sum to 1; every request is answered by exactly one of them.
    shadow : tuple of str, default ()
        Ids of versions that also score every row they did not answer, for paired
        evidence; they can neither slow nor fail the caller.

    Examples
    --------
    >>> plan = Plan("m", "canary", (Arm("champion", "a", 0.9), Arm("candidate", "b", 0.1)))
    >>> share = sum(plan.assign(f"user{i}").name == "candidate" for i in range(10_000)) / 10_000
    >>> 0.09 < share < 0.11
    True
    """

    model: str
    stage: Stage
    arms: tuple[Arm, ...]
    shadow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse weights that are no shares of one whole, and arms of one name."""
        weights = [arm.weight for arm in self.arms]
        # Written so that a weight that is no number is no share either.
        if not (weights and min(weights) >= 0 and abs(sum(weights) - 1.0) <= 1e-9):
            raise Invalid(
                "Plan",
                needs="arms with weights of at least 0 that sum to 1",
                came=f"{weights}",
                todo="Make the weights shares of one whole.",
            )
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            # Keys are dealt out by the names of the arms: the larger of two alike would get all.
            raise Invalid(
                "Plan",
                needs="arms with a name of their own each",
                came=", ".join(map(repr, names)),
                todo="Rename one of them.",
            )

    @property
    def versions(self) -> tuple[str, ...]:
        """Ids of every version that must be loaded to obey the plan, each once."""
        ids = [arm.version_id for arm in self.arms if arm.weight > 0] + list(self.shadow)
        return tuple(dict.fromkeys(ids))

    def assign(self, sticky: str) -> Arm:
        """Return the arm that answers for a sticky key, the same in every process.

        Weighted rendezvous hashing: the arm with the largest ``-w / ln u``, where u is a
        uniform hash of (key, arm name). Changing one weight moves only the keys it must.

        Parameters
        ----------
        sticky : str
            A user, session or row key.

        Returns
        -------
        Arm
            Never one of weight 0.

        References
        ----------
        .. [1] Schindelhauer and Schomaker (2005). Weighted distributed hash tables. SPAA.
        """
        live = [arm for arm in self.arms if arm.weight > 0]
        if len(live) == 1:
            return live[0]
        return max(live, key=lambda arm: arm.weight / -math.log(_uniform(sticky, arm.name)))


def _uniform(sticky: str, name: str) -> float:
    """Hash (key, arm) into the open interval (0, 1); the seed is fixed for ever."""
    digest = blake2b(f"{name}\x00{sticky}".encode(), digest_size=8, person=b"renewal-arm").digest()
    return (int.from_bytes(digest, "little") + 0.5) / _TWO_64
