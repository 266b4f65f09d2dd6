"""The table of the rollouts: one row each, with the state of its machine."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, String, Table

from renewal.registry.db import UtcTime, metadata

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("candidate", String(64), ForeignKey("versions.id"), nullable=False),
    Column("champion", String(64), ForeignKey("versions.id"), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("body", JSON, nullable=False),
    Column("started_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Index("ix_rollouts_model_id", "model", "id"),
)
