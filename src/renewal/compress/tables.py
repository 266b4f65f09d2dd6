"""The table of compression: what came of each trial, so that none is done twice."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, String, Table

from renewal.registry.db import UtcTime, metadata

compress_trials = Table(
    "compress_trials",
    metadata,
    # Of everything that the trial depends on; see `renewal.compress.trial.Trial`.
    Column("key", String(64), primary_key=True),
    Column("model", String(128), ForeignKey("models.name"), nullable=False),
    Column("body", JSON, nullable=False),
    Column("at", UtcTime, nullable=False),
)
