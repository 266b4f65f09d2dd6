"""The table of the gate: every look at evidence, and the error it spent."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, String, Table

from renewal.registry.db import UtcTime, metadata

gate_looks = Table(
    "gate_looks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("candidate", String(64), ForeignKey("versions.id"), nullable=False),
    Column("baseline", String(64), ForeignKey("versions.id"), nullable=False),
    Column("look", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("alpha", Float, nullable=False),
    Column("n_rows", Integer, nullable=False),
    Column("n_blocks", Integer, nullable=False),
    Column("judged_from_us", BigInteger, nullable=False),
    Column("judged_until_us", BigInteger, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_gate_looks_model_id", "model", "id"),
)
