"""Bringing a version into memory: bytes, runtime, a first prediction; nothing serves it yet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from time import monotonic

from renewal.core.plugin import load_plugin
from renewal.core.spec import Signature
from renewal.core.version import Version
from renewal.data.feed import Feed
from renewal.evaluate.compiled_record import CompiledForm, read_form
from renewal.models.contract import Runtime
from renewal.models.load import load_runtime
from renewal.models.onnx_convert import compile_key
from renewal.registry.registry import Registry
from renewal.serve.context import working_for
from renewal.serve.host_tender import HostLimits
from renewal.serve.hosting import hosted_runtime
from renewal.serve.options import ServeOptions
from renewal.serve.slots import Loaded, Slot, wants_to_leave
from renewal.serve.warm import newest_rows, warm_up
from renewal.store.contract import Store
from renewal.update.lineage import COMPRESS, source_version

_LOG = logging.getLogger("renewal.serve")
# How often the registry is asked whether what is served as it is may be served compiled.
_LOOK_S = 5.0
_HANGS_S = 10.0
# ONNX Runtime releases the interpreter, and runs graphs instead of somebody's code.
_IN_PROCESS = frozenset({"onnx"})


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
    options_of : callable
        From a model's name to whom to trust, and in which form, where and how its versions run.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        feeds: Callable[[str], Feed],
        options_of: Callable[[str], ServeOptions],
    ) -> None:
        self._registry = registry
        self._store = store
        self._feeds = feeds
        self._options_of = options_of
        # Graphs that did not load: their versions are native as long as this server lives.
        self._broken: set[str] = set()
        self._looked_s: dict[str, float] = {}

    def load(self, slot: Slot, version_id: str) -> Loaded:
        """Return a version that has predicted a row; release it when done.

        Raises
        ------
        NotFound, Corrupt, Invalid, Refused, Missing, Failed
            When it cannot be loaded, or says what are no scores.
        """
        version = self._registry.version(slot.spec.name, version_id)
        with working_for(model=slot.spec.name, version=version.name):
            try:
                return self._loaded(slot, version)
            except SystemExit as error:
                raise wants_to_leave(version, error) from error

    def _loaded(self, slot: Slot, version: Version) -> Loaded:
        found = self._equal_form(version)
        if found is not None:
            try:
                return self._warmed(slot, version, self._graph(version, found), "compiled")
            except Exception as error:  # noqa: BLE001  # the plug-in border: the native form is there
                self._broken.add(str(found.graph))
                _LOG.warning(
                    "compiled form not served model=%s version=%s error=%s",
                    slot.spec.name,
                    version.name,
                    error,
                )
        return self._warmed(slot, version, self._native(version), "native")

    def better(self, slot: Slot) -> tuple[str, ...]:
        """Return the ids of versions in a slot for which another form is recorded by now.

        Parameters
        ----------
        slot : Slot
            Of a model; asked about every 5 s at most, in between nothing is returned.
        """
        generation, now_s = slot.generation, monotonic()
        looked_s = self._looked_s.get(slot.spec.name, -_LOOK_S)
        if generation is None or now_s - looked_s < _LOOK_S:
            return ()
        self._looked_s[slot.spec.name] = now_s
        return tuple(
            version_id
            for version_id, loaded in generation.loaded.items()
            if loaded.form == "native" and self._equal_form(loaded.version) is not None
        )

    def _options(self, version: Version) -> ServeOptions:
        return self._options_of(version.manifest.model)

    def _equal_form(self, version: Version) -> CompiledForm | None:
        """Return the record by which a version is served compiled; None: it is not."""
        key = (
            compile_key(version.manifest.adapter)
            if self._options(version).compiled == "when_equal"
            else None
        )
        if key is None:
            return None
        found = read_form(self._registry.db, version.id, key)
        if found is None or found.graph is None or found.graph in self._broken:
            return None
        return found

    def _graph(self, version: Version, found: CompiledForm) -> Runtime:
        make = load_plugin("runtimes", "onnx")
        graph = str(found.graph)
        trust = self._options(version).trust
        runtime: Runtime = make(
            version.manifest, self._store, trust, graph=graph, refusals=found.refusals
        )
        return runtime

    def _native(self, version: Version) -> Runtime:
        manifest, options = version.manifest, self._options(version)
        if options.native == "thread" or manifest.adapter in _IN_PROCESS:
            return load_runtime(manifest, self._store, options.trust)
        # An operator's short time is no proof that a version hangs.
        limits = HostLimits(predict_s=max(_HANGS_S, options.timeout_s))
        return hosted_runtime(
            manifest, self._store, options.trust, name=version.name, limits=limits
        )

    def _warmed(self, slot: Slot, version: Version, runtime: Runtime, form: str) -> Loaded:
        task = load_plugin("tasks", version.manifest.task)()
        options = self._options(version)
        loaded = Loaded(
            version,
            task,
            runtime,
            form=form,
            interface=self._interface(version),
            max_batch_rows=options.max_batch_rows,
            max_queue_rows=options.max_queue_rows,
            batch_tolerance=options.batch_tolerance,
        )
        _warn_of_redaction(loaded, options.log_redact)
        try:
            samples = list(slot.samples)
            hints = [] if samples else newest_rows(self._feeds, slot.spec.name)
            tolerance = None if options.batching == "never" else options.batch_tolerance
            warm_up(loaded, samples, hints, tolerance=tolerance)
        except BaseException:
            loaded.release()
            raise
        return loaded

    def _interface(self, version: Version) -> Signature | None:
        """Return the columns of what a version was compressed from; None: its own."""
        if version.manifest.strategy != COMPRESS:
            return None
        return source_version(self._registry.lineage(version.id)).manifest.signature

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


def _warn_of_redaction(loaded: Loaded, redacted: Collection[str]) -> None:
    """Say aloud that a column which must not be kept is not there: perhaps it is misspelt."""
    missing = sorted(set(redacted) - set(loaded.interface.names))
    if missing:
        _LOG.warning(
            "log_redact names no column model=%s version=%s missing=%s columns=%s",
            loaded.version.manifest.model,
            loaded.version.name,
            ",".join(missing),
            ",".join(loaded.interface.names),
        )
