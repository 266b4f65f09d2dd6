"""One seed divided among the steps of a strategy, so that none of them shares its chance."""

from __future__ import annotations

from hashlib import blake2b


def divided_seed(seed: int, what: str) -> int:
    """Return the seed of one step, in [0, 2**31).

    Parameters
    ----------
    seed : int
        Of the whole update.
    what : str
        The step, such as ``"folds"``.

    Examples
    --------
    >>> divided_seed(7, "folds") == divided_seed(7, "folds") != divided_seed(7, "study")
    True
    """
    digest = blake2b(f"{seed}/{what}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1
