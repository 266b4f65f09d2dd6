"""What a row without event time may be used for, for ever: train, validation or test."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from renewal.core.errors import Invalid

TRAIN = 0
VALIDATION = 1
TEST = 2

_PERSON = b"renewal-role"


def role_of(
    group_hash: npt.NDArray[np.uint64],
    salt: bytes,
    shares: Sequence[float] = (0.7, 0.1, 0.2),
) -> npt.NDArray[np.int8]:
    """Return the role of each group, the same on every call, machine and day.

    The hash of the group is mixed with the salt of the home (two rounds of the splitmix64
    finalizer, a bijection of 64 bits, keyed before each) and read as a number in [0, 1);
    the role is the share into which it falls. Rows of one group share a role, new groups
    never move old ones.

    Parameters
    ----------
    group_hash : uint64 array, shape (n,)
        ``rows.group_hash``.
    salt : bytes
        Of the home: who knows the keys cannot know the roles.
    shares : three floats in [0, 1], default (0.7, 0.1, 0.2)
        Of train, validation and test; they sum to 1.

    Returns
    -------
    int8 array of shape (n,)
        `TRAIN`, `VALIDATION` or `TEST`.

    Raises
    ------
    Invalid
        On shares that are none.

    Notes
    -----
    Changing the shares moves groups at the borders only, but a moved test group that was
    trained on must be caught by the key sets; change them before the first training.

    Examples
    --------
    >>> roles = role_of(np.arange(100_000, dtype=np.uint64), b"salt")
    >>> [round(float(np.mean(roles == role)), 2) for role in (TRAIN, VALIDATION, TEST)]
    [0.7, 0.1, 0.2]

    References
    ----------
    .. [1] Steele, Lea and Flood (2014). Fast splittable pseudorandom number generators. OOPSLA.
    """
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-9:
        raise Invalid(
            "role_of",
            needs="three shares of at least 0 that sum to 1",
            came=f"{tuple(shares)}",
            todo="Give the shares of train, validation and test.",
        )
    keyed = blake2b(salt, digest_size=16, person=_PERSON).digest()
    first, second = np.frombuffer(keyed, "<u8").astype(np.uint64)
    mixed = _mix(_mix(group_hash ^ first) ^ second)
    uniform = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    borders = np.cumsum(np.asarray(shares, np.float64))[:2]
    return np.searchsorted(borders, uniform, side="right").astype(np.int8)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Apply the finalizer of splitmix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
