"""The gate for life: claims with their levels, approvals, label requests, cached scores."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and let a look say which rows it used."""
    _claims()
    _approvals()
    _label_requests()
    op.create_table(
        "score_cache",
        sa.Column("version_id", sa.String(64), sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("rows", sa.String(64), primary_key=True),
        sa.Column("form", sa.String(16), primary_key=True),
        sa.Column("scores", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    with op.batch_alter_table("gate_looks") as table:
        table.add_column(sa.Column("rows", sa.String(64), nullable=True))
        table.add_column(sa.Column("series", sa.JSON(), nullable=True))
        table.add_column(sa.Column("verdict", sa.String(26), nullable=True))
        table.create_foreign_key("fk_gate_looks_verdict", "verdicts", ["verdict"], ["id"])


def downgrade() -> None:
    """Drop the tables: levels that were spent are forgotten."""
    with op.batch_alter_table("gate_looks") as table:
        table.drop_constraint("fk_gate_looks_verdict", type_="foreignkey")
        for name in ("verdict", "series", "rows"):
            table.drop_column(name)
    for name in ("score_cache", "label_requests", "gate_approvals", "gate_claims"):
        op.drop_table(name)


def _number() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True)


def _model() -> sa.Column[str]:
    return sa.Column("model", sa.String(128), sa.ForeignKey("models.name"), nullable=False)


def _version(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), sa.ForeignKey("versions.id"), nullable=False)


def _text(name: str, length: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _float(name: str) -> sa.Column[float]:
    return sa.Column(name, sa.Float(), nullable=False)


def _at(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _claims() -> None:
    op.create_table(
        "gate_claims",
        _number(),
        _model(),
        _text("claim", 16),
        _integer("number"),
        _version("candidate"),
        _version("baseline"),
        _float("level"),
        _float("e_value"),
        _text("outcome", 16),
        _at("opened_at"),
        _at("decided_at", nullable=True),
        sa.UniqueConstraint("model", "claim", "number", name="uq_gate_claims_model_claim_number"),
    )


def _approvals() -> None:
    op.create_table(
        "gate_approvals",
        _number(),
        _model(),
        _version("candidate"),
        sa.Column("verdict", sa.String(26), sa.ForeignKey("verdicts.id"), nullable=False),
        _text("state", 16),
        _text("who", 128),
        _text("why"),
        _at("asked_at"),
        _at("expires_at"),
        _at("decided_at", nullable=True),
    )
    op.create_index("ix_gate_approvals_model_id", "gate_approvals", ["model", "id"])


def _label_requests() -> None:
    op.create_table(
        "label_requests",
        sa.Column("id", sa.String(26), primary_key=True),
        _model(),
        _version("candidate"),
        _version("baseline"),
        _text("metric", 64),
        _integer("n_frame"),
        _integer("n_asked"),
        _text("frame", 64),
        _at("made_at"),
    )
    op.create_index("ix_label_requests_model_id", "label_requests", ["model", "id"])
