"""The table of evaluation: scores that need not be computed twice."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, String, Table

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
