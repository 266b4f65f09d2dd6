"""Which former versions live on in a version: their training rows are its training rows."""

from __future__ import annotations

from collections.abc import Sequence

from renewal.core.clock import to_us
from renewal.core.errors import RenewalError
from renewal.core.plugin import load_plugin, plugin_names
from renewal.core.version import Version


def living_ancestors(lineage: Sequence[Version]) -> tuple[Version, ...]:
    """Return a version and the ancestors whose learned parameters live on in it.

    A version's own key set holds the *known* rows of its ancestors. Where an ancestor was
    trained elsewhere on nobody knows what, only the ancestor's registration can say which
    rows it never saw: so unseen rows are those unseen by every version returned here.

    Parameters
    ----------
    lineage : sequence of Version
        The version, its parent, its parent's parent, ...

    Returns
    -------
    tuple of Version
        A leading part of `lineage`, cut below the first version that was fitted afresh.

    Notes
    -----
    Versions that were trained or registered by hand are fitted afresh. A strategy that is no
    longer installed, or says nothing, is taken to keep its parent: that only sets more rows
    aside.
    """
    living = []
    for version in lineage:
        living.append(version)
        if not _keeps_parent(version):
            break
    return tuple(living)


def unknown_until_us(living: Sequence[Version]) -> int | None:
    """Return until when rows may have been trained on without anybody knowing.

    Parameters
    ----------
    living : sequence of Version
        As `living_ancestors` returns them.

    Returns
    -------
    int or None
        When the latest version of unknown training was registered, microseconds since 1970;
        None where the training rows of all are known.
    """
    unknown = [
        to_us(version.created_at) for version in living if version.manifest.trained_keys is None
    ]
    return max(unknown, default=None)


def unmapped_version(lineage: Sequence[Version]) -> Version:
    """Return the version whose fit made the bytes of the model that the first one serves.

    A recalibration stores its map beside the bytes of its parent: the model inside has
    learned what that parent, or the one before it, was fitted on, and nothing since.

    Parameters
    ----------
    lineage : sequence of Version
        The version, its parent, its parent's parent, ...
    """
    found = lineage[0]
    for version in lineage[1:]:
        if not _keeps_parent(found) or version.manifest.artifact != found.manifest.artifact:
            break
        found = version
    return found


COMPRESS = "compress"
"""The strategy of versions that are another, smaller form of their parent."""


def source_version(lineage: Sequence[Version]) -> Version:
    """Return the version that goes on learning: a compressed one gives way to what it was made of.

    A graph of integers cannot be fitted, and what is trained on from a pruned model keeps its
    scars: so updates start from the model before its compression, and what comes of them is
    compressed anew.

    Parameters
    ----------
    lineage : sequence of Version
        The version, its parent, its parent's parent, ...
    """
    for version in lineage:
        if version.manifest.strategy != COMPRESS:
            return version
    return lineage[-1]


def _keeps_parent(version: Version) -> bool:
    manifest = version.manifest
    if manifest.parent is None:
        return False
    if manifest.strategy not in plugin_names("strategies"):
        return True
    try:
        return bool(load_plugin("strategies", manifest.strategy).keeps_parent)
    except (RenewalError, AttributeError):
        return True
