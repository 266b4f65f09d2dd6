"""A version: an immutable manifest, named by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from renewal.core.spec import Label, Signature


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A feed pinned at the versions of its three tables.

    Parameters
    ----------
    model : str
        Whose feed.
    rows, predictions, labels : int
        Version of each Delta table; -1 where the table does not exist yet.
    taken_at : datetime
        When it was pinned.
    """

    model: str
    rows: int
    predictions: int
    labels: int
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that makes a version what it is; its digest is the version's id.

    Parameters
    ----------
    model, task, adapter : str
        Names in the registry and in the plug-in tables.
    artifact : str
        Digest of the model's bytes in the store.
    artifact_bytes : int
        Their number.
    signature : Signature
        Input columns.
    classes : tuple
        Labels in the order of the score columns; empty for regression.
    strategy : str
        How it was made: ``train``, ``register``, or the name of a strategy.
    options : mapping
        The strategy's options, JSON values.
    parent : str or None
        Id of the version it was made from.
    trained_keys : str or None
        Digest of the key set (`renewal.data.keyset`) of every row and group that this
        version, or an ancestor by warm start, was fitted on. None: nobody knows.
    n_trained_rows : int
        Rows of the last fit; 0 where unknown.
    trained_until : datetime or None
        Newest event time among them.
    snapshot : Snapshot or None
        Where the rows came from.
    seed : int
        Of the fit.
    environment : mapping of str to str
        Python and the libraries that the artifact needs, with their versions.
    parts : mapping of str to str, default empty
        Digests of further bytes without which the artifact is not the version, by what they
        are: ``base``, the model that the artifact is an addition to (LoRA); ``score_map``, the
        correction of its scores (`renewal.models.score_map`).
    """

    model: str
    task: str
    adapter: str
    artifact: str
    artifact_bytes: int
    signature: Signature
    classes: tuple[Label, ...]
    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    trained_keys: str | None = None
    n_trained_rows: int = 0
    trained_until: datetime | None = None
    snapshot: Snapshot | None = None
    seed: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def digests(self) -> tuple[str, ...]:
        """Every object of the store that this version needs or names."""
        keys = () if self.trained_keys is None else (self.trained_keys,)
        return (self.artifact, *keys, *self.parts.values())


@dataclass(frozen=True, slots=True)
class Version:
    """A manifest with its place in the registry.

    Parameters
    ----------
    id : str
        BLAKE3 digest of the canonical manifest, 64 hexadecimal digits.
    number : int
        1, 2, 3, ... within its model; never used twice.
    manifest : Manifest
        What it is.
    facts : mapping
        What was noted beside it and is no part of its identity: ``fit_s``, ...
    created_at : datetime
        When it was registered.
    created_by : str
        Who registered it.
    """

    id: str
    number: int
    manifest: Manifest
    facts: Mapping[str, Any]
    created_at: datetime
    created_by: str

    @property
    def name(self) -> str:
        """The short name, such as ``v3``."""
        return f"v{self.number}"
