"""Labels that are there because somebody asked for them: a sample that was not drawn at random."""

from __future__ import annotations

import numpy as np

from renewal.core.clock import to_us
from renewal.data.rows import Rows
from renewal.gate.requests import Frame, LabelRequest, requests_of
from renewal.loop.workshop import Workshop


def frame_of(shop: Workshop, request: LabelRequest) -> Frame:
    """Return the frame of a request from the store."""
    return Frame.from_bytes(shop.store.get(request.frame))


def without_requested(shop: Workshop, rows: Rows) -> Rows:
    """Return rows without those whose label is there because somebody asked for it.

    Rows are asked for because two versions disagree on them, so they are harder than rows
    are: a loss or a comparison that took their labels for a sample of all rows would be
    wrong. They count for the request alone, where their chances are known.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    rows : Rows
        Of the model's feed; those without a label stay.

    Returns
    -------
    Rows
        In their order; the same object where no request concerns them.

    Notes
    -----
    A label that arrived after a request for it counts as asked for, also where it would have
    come by itself. Reads the frame of every request, a few bytes a row.
    """
    gone = np.zeros(len(rows), np.bool_)
    for request in requests_of(shop.db, shop.spec.name):
        if not request.n_asked or not len(rows):
            continue
        is_later = rows.has_label & (rows.label_arrived_us >= to_us(request.made_at))
        if is_later.any():
            gone |= is_later & np.isin(rows.key_hash, frame_of(shop, request).asked)
    return rows.take(~gone) if gone.any() else rows
