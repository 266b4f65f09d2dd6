"""What a strategy owes: a candidate, and every row that it was fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from renewal.core.spec import Label
from renewal.core.version import Version
from renewal.data.keyset import KeySet
from renewal.data.rows import Rows
from renewal.engine.contract import Engine
from renewal.models.contract import Adapter
from renewal.models.task import Task
from renewal.store.contract import Store


@dataclass(frozen=True, slots=True)
class Parent:
    """The version that an update starts from, loaded.

    Parameters
    ----------
    version : Version
        As it is registered.
    estimator : object
        Its loaded bytes. A strategy never changes it: it serves at this moment.
    adapter : Adapter
        Fits, copies and runs such estimators.
    task : Task
        Of its model.
    keyset : KeySet or None
        The rows and groups that it, or an ancestor that lives on in it, trained on. None:
        nobody knows, so every row that was there at its registration may be one of them.
    unknown_until_us : int or None, default None, microseconds since 1970
        Where an ancestor that lives on in it was trained on nobody knows what: when that was
        registered (`renewal.update.lineage.unknown_until_us`). Rows that came until then may
        be among them, whatever `keyset` says.
    only_mapped : KeySet or None, default None
        The part of `keyset` on which no more than the map of its scores was fitted: no
        evidence about it, and yet nothing that the model inside has learned.
    """

    version: Version
    estimator: Any
    adapter: Adapter
    task: Task
    keyset: KeySet | None
    unknown_until_us: int | None = None
    only_mapped: KeySet | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A fitted candidate with what must be known about it before anybody may judge it.

    Parameters
    ----------
    estimator : object
        Fitted; shares nothing mutable with the parent's.
    classes : tuple
        Labels in the order of the score columns; empty for regression.
    keyset : KeySet
        Every row and group that this fit used, and the parent's known ones too where
        `parent_is_ancestor`.
    n_rows : int
        Rows of this fit.
    trained_until_us : int or None
        Newest event time that lives on in the parameters, microseconds since 1970.
    parent_is_ancestor : bool
        Whether learned parameters of the parent live on in the candidate.
    strategy : str
        Its registered name.
    options : mapping
        The strategy's options as JSON values, defaults included.
    facts : mapping, default empty
        What is worth knowing beside it, JSON values: the best parameters, the epochs run.
    """

    estimator: Any
    classes: tuple[Label, ...]
    keyset: KeySet
    n_rows: int
    trained_until_us: int | None
    parent_is_ancestor: bool
    strategy: str
    options: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Means:
    """What a strategy may use besides the rows that it fits; all of it may be missing.

    Parameters
    ----------
    validation : Rows or None, default None
        Rows on which it may choose (tune, stop early) and which it never fits.
    budget_s : float or None, seconds, default None
        How long it may take. It stops choosing in time for its last fit; None: no limit.
    scratch : Path or None, default None
        A folder of its own that survives a kill: what lies there, it goes on with.
    engine : Engine or None, default None
        Where trials run; None: in this process.
    store : Store or None, default None
        Where objects are kept, such as former versions and studies.
    bases : tuple of Version, default ()
        The registry's catalogue of versions with layers and the same inputs, from which a
        fine-tuning may choose what it starts from.
    trust : tuple of str, default ()
        Own classes that stored models may load.
    found : mapping, default empty
        `Made.facts` of an earlier fit of the same recipe in this update: on a share of the
        rows, or, where `validation` is None, the one that was chosen on rows that are now
        fitted, so that what it chose is taken over and not chosen again.
    """

    validation: Rows | None = None
    budget_s: float | None = None
    scratch: Path | None = None
    engine: Engine | None = None
    store: Store | None = None
    bases: tuple[Version, ...] = ()
    trust: tuple[str, ...] = ()
    found: Mapping[str, Any] = field(default_factory=dict)


ALONE = Means()
"""Rows, options and a seed: nothing besides."""


class Strategy(Protocol):
    """A way to make a candidate from a parent and rows.

    A strategy is constructed without arguments and keeps no state: what it makes depends on
    the parent, the rows, the options, the seed and the means alone, so that a step that was
    killed can be done again. It says how far it has come by
    `renewal.core.progress.tell_progress`. It is registered under the entry-point group
    ``renewal.strategies``, and `renewal.testing.strategies` checks it.

    Attributes
    ----------
    name : str
        The name of its entry point.
    Options : type
        A frozen dataclass, every field with a default; recipes such as
        ``retrain:window=8w`` are read from its fields. Where it has a property
        `reads_unlabelled` that is true, rows that wait for their label are handed in, too.
    keeps_parent : bool
        Whether learned parameters of the parent live on in what it makes; a version made by
        it has then trained on all that its parent trained on.
    can_thin : bool
        Whether a fit on a share of the rows costs a share and foretells the fit on all: then
        a race on many rows tries it on a ninth of them first.
    """

    name: ClassVar[str]
    Options: ClassVar[type[Any]]
    keeps_parent: ClassVar[bool]
    can_thin: ClassVar[bool]

    def why_not(self, parent: Parent, rows: Rows | None = None) -> str | None:
        """Return why no candidate can be made, as one sentence; None when it can.

        Parameters
        ----------
        parent : Parent
            The version to start from.
        rows : Rows or None
            The rows that may be fitted. None: answer for the parent alone.
        """
        ...

    def make(
        self, parent: Parent, rows: Rows, options: Any, seed: int, means: Means = ALONE
    ) -> Made:
        """Fit a candidate; the parent and the rows stay as they are.

        Parameters
        ----------
        parent : Parent
            The version to start from.
        rows : Rows
            All of them may be fitted (`renewal.update.stretches.training_rows`); those without
            a label are passed over.
        options : object
            Of the type `Options`.
        seed : int
            Of everything that is random. The same call makes the same candidate.
        means : Means
            What it may use besides.

        Raises
        ------
        Invalid
            When the rows are too few, of one class, or without labels; the text names
            the numbers.
        Refused
            When `why_not` says so.
        """
        ...
