"""Which adapter works with what, and an estimator as objects of the store."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from renewal.core.errors import Invalid, NotFound
from renewal.core.plugin import load_plugin, plugin_names
from renewal.core.version import Manifest
from renewal.models.contract import Adapter
from renewal.models.layers import LayeredAdapter
from renewal.models.score_map import Mapped, unmapped
from renewal.models.score_map_adapter import knowing_maps
from renewal.store.contract import Store

_LAST = "python"


@dataclass(frozen=True, slots=True)
class Stored:
    """An estimator as objects of the store: three fields of its manifest.

    Parameters
    ----------
    artifact : str
        Digest of its bytes.
    artifact_bytes : int
        Their number; the bytes of its parts are not in it.
    parts : mapping of str to str
        Digests of what else it needs; see `Manifest.parts`.
    """

    artifact: str
    artifact_bytes: int
    parts: Mapping[str, str] = field(default_factory=dict)


def adapter_of(manifest: Manifest) -> Adapter:
    """Return the adapter of a version; it takes estimators with a score map as well.

    Raises
    ------
    NotFound, Missing
        When it is not registered, or its framework is not installed.
    """
    return knowing_maps(load_plugin("adapters", manifest.adapter)())


def adapter_for(estimator: Any, *, who: str) -> Adapter:
    """Return the adapter that works with an estimator.

    The one that bears the name of the library that made it is asked first; another is asked
    only where its framework is imported already, since an estimator of a framework that
    nobody has imported cannot exist.

    Parameters
    ----------
    estimator : object
        Fitted or not.
    who : str
        The verb that asks, for the message.

    Raises
    ------
    Invalid
        When no adapter takes it.
    """
    inside = unmapped(estimator)
    for name in _asked(inside):
        adapter: Adapter = load_plugin("adapters", name)()
        if adapter.accepts(inside):
            return knowing_maps(adapter)
    raise Invalid(
        who,
        needs=f"an estimator of one of the adapters: {', '.join(plugin_names('adapters'))}",
        came=f"a {type(inside).__module__}.{type(inside).__qualname__}",
        todo="Give it fit and predict, wrap it as a scikit-learn estimator, or install the "
        "adapter for its library.",
    )


def stored(adapter: Adapter, estimator: Any, store: Store) -> Stored:
    """Put an estimator into the store, beside it its base and its score map where it has them.

    A recalibrated version costs the bytes of its map: its artifact is its parent's, also
    where the library writes other bytes each time.

    Parameters
    ----------
    adapter : Adapter
        Of the estimator.
    estimator : object
        Fitted.
    store : Store
        Takes the bytes; equal bytes are kept once.
    """
    parts: dict[str, str] = {}
    known = None
    if isinstance(estimator, Mapped):
        parts["score_map"] = store.put(estimator.score_map.to_bytes())
        estimator, known = estimator.estimator, estimator.artifact
    layered = cast("LayeredAdapter", getattr(adapter, "inner", adapter))
    # A graph has no layers to train, and additions all the same.
    if adapter.capabilities(estimator).has_layers or hasattr(layered, "base_digest"):
        base = layered.base_digest(estimator)
        if base is not None:
            # It is there as a rule: it was the champion. It is not written down again.
            is_there = store.renew(base)
            parts["base"] = base if is_there else store.put(layered.dump_base(estimator))
    data = None if known is None else _kept(store, known)
    data = adapter.dump(estimator) if data is None else data
    # Also bytes that are there already: a put makes them young, so that no sweep takes them
    # before the manifest names them.
    return Stored(store.put(data), len(data), parts)


def _kept(store: Store, digest: str) -> bytes | None:
    try:
        return store.get(digest)
    except NotFound:
        return None


def _asked(estimator: Any) -> Iterator[str]:
    """Yield the names of the adapters worth asking, the most likely first."""
    known = plugin_names("adapters")
    root = type(estimator).__module__.partition(".")[0]
    if root in known:
        yield root
    for name in known:
        if name not in {root, _LAST} and (name == "sklearn" or name in sys.modules):
            yield name
    if _LAST in known:
        yield _LAST
