"""The tables of the gate: claims and their error, looks, approvals, requests for labels."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from renewal.registry.db import UtcTime, metadata

# One row for each candidate that was ever tested: its place in the life of the model, the
# level that this place granted, and what came of it.
gate_claims = Table(
    "gate_claims",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("claim", String(16), nullable=False),
    Column("number", Integer, nullable=False),
    Column("candidate", String(64), ForeignKey("versions.id"), nullable=False),
    Column("baseline", String(64), ForeignKey("versions.id"), nullable=False),
    Column("level", Float, nullable=False),
    Column("e_value", Float, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("opened_at", UtcTime, nullable=False),
    Column("decided_at", UtcTime, nullable=True),
    UniqueConstraint("model", "claim", "number", name="uq_gate_claims_model_claim_number"),
)

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
    # Of the key set of the rows that it used, and of the series that it was taken at.
    Column("rows", String(64), nullable=True),
    Column("series", JSON, nullable=True),
    Column("verdict", String(26), ForeignKey("verdicts.id"), nullable=True),
    Index("ix_gate_looks_model_id", "model", "id"),
)

gate_approvals = Table(
    "gate_approvals",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("candidate", String(64), ForeignKey("versions.id"), nullable=False),
    Column("verdict", String(26), ForeignKey("verdicts.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("who", String(128), nullable=False),
    Column("why", String, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Column("decided_at", UtcTime, nullable=True),
    Index("ix_gate_approvals_model_id", "model", "id"),
)

label_requests = Table(
    "label_requests",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("candidate", String(64), ForeignKey("versions.id"), nullable=False),
    Column("baseline", String(64), ForeignKey("versions.id"), nullable=False),
    Column("metric", String(64), nullable=False),
    Column("n_frame", Integer, nullable=False),
    Column("n_asked", Integer, nullable=False),
    # Of the frame: row keys, blocks, and the chance with which each was asked for.
    Column("frame", String(64), nullable=False),
    Column("made_at", UtcTime, nullable=False),
    Index("ix_label_requests_model_id", "model", "id"),
)
