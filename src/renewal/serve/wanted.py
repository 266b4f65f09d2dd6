"""What the registry wants a slot to serve: a plan, and the versions that aliases name beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from renewal.core.plan import Arm, Plan

# Those that rollouts move: what they point at is loaded when the plan says so.
_PLANNED = frozenset({"champion", "candidate", "shadow"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a slot is to serve.

    Parameters
    ----------
    seq : int
        Number of the plan in the registry; 0 where the champion is served without one.
    plan : Plan
        How traffic is routed; its versions must be loaded.
    aliases : tuple of (str, str)
        Alias and version id, sorted: every alias of the model.
    extra : tuple of str
        Ids of versions that aliases of the user's own name; loaded where they can be.
    """

    seq: int
    plan: Plan
    aliases: tuple[tuple[str, str], ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def versions(self) -> tuple[str, ...]:
        """Ids of everything to be loaded, the plan's first, each once."""
        return tuple(dict.fromkeys((*self.plan.versions, *self.extra)))


def champion_plan(model: str, version_id: str) -> Plan:
    """Return the plan of a model for which nobody has made one: its champion answers all."""
    return Plan(model, "steady", (Arm("champion", version_id, 1.0),))


def wanted_of(seq: int, plan: Plan, aliases: Mapping[str, str], patterns: Sequence[str]) -> Wanted:
    """Return what a slot is to serve.

    Parameters
    ----------
    seq : int
        Number of the plan.
    plan : Plan
        The newest.
    aliases : mapping of str to str
        Of the model, to version ids.
    patterns : sequence of str
        Which aliases of the user's own are loaded beside the plan, such as ``("*",)``.

    Examples
    --------
    >>> plan = champion_plan("m", "a")
    >>> wanted_of(1, plan, {"champion": "a", "eu": "b", "old": "c"}, ["e*"]).versions
    ('a', 'b')
    """
    extra = tuple(
        version_id
        for alias, version_id in sorted(aliases.items())
        if alias not in _PLANNED and any(fnmatchcase(alias, each) for each in patterns)
    )
    return Wanted(seq, plan, tuple(sorted(aliases.items())), extra)
