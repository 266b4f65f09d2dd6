"""The set of rows and groups that a version has seen, so that nobody judges it on them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from renewal.core.errors import Corrupt
from renewal.data.rows import Rows

_MAGIC = b"RNWKEYS1"
_SAME = 2**64 - 1
_HEAD = struct.Struct("<8sQQ")


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """Hashes of the keys and groups that a version, or an ancestor, was fitted on.

    Parameters
    ----------
    keys, groups : uint64 arrays, sorted, no value twice
        `renewal.core.ids.key_hash` of each. Equal arrays are stored once.

    Notes
    -----
    8 bytes a key. Two keys share a hash with a chance of 2**-64, so among a million
    trained and a million judged rows one is wrongly set aside with a chance of 5e-8:
    an error on the safe side.

    Examples
    --------
    >>> january = KeySet(np.array([1, 2, 3], "u8"), np.array([1, 2, 3], "u8"))
    >>> both = january.union(KeySet(np.array([3, 4], "u8"), np.array([3, 4], "u8")))
    >>> len(both), len(both.to_bytes())
    (4, 56)
    """

    keys: npt.NDArray[np.uint64]
    groups: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, rows: Rows) -> KeySet:
        """Return the set of the keys and groups of some rows."""
        keys = np.unique(rows.key_hash)
        groups = np.unique(rows.group_hash)
        return cls(keys, keys if np.array_equal(keys, groups) else groups)

    @classmethod
    def from_bytes(cls, data: bytes) -> KeySet:
        """Read what `to_bytes` wrote.

        Raises
        ------
        Corrupt
            When the bytes are no key set, or cut off.
        """
        if len(data) >= _HEAD.size:
            magic, n_keys, n_groups = _HEAD.unpack_from(data)
            n_stored = n_keys + (0 if n_groups == _SAME else n_groups)
            if magic == _MAGIC and len(data) == _HEAD.size + 8 * n_stored:
                found = np.frombuffer(data, "<u8", offset=_HEAD.size).astype(np.uint64, copy=False)
                keys = found[:n_keys]
                return cls(keys, keys if n_groups == _SAME else found[n_keys:])
        raise Corrupt(
            "KeySet.from_bytes",
            needs="the bytes of a key set, whole",
            came=f"{len(data)} bytes that start with {data[:8]!r}",
            todo="Restore the blob from a copy of the store.",
        )

    def to_bytes(self) -> bytes:
        """Return the set as bytes: a header of 24 bytes, then 8 for each hash, little-endian."""
        same = np.array_equal(self.keys, self.groups)
        head = _HEAD.pack(_MAGIC, len(self.keys), _SAME if same else len(self.groups))
        groups = b"" if same else self.groups.astype("<u8", copy=False).tobytes()
        return head + self.keys.astype("<u8", copy=False).tobytes() + groups

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self.keys)

    def union(self, other: KeySet) -> KeySet:
        """Return what either has seen."""
        keys = np.union1d(self.keys, other.keys)
        groups = np.union1d(self.groups, other.groups)
        return KeySet(keys, keys if np.array_equal(keys, groups) else groups)

    def without(self, other: KeySet) -> KeySet:
        """Return what this one has seen and the other has not."""
        keys = np.setdiff1d(self.keys, other.keys, assume_unique=True)
        groups = np.setdiff1d(self.groups, other.groups, assume_unique=True)
        return KeySet(keys, keys if np.array_equal(keys, groups) else groups)

    def seen(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Return which rows the version has seen, by their key or by their group.

        Returns
        -------
        bool array of shape (n,)
            True where the row must not be used to judge the version.

        Notes
        -----
        Two binary searches a row.
        """
        return _among(rows.key_hash, self.keys) | _among(rows.group_hash, self.groups)


def _among(
    values: npt.NDArray[np.uint64], ordered: npt.NDArray[np.uint64]
) -> npt.NDArray[np.bool_]:
    if len(ordered) == 0:
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[at] == values, np.bool_)
