"""Versions as open graphs: what several of them share is opened once in a process."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from renewal.core.version import Manifest
from renewal.models.onnx_bytes import open_model
from renewal.models.onnx_lora import Added, Addition
from renewal.models.onnx_lora_model import demand_base
from renewal.models.onnx_session import OpenGraph
from renewal.store.contract import Store
from renewal.store.reader import read_object

if TYPE_CHECKING:
    from typing import Any

# What is open, by the digest of its bytes, as long as somebody uses it.
_open: WeakValueDictionary[str, OpenGraph] = WeakValueDictionary()
# One opens, the others of the same wait; another graph waits for nobody.
_opening: WeakValueDictionary[str, Any] = WeakValueDictionary()
_lock = Lock()


class _Turn:
    """A lock that is forgotten with its last user."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.lock = Lock()


def open_version(manifest: Manifest, store: Store) -> OpenGraph:
    """Return the graph of a version, open, with its addition where it has one.

    Parameters
    ----------
    manifest : Manifest
        Of the adapter ``onnx``. With ``parts["base"]``, its artifact is an addition.
    store : Store
        Holds the bytes.

    Raises
    ------
    Invalid
        As `open_model`, and when the base has no place for the addition.
    Corrupt
        When bytes were the wrong ones, or the addition was made for another base.
    NotFound, Unavailable
        As the store says.

    Notes
    -----
    Of a base that is open already, nothing is read: an addition of 100 kB takes 1 ms.
    """
    if "base" not in manifest.parts:
        return _shared(store, manifest.artifact)
    addition = Addition.from_bytes(store.get(manifest.artifact))
    demand_base(addition, manifest.parts["base"])
    base = _shared(store, manifest.parts["base"])
    return base.with_addition(Added(base.session, addition), addition.classes)


def _shared(store: Store, digest: str) -> OpenGraph:
    with _lock:
        turn = _opening.get(digest)
        if turn is None:
            turn = _opening[digest] = _Turn()
    with turn.lock:
        found = _open.get(digest)
        if found is None:
            with read_object(store, digest) as reader:
                found = _open[digest] = open_model(reader)
    return found
