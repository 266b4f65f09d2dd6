"""The tables of the registry: models, versions, aliases, events, verdicts, plans, tokens."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Index, Integer, String, Table, UniqueConstraint

from renewal.registry.db import UtcTime, metadata

models = Table(
    "models",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("spec", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", String(128), nullable=False),
    UniqueConstraint("model", "number", name="uq_versions_model_number"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", String(128), ForeignKey("models.name"), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("version_id", String(64), ForeignKey("versions.id"), nullable=False),
    Column("moved_at", UtcTime, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    Column("model", String(128), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("who", String(128), nullable=False),
    Column("why", String, nullable=False),
    Column("details", JSON, nullable=False),
    Index("ix_events_model_id", "model", "id"),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("candidate", String(64), ForeignKey("versions.id"), nullable=False),
    Column("baseline", String(64), ForeignKey("versions.id"), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("body", JSON, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_verdicts_model_id", "model", "id"),
)

# The outbox of the servers: one row for every change of a model's traffic, in order.
plans = Table(
    "plans",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("body", JSON, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_plans_model_id", "model", "id"),
)

leases = Table(
    "leases",
    metadata,
    Column("resource", String(256), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
)

# What is stored of a token is a digest: see `renewal.registry.tokens`.
tokens = Table(
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("last_four", String(4), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("models", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("created_by", String(128), nullable=False),
    Column("expires_at", UtcTime, nullable=True),
    Column("revoked_at", UtcTime, nullable=True),
    Column("revoked_by", String(128), nullable=False),
    UniqueConstraint("name", name="uq_tokens_name"),
    UniqueConstraint("digest", name="uq_tokens_digest"),
)
