"""Bringing a version into memory: bytes, runtime, a first prediction; nothing serves it yet."""

from __future__ import annotations

from collections.abc import Callable

from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.feed import Feed
from renewal.models.load import load_runtime
from renewal.registry.registry import Registry
from renewal.serve.slots import Loaded, Slot
from renewal.serve.warm import newest_row, warm_up
from renewal.store.contract import Store


class Loader:
    """Loads and warms up versions; safe to call from several threads.

    Parameters
    ----------
    registry : Registry
        Where manifests are read.
    store : Store
        Where the bytes of versions are read.
    feeds : callable
        From a model's name to its feed; asked for a row to warm up by.
    trust : tuple of str
        Own classes that a stored model may load.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        feeds: Callable[[str], Feed],
        trust: tuple[str, ...],
    ) -> None:
        self._registry = registry
        self._store = store
        self._feeds = feeds
        self._trust = trust

    def load(self, slot: Slot, version_id: str) -> Loaded:
        """Return a version that has predicted a row; release it when done.

        Raises
        ------
        NotFound, Corrupt, Invalid, Refused, Missing
            When it cannot be loaded, or says what are no scores.
        """
        version = self._registry.version(slot.spec.name, version_id)
        manifest = version.manifest
        task = load_plugin("tasks", manifest.task)()
        loaded = Loaded(version, task, load_runtime(manifest, self._store, self._trust))
        try:
            if slot.sample is None:
                slot.sample = newest_row(self._feeds, slot.spec.name)
            warm_up(loaded, slot.sample)
        except BaseException:
            loaded.release()
            raise
        return loaded

    def test_rollback_target(self, slot: Slot) -> Version | None:
        """Load the former champion once: a rollback must not be what finds it broken.

        Returns
        -------
        Version or None
            What loads; None where there was no champion before.

        Raises
        ------
        RenewalError
            As `load`.
        """
        model = slot.spec.name
        present = self._registry.aliases(model).get("champion")
        for move in reversed(self._registry.history(model, "champion")):
            if move.from_id is not None and move.from_id != present:
                loaded = self.load(slot, move.from_id)
                loaded.release()
                return loaded.version
        return None
