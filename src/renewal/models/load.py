"""From a manifest to something that predicts: environment, bytes, trust, runtime."""

from __future__ import annotations

from typing import Any, cast

from renewal.core.errors import Invalid
from renewal.core.version import Manifest
from renewal.models.adapters import adapter_of
from renewal.models.contract import Adapter, Runtime
from renewal.models.layers import LayeredAdapter
from renewal.models.native import NativeRuntime
from renewal.models.release import is_newer
from renewal.models.score_map import Mapped, ScoreMap
from renewal.models.score_map_adapter import MappedAdapter, MappedRuntime
from renewal.store.contract import Store


def load_estimator(manifest: Manifest, store: Store, trust: tuple[str, ...] = ()) -> Any:
    """Return the estimator of a version, verified and freshly built.

    Parameters
    ----------
    manifest : Manifest
        Names the bytes, the adapter and the environment of the fit.
    store : Store
        Holds the bytes.
    trust : tuple of str
        Own classes that the operator allows, such as ``("shop.features.Ratio",)``.

    Returns
    -------
    object
        Shared with nobody: loading twice gives two. A `Mapped` where it has a score map.

    Raises
    ------
    Invalid
        When a newer library wrote the bytes, or they are of another format.
    Refused
        When they hold a type that is not trusted.
    NotFound, Corrupt
        As the store says.
    """
    adapter = adapter_of(manifest)
    check_environment(manifest, adapter)
    data = store.get(manifest.artifact)
    if "base" in manifest.parts:
        base = adapter.load(store.get(manifest.parts["base"]), trust)
        estimator = cast("LayeredAdapter", adapter).load_onto(base, data, trust)
    else:
        estimator = adapter.load(data, trust)
    score_map = score_map_of(manifest, store)
    return estimator if score_map is None else Mapped(estimator, score_map)


def score_map_of(manifest: Manifest, store: Store) -> ScoreMap | None:
    """Return the map of a version's scores; None where it has none.

    Raises
    ------
    Invalid
        When the bytes are no map, or one for another number of scores.
    NotFound, Corrupt
        As the store says.
    """
    if "score_map" not in manifest.parts:
        return None
    found = ScoreMap.from_bytes(store.get(manifest.parts["score_map"]))
    n_scores = len(manifest.classes) or 1
    if found.n_scores not in {None, n_scores}:
        raise Invalid(
            "score_map_of",
            needs=f"a map of {n_scores} scores, as the version has",
            came=f"one of {found.n_scores}",
            todo="Recalibrate the version again.",
        )
    return found


def load_runtime(manifest: Manifest, store: Store, trust: tuple[str, ...] = ()) -> Runtime:
    """Return a runtime that serves a version; close it when done.

    Calling this is the test-load of a rollback target: it goes through everything that
    serving will need, up to the first prediction.

    Parameters
    ----------
    manifest, store, trust
        As for `load_estimator`.

    Raises
    ------
    Invalid, Refused, NotFound, Corrupt
        As for `load_estimator`.
    """
    adapter = adapter_of(manifest)
    # An adapter may bring a runtime of its own, which takes fewer steps a row or to load.
    open_runtime = getattr(cast("MappedAdapter", adapter).inner, "open_runtime", None)
    if open_runtime is not None:
        check_environment(manifest, adapter)
        score_map = score_map_of(manifest, store)
        runtime: Runtime = open_runtime(manifest, store)
        return runtime if score_map is None else MappedRuntime(runtime, score_map)
    estimator = adapter.ready(load_estimator(manifest, store, trust), manifest.signature)
    return NativeRuntime(adapter, estimator, manifest.signature)


def check_environment(manifest: Manifest, adapter: Adapter | None = None) -> None:
    """Raise `Invalid` when a library of the fit was newer than the one installed here.

    Libraries read what their older releases wrote; the other way round they may load and
    predict wrongly, so major and minor release must not be behind. A patch may.

    Parameters
    ----------
    manifest : Manifest
        Holds the versions of the fit.
    adapter : Adapter or None
        Holds the versions of now; None: the one that the manifest names.

    Raises
    ------
    Invalid
        Naming the library and both versions.
    """
    adapter = adapter_of(manifest) if adapter is None else adapter
    installed = adapter.environment()
    for library in adapter.reads_forward:
        wrote = manifest.environment.get(library)
        if wrote is not None and is_newer(wrote, installed[library]):
            raise Invalid(
                "load_estimator",
                needs=f"{library} {wrote} or newer, with which the version was fitted",
                came=f"{library} {installed[library]} installed",
                todo=f"Upgrade: pip install '{library}>={wrote}', or fit the model again here.",
                library=library,
                wrote=wrote,
                installed=installed[library],
            )
