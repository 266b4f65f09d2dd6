"""The rule before every other: no version is judged on a row that it trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from renewal.core.errors import Invalid, Refused
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows


def unseen(
    rows: Rows, keysets: Sequence[KeySet | None], registered_us: Sequence[int | None]
) -> tuple[Rows, int]:
    """Return the rows that no version has trained on, and how many were set aside.

    That rows are disjoint is computed, not promised: a row goes as soon as its key or its
    group is in the key set of one version (which holds its ancestors by warm start too). Of
    a version that was trained elsewhere, on rows that nobody knows, only rows that arrived
    after its registration can be new.

    Parameters
    ----------
    rows : Rows
        Labelled rows that might be judged.
    keysets : sequence of KeySet or None
        One for each version; None where nobody knows.
    registered_us : sequence of int or None, microseconds since 1970
        When each version was registered; only read where its key set is None.

    Returns
    -------
    rows : Rows
        At least one.
    n_seen : int
        Rows set aside.

    Raises
    ------
    Refused
        When no row is left, with what to do about it.
    Invalid
        When the sequences differ in length or are empty.

    Notes
    -----
    Two binary searches a row and version.
    """
    if not keysets or len(keysets) != len(registered_us):
        raise Invalid(
            "unseen",
            needs="a key set and a time of registration for each version",
            came=f"{len(keysets)} key sets and {len(registered_us)} times",
            todo="Pass one of each for both versions.",
        )
    fresh = np.ones(len(rows), dtype=np.bool_)
    for keyset, since_us in zip(keysets, registered_us, strict=True):
        if keyset is not None:
            fresh &= ~keyset.seen(rows)
        elif since_us is None:
            fresh[:] = False
        else:
            fresh &= rows.arrived_us > since_us
    n_left = int(fresh.sum())
    if n_left == 0:
        raise _nothing_left(len(rows), keysets)
    return (rows if n_left == len(rows) else rows.take(fresh)), len(rows) - n_left


def _nothing_left(n_rows: int, keysets: Sequence[KeySet | None]) -> Refused:
    needs = "labelled rows that neither version trained on"
    if n_rows == 0:
        came, todo = "no labelled row at all", "Append newer rows and their labels."
    elif any(keyset is None for keyset in keysets):
        came = f"{n_rows:,} rows, none of which arrived after a version of unknown training"
        todo = (
            "Say what it was trained on when registering it (trained_on=...), "
            "or wait for rows that arrive from now on."
        )
    else:
        came = f"{n_rows:,} rows, all of them trained on by one of the two"
        todo = "Append newer rows, or train on fewer and hold the rest back."
    return Refused("The comparison", needs=needs, came=came, todo=todo, n_rows=n_rows)
