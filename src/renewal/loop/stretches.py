"""The rows of a compression: what its steps learn from, what it searches on, what certifies.

::

    timeless   learn: role train     search: role validation    certify: role test
    timed      ---- learn ----| embargo |-- search --|           |-- certify --|
               where the parent has been fitted on the stretch that searches:
               ------------- learn ------------------| embargo  |search|- certify -|
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from renewal.core.errors import Refused
from renewal.core.version import Version
from renewal.data.forward import ForwardWindow
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.loop.sampled import without_requested
from renewal.loop.workshop import Workshop
from renewal.update.desk import Desk
from renewal.update.stretches import judged_rows, selection_rows

_LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """Three disjoint sets of rows.

    Parameters
    ----------
    train : Rows
        Labelled rows that the steps of a chain may learn from.
    validation : Rows
        Labelled rows on which the search compares; the parent trained on none of them.
    test : Rows
        Labelled rows that certify, and nothing else; unseen by the parent. May be empty.
    unlabelled : Rows or None
        Rows of the training side whose label has not come.
    """

    train: Rows
    validation: Rows
    test: Rows
    unlabelled: Rows | None

    def seen(self, *, learned: bool) -> KeySet:
        """Return the rows that the steps of a chain may have used; none where none learns.

        Never unknown: of a source that nobody knows what it was fitted on its own
        registration says which rows it cannot have seen.
        """
        used = self.train if learned else self.train.take(np.zeros(0, dtype=np.intp))
        found = KeySet.of(used)
        if not learned or self.unlabelled is None:
            return found
        return found.union(KeySet.of(self.unlabelled))


def stretches_of(shop: Workshop, desk: Desk, parent: Version) -> Stretches:
    """Return the rows with which a version is compressed.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    desk : Desk
        Its snapshot and window are pinned.
    parent : Version
        What is compressed.

    Raises
    ------
    Refused
        When there is no row to search on that the parent has not trained on.
    """
    window, salt = desk.pinned.window, shop.salt
    test = _unseen(desk, judged_rows(desk.rows, window, salt=salt), parent)
    before = True
    wanted = selection_rows(desk.rows, window, salt=salt, length=desk.pinned.selection)
    validation = _unseen(desk, without_requested(shop, wanted), parent)
    if window is not None and len(validation) <= _LEAST_SHARE * len(wanted):
        # It was fitted up to the cut, so what is new to it lies in the judged stretch alone.
        before = False
        validation, test = _parts(without_requested(shop, test), window)
    if not len(validation):
        raise Refused(
            "compress",
            needs="labelled rows to search on that the model has not trained on",
            came="none",
            todo="Wait for labels, or register the model with what it was trained on.",
        )
    every = desk.training(in_race=before, with_unlabelled=True)
    waiting = every.take(~every.has_label)
    return Stretches(
        train=desk.training(in_race=before),
        validation=validation,
        test=without_requested(shop, test),
        unlabelled=waiting if len(waiting) else None,
    )


def _unseen(desk: Desk, rows: Rows, version: Version) -> Rows:
    """Return the rows that a version never saw; none where there is none."""
    try:
        return desk.unseen(rows, version) if len(rows) else rows
    except Refused:
        return rows.take(np.zeros(len(rows), dtype=np.bool_))


def _parts(rows: Rows, window: ForwardWindow) -> tuple[Rows, Rows]:
    """Cut the judged stretch in two, whole blocks each, the embargo between them.

    Certification counts blocks, of which there are few, and the search rows: it gets a quarter.
    """
    embargo_us = window.judge_from_us - window.fit_until_us
    blocks = np.unique(rows.block)
    if len(blocks) < 2:
        return rows, rows.take(np.zeros(len(rows), dtype=np.bool_))
    first_us = np.array([rows.event_us[rows.block == each].min() for each in blocks])
    cut_us = np.sort(first_us)[max(1, len(blocks) // 4)]
    return rows.take(rows.event_us < cut_us), rows.take(rows.event_us >= cut_us + embargo_us)
