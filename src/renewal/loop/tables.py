"""The tables of the journal: runs, and the steps that each of them has finished."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table

from renewal.registry.db import UtcTime, metadata

runs = Table(
    "runs",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("outcome", JSON, nullable=True),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=True),
    Index("ix_runs_model_id", "model", "id"),
)

steps = Table(
    "steps",
    metadata,
    Column("run", String(26), ForeignKey("runs.id"), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("input_hash", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("output", JSON, nullable=True),
    Column("started_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime, nullable=True),
)
