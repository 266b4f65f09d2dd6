"""What a compression is asked for: by a person, or by the policy after an update."""

from __future__ import annotations

from dataclasses import dataclass

from renewal.compress.chain import parse_chain
from renewal.compress.goal import Goal
from renewal.compress.options import CompressOptions
from renewal.core.plugin import load_plugin
from renewal.loop.journal import COMPRESS, last_runs
from renewal.loop.workshop import Workshop
from renewal.registry.codec import to_plain
from renewal.update.lineage import COMPRESS as COMPRESSED
from renewal.update.lineage import source_version


@dataclass(frozen=True, slots=True)
class CompressAsked:
    """What a compression was asked for; the spec of its run.

    Parameters
    ----------
    goal : Goal
        Settled for the task.
    chains : tuple of str
        What the search tries; empty: what suits the model.
    budget_s : float or None
        Seconds of the search; None: no limit.
    seed : int
        Of the steps.
    roll_out : bool
        Whether a certified version goes on into a rollout.
    source : str
        Id of what is compressed.
    """

    goal: Goal
    chains: tuple[str, ...]
    budget_s: float | None
    seed: int
    roll_out: bool
    source: str


def asked_by(shop: Workshop, options: CompressOptions, *, roll_out: bool) -> CompressAsked:
    """Return what a compression of the champion is asked for.

    Raises
    ------
    NotFound
        When the model has no champion, or a chain names an unknown technique.
    Invalid
        When the goal does not suit the task, or a chain is no chain.
    """
    champion = shop.registry.version(shop.spec.name, "champion")
    task = load_plugin("tasks", shop.spec.task)()
    return CompressAsked(
        goal=options.goal.settled(task),
        chains=tuple(parse_chain(each).label for each in options.chains),
        budget_s=options.budget.total_seconds(),
        seed=options.seed,
        roll_out=roll_out,
        source=source_version(shop.registry.lineage(champion.id)).id,
    )


def is_due(shop: Workshop) -> bool:
    """Whether the policy wants the champion compressed, and nobody has tried it yet.

    Where rows were missing, or it could not go on at all, it is tried again after the cooldown
    of updates: on new rows that is another question, and on the same rows the same answer.
    """
    if shop.compress.prefer == "none":
        return False
    champion = shop.registry.version(shop.spec.name, "champion")
    if champion.manifest.strategy == COMPRESSED:
        return False
    asked = to_plain(asked_by(shop, shop.compress, roll_out=True))
    tried = [
        each
        for each in last_runs(shop.db, shop.spec.name, kind=COMPRESS)
        if dict(each.spec) == asked
    ]
    # One that was certified while another rollout was under way has its turn now.
    if not tried or (tried[0].outcome or {}).get("waits"):
        return True
    certificate = (tried[0].outcome or {}).get("certificate") or {}
    status = (certificate.get("certified") or {}).get("status")
    waited = shop.clock.now() - tried[0].started_at
    lacked_rows = status == "uncertified" or tried[0].state == "failed"
    return lacked_rows and waited >= shop.update.cooldown
