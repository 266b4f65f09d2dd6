"""The record of a version's compiled form: what was compared, and which form serves it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import delete, insert, select

from renewal.evaluate.tables import compiled_forms
from renewal.models.parity_refusals import Refusals
from renewal.registry.codec import from_plain, to_plain
from renewal.registry.db import Database

Form = Literal["compiled", "native"]


@dataclass(frozen=True, slots=True)
class Probe:
    """What one kind of rows showed.

    Parameters
    ----------
    name : str
        ``held-out``, ``gaps``, ``unseen``, ``empty``, ``huge``, ``infinite``, ``large``,
        ``thresholds``, ``beside thresholds`` or ``batches``.
    n_rows : int
        Rows that both forms scored.
    n_labels_differ : int
        Rows with another label, ties left out.
    n_moved : int
        Rows with a score that rounding does not explain.
    largest : float
        Difference of scores; of a regression as a share of the spread of its values.
    note : str, default ""
        What was left out, and why.
    failure : str, default ""
        Why the forms are not equal, in words; empty: nothing here says so.
    """

    name: str
    n_rows: int
    n_labels_differ: int
    n_moved: int
    largest: float
    note: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """Two forms of one version, compared on rows of every kind.

    Parameters
    ----------
    probes : tuple of Probe
        In the order in which they were made; it ends with the first that fails.
    refusals : Refusals
        What the native form refuses and the compiled one must be made to refuse.
    """

    probes: tuple[Probe, ...]
    refusals: Refusals

    @property
    def failure(self) -> str:
        """Why the forms are not equal; empty when they are."""
        return next((f"{each.name}: {each.failure}" for each in self.probes if each.failure), "")


@dataclass(frozen=True, slots=True)
class CompiledForm:
    """In which form a version is served under the present runtime, and why.

    Parameters
    ----------
    form : {"compiled", "native"}
        The faster of two equal forms.
    reason : str
        In words.
    graph : str or None, default None
        Digest of the graph in the store, where the form is compiled.
    graph_bytes : int, default 0
        Its size.
    refusals : Refusals
        What the compiled form refuses because the native one does.
    probes : tuple of Probe
        What was compared.
    native_ms, compiled_ms : tuple of float, milliseconds
        Median time of a call with 1 row and with 64 rows; NaN where it was not measured.
    compile_s : float, seconds
        What the conversion took.
    """

    form: Form
    reason: str
    graph: str | None = None
    graph_bytes: int = 0
    refusals: Refusals = field(default_factory=Refusals)
    probes: tuple[Probe, ...] = ()
    native_ms: tuple[float, ...] = (math.nan, math.nan)
    compiled_ms: tuple[float, ...] = (math.nan, math.nan)
    compile_s: float = math.nan


def read_form(db: Database, version_id: str, key: str) -> CompiledForm | None:
    """Return the record of a version under a runtime; None where nobody has checked it yet.

    Parameters
    ----------
    db : Database
        Of the registry.
    version_id : str
        The version.
    key : str
        `renewal.models.onnx_convert.compile_key` of its adapter.
    """
    with db.read() as connection:
        body = connection.execute(
            select(compiled_forms.c.body).where(
                compiled_forms.c.version_id == version_id, compiled_forms.c.runtime == key
            )
        ).scalar()
    return None if body is None else from_plain(CompiledForm, body)


def write_form(
    db: Database, version_id: str, key: str, found: CompiledForm, *, at: datetime
) -> None:
    """Write the record of a version under a runtime, in place of one that is there.

    Parameters
    ----------
    db, version_id, key
        As for `read_form`.
    found : CompiledForm
        Its graph must be in the store by now.
    at : datetime
        Now.
    """
    where = compiled_forms.c.version_id == version_id, compiled_forms.c.runtime == key
    values = {"version_id": version_id, "runtime": key, "body": to_plain(found), "at": at}
    with db.transaction() as connection:
        connection.execute(delete(compiled_forms).where(*where))
        connection.execute(insert(compiled_forms).values(**values))


def forget_forms(db: Database, version_id: str) -> tuple[str, ...]:
    """Delete the records of a version; return the graphs that no record names any more.

    Parameters
    ----------
    db : Database
        Of the registry.
    version_id : str
        One whose bytes are gone.
    """
    with db.transaction() as connection:
        own = connection.execute(
            select(compiled_forms.c.body).where(compiled_forms.c.version_id == version_id)
        ).scalars()
        graphs = {str(body["graph"]) for body in own if body.get("graph")}
        connection.execute(delete(compiled_forms).where(compiled_forms.c.version_id == version_id))
        others = connection.execute(select(compiled_forms.c.body)).scalars()
        return tuple(sorted(graphs - {str(body.get("graph")) for body in others}))


def recorded_graphs(db: Database) -> tuple[str, ...]:
    """Return the digests of graphs that any record names: no sweep may take them.

    Parameters
    ----------
    db : Database
        Of the registry.
    """
    with db.read() as connection:
        bodies = connection.execute(select(compiled_forms.c.body)).scalars()
        return tuple(sorted({str(body["graph"]) for body in bodies if body.get("graph")}))
