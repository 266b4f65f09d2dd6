"""Two versions on the same unseen rows: what the gate, the CLI and a report all need."""

from __future__ import annotations

from renewal.core.clock import to_us
from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.evaluate.report import Report, compare
from renewal.evaluate.score import score
from renewal.evaluate.unseen import unseen
from renewal.loop.workshop import Workshop
from renewal.models.load import load_runtime
from renewal.update.lineage import living_ancestors


def keyset_of(shop: Workshop, version: Version) -> KeySet | None:
    """Return the keys and groups that a version trained on; None where nobody knows."""
    digest = version.manifest.trained_keys
    return None if digest is None else KeySet.from_bytes(shop.store.get(digest))


def unseen_by(shop: Workshop, rows: Rows, *versions: Version) -> tuple[Rows, int]:
    """Return the rows that none of the versions trained on, and how many were set aside.

    Raises
    ------
    Refused
        When no row is left.
    """
    living = [
        each for version in versions for each in living_ancestors(shop.registry.lineage(version.id))
    ]
    return unseen(
        rows,
        [keyset_of(shop, version) for version in living],
        [to_us(version.created_at) for version in living],
    )


def compare_versions(shop: Workshop, candidate: Version, baseline: Version, rows: Rows) -> Report:
    """Score both versions on the rows that neither trained on.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate, baseline : Version
        Stored versions; both are loaded and verified.
    rows : Rows
        Labelled rows.

    Returns
    -------
    Report
        Losses by block, and the metrics of the task for each.

    Raises
    ------
    Refused
        When no unseen row is left: no model is judged on what it trained on.
    """
    fresh, n_seen = unseen_by(shop, rows, candidate, baseline)
    task = load_plugin("tasks", shop.spec.task)()
    scored = []
    for version in (baseline, candidate):
        runtime = load_runtime(version.manifest, shop.store, shop.trust)
        try:
            scored.append((version.id, score(runtime, fresh), version.manifest.classes))
        finally:
            runtime.close()
    return compare(task, fresh, baseline=scored[0], candidate=scored[1], n_seen=n_seen)
