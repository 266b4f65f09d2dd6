"""Releases of libraries, compared by their major and minor numbers."""

from __future__ import annotations

import re

_RELEASE = re.compile(r"(\d+)(?:\.(\d+))?")


def is_newer(wrote: str, installed: str) -> bool:
    """Say whether a release is a later major or minor one than another; patches do not count.

    Examples
    --------
    >>> is_newer("1.10.0", "1.9.1"), is_newer("1.9.2", "1.9.1")
    (True, False)
    """
    return _numbers(wrote) > _numbers(installed)


def _numbers(version: str) -> tuple[int, int]:
    found = _RELEASE.match(version)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)
