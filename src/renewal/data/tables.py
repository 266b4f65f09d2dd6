"""The tables of the feeds: which snapshot which version holds a lease on."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Integer, String, Table

from renewal.registry.db import UtcTime, metadata

snapshot_leases = Table(
    "snapshot_leases",
    metadata,
    Column("version_id", String(64), ForeignKey("versions.id"), primary_key=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("predictions", Integer, nullable=False),
    Column("labels", Integer, nullable=False),
    Column("taken_at", UtcTime, nullable=False),
)
