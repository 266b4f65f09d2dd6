"""The evidence that the next candidate will need, from what the ledger knows already."""

from __future__ import annotations

from renewal.core.errors import NotFound
from renewal.evaluate.series import Series
from renewal.gate.judge import Grant
from renewal.gate.ledger import budget_of, looks
from renewal.gate.planning import Needed, needed_for_accuracy, needed_from
from renewal.loop.workshop import Workshop


def evidence_needed(shop: Workshop, gain: float | None, disagreement: float | None) -> Needed:
    """Return how much evidence a proof takes, before anything is trained.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    gain : float or None
        True gain to be found; None: the smallest worth shipping.
    disagreement : float or None
        Plans a comparison of accuracies on independent rows; None: from the last comparison.

    Raises
    ------
    NotFound
        When nothing was compared yet and no `disagreement` is given.
    """
    budget = budget_of(shop.db, shop.spec.name, shop.gate)
    granted = Grant(budget.next_level, budget.n_tested + 1)
    if disagreement is not None:
        worth = shop.gate.smallest_gain_share if gain is None else gain
        return needed_for_accuracy(worth, disagreement, shop.gate, granted)
    compared = [each for each in looks(shop.db, shop.spec.name) if each.series]
    if not compared or compared[-1].series is None:
        raise NotFound(
            "the plan",
            needs=f"an earlier comparison of {shop.spec.name!r}, for its spread",
            came="none",
            todo="Name the share of rows on which the versions will disagree, or judge one first.",
        )
    last = Series.from_bytes(shop.store.get(compared[-1].series[0]))
    return needed_from(last, shop.gate, granted, gain=gain)
