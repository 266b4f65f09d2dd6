"""Upkeep of a store: delete what nothing refers to, and read everything once."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from renewal.core.errors import Corrupt, Invalid, NotFound
from renewal.store.contract import Store, Sweepable


def sweep(store: Sweepable, live: AbstractSet[str], older_than_s: float) -> tuple[str, ...]:
    """Delete every object that is not live and was not put lately.

    A writer first puts bytes and then commits the row that refers to them, so what is
    unreferenced and young may be in the middle of that: it stays.

    Parameters
    ----------
    store : Sweepable
        Where objects are kept.
    live : set of str
        Digests that something refers to, read *before* this call.
    older_than_s : float >= 0, seconds
        Longer than the longest pause between a put and its commit; a day is ample.

    Returns
    -------
    tuple of str
        Digests of what was deleted, in order.

    Raises
    ------
    Invalid
        When `older_than_s` is negative or not a number.

    Notes
    -----
    One directory listing and one stat an object that is not live.

    Examples
    --------
    >>> import tempfile
    >>> from renewal.store.local import LocalStore
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = LocalStore(folder)
    ...     kept, dropped = store.put(b"kept"), store.put(b"dropped")
    ...     young = sweep(store, {kept}, older_than_s=3600)
    ...     gone = sweep(store, {kept}, older_than_s=0)
    >>> young, gone == (dropped,)
    ((), True)
    """
    if not older_than_s >= 0:
        raise Invalid(
            "sweep",
            needs="an age of at least 0 seconds",
            came=f"{older_than_s}",
            todo="Keep objects for longer than an upload lasts, such as 86400.",
        )
    dead = [digest for digest in store.digests() if digest not in live]
    deleted = tuple(digest for digest in dead if store.delete(digest, older_than_s=older_than_s))
    store.tidy(older_than_s)
    return deleted


def verify(store: Store) -> tuple[str, ...]:
    """Read every object and return the digests of those that are corrupt.

    Parameters
    ----------
    store : Store
        Where objects are kept.

    Returns
    -------
    tuple of str
        In order; empty when all is well.

    Notes
    -----
    Reads every byte: disk speed, one object in memory at a time.
    """
    corrupt = []
    for digest in store.digests():
        try:
            store.get(digest)
        except Corrupt:
            corrupt.append(digest)
        except NotFound:
            continue  # swept meanwhile
    return tuple(corrupt)
