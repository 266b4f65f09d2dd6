"""The tables of evaluation: what need not be computed twice."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, String, Table

from renewal.registry.db import UtcTime, metadata

score_cache = Table(
    "score_cache",
    metadata,
    Column("version_id", String(64), ForeignKey("versions.id"), primary_key=True),
    # Of the rows' keys and arrivals, in their order.
    Column("rows", String(64), primary_key=True),
    Column("form", String(16), primary_key=True),
    # Of the scores in the store.
    Column("scores", String(64), nullable=False),
    Column("at", UtcTime, nullable=False),
)

compiled_forms = Table(
    "compiled_forms",
    metadata,
    Column("version_id", String(64), ForeignKey("versions.id"), primary_key=True),
    # Names and versions of the converter and of the runtime: another one, another record.
    Column("runtime", String(128), primary_key=True),
    Column("body", JSON, nullable=False),
    Column("at", UtcTime, nullable=False),
)
