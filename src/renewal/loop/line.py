"""The line of candidates: a newer one takes the place of the one on probation."""

from __future__ import annotations

from renewal.core.clock import to_us
from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.loop.evidence import live_pairs
from renewal.loop.judging import Judged, hand_over
from renewal.loop.workshop import Workshop
from renewal.rollout.states import open_rollout


def take_over(
    shop: Workshop, candidate: Version, champion: Version, rows: Rows
) -> tuple[Judged, ...]:
    """Let a candidate take the place of one on probation beside the same champion.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate, champion : Version
        The newer one, and who serves.
    rows : Rows
        Of the candidate's first look.

    Returns
    -------
    tuple of Judged
        As of `hand_over`; empty where nobody is on probation beside this champion.
    """
    with shop.db.read() as connection:
        before = open_rollout(connection, shop.spec.name)
    if before is None or before.stage != "probation" or before.champion != champion.id:
        return ()
    predecessor = shop.registry.version(shop.spec.name, before.candidate)
    pairs = live_pairs(shop, predecessor, champion, to_us(before.started_at))
    return hand_over(shop, candidate, predecessor, champion, pairs, rows=rows)
