"""One figure of a benchmark, on one line that a program can read."""

from __future__ import annotations


def figure(name: str, value: object, target: object, ok: bool) -> None:  # noqa: FBT001  # the order in which the line is read
    """Print ``FIGURE <name> <value> <target> ok|short``.

    Parameters
    ----------
    name : str
        Without spaces; the script's name comes first.
    value : object
        What was measured; floats get four digits.
    target : object
        What was to be reached, such as ``>=15``; blanks are taken out.
    ok : bool
        Whether it was.
    """
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    parts = [part.replace(" ", "") for part in (name, shown, str(target))]
    print("FIGURE", *parts, "ok" if ok else "short")
