"""The tables of the monitor: its state for each watched version, and its alarms."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table

from renewal.registry.db import UtcTime, metadata

monitor_states = Table(
    "monitor_states",
    metadata,
    Column("model", String(128), ForeignKey("models.name"), primary_key=True),
    Column("version_id", String(64), ForeignKey("versions.id"), primary_key=True),
    Column("body", JSON, nullable=False),
    Column("at", UtcTime, nullable=False),
)

alarms = Table(
    "alarms",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("version_id", String(64), ForeignKey("versions.id"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("body", JSON, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_alarms_model_id", "model", "id"),
)
