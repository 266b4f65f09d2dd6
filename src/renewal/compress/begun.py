"""Trials that end their process: noted before they begin, so that none does it for ever.

A chain that needs more memory than there is takes the whole process with it, and whoever goes
on with the search would begin with the same chain again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from renewal.core.errors import Invalid

MOST = 3
"""As often a trial may end its process before it counts as failed."""


@contextmanager
def noted(folder: Path | None, key: str) -> Iterator[None]:
    """Note that something has begun, and take the note back when it ends in whatever way.

    Parameters
    ----------
    folder : Path or None
        Survives a kill; None: nothing is noted.
    key : str
        Names it; a digest.

    Raises
    ------
    Invalid
        When it has begun `MOST` times, and its process was gone each time before it ended.

    Examples
    --------
    >>> with noted(None, "any"):
    ...     pass
    """
    if folder is None:
        yield
        return
    path = folder / f"begun-{key}"
    n_before = path.stat().st_size if path.exists() else 0
    if n_before >= MOST:
        raise Invalid(
            "compress",
            needs="a process that lives until the trial ends",
            came=f"{n_before} that ended before: killed, crashed or out of memory",
            todo="Leave this chain out, or compress where there is more memory.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b".")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
