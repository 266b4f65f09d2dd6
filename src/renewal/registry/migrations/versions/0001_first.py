"""The first schema: registry, data, gate, monitor, rollout, loop.

Instants are whole microseconds since 1970-01-01 UTC. Events and verdicts are evidence:
triggers refuse to change or delete them, whoever asks.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_EVIDENCE = ("events", "verdicts")


def upgrade() -> None:
    """Make every table."""
    _registry()
    _outbox()
    _data_and_gate()
    _monitor_and_rollout()
    _loop()
    for table in _EVIDENCE:
        _keep_for_ever(table)


def downgrade() -> None:
    """Drop every table: the data of a home is lost."""
    tables = (
        *("steps", "runs", "rollouts", "alarms", "monitor_states", "gate_looks"),
        *("snapshot_leases", "leases", "plans", "verdicts", "events", "aliases"),
        *("versions", "models"),
    )
    for table in tables:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION renewal_refuse()")


def _model() -> sa.Column[str]:
    return sa.Column("model", sa.String(128), sa.ForeignKey("models.name"), nullable=False)


def _version(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(64), sa.ForeignKey("versions.id"), nullable=False)


def _at(name: str = "at", *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _number() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True)


def _json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=nullable)


def _text(name: str, length: int | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _registry() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.String(128), primary_key=True),
        _json("spec"),
        _at("created_at"),
    )
    op.create_table(
        "versions",
        sa.Column("id", sa.String(64), primary_key=True),
        _model(),
        _integer("number"),
        _json("manifest"),
        _json("facts"),
        _at("created_at"),
        _text("created_by", 128),
        sa.UniqueConstraint("model", "number", name="uq_versions_model_number"),
    )
    op.create_table(
        "aliases",
        sa.Column("model", sa.String(128), sa.ForeignKey("models.name"), primary_key=True),
        sa.Column("alias", sa.String(64), primary_key=True),
        _version("version_id"),
        _at("moved_at"),
    )
    op.create_table(
        "events",
        _number(),
        _at(),
        _text("model", 128),
        _text("kind", 32),
        _text("who", 128),
        _text("why"),
        _json("details"),
    )
    op.create_index("ix_events_model_id", "events", ["model", "id"])
    op.create_table(
        "verdicts",
        sa.Column("id", sa.String(26), primary_key=True),
        _model(),
        _version("candidate"),
        _version("baseline"),
        _text("outcome", 16),
        _json("body"),
        _at(),
    )
    op.create_index("ix_verdicts_model_id", "verdicts", ["model", "id"])


def _outbox() -> None:
    op.create_table("plans", _number(), _model(), _json("body"), _at())
    op.create_index("ix_plans_model_id", "plans", ["model", "id"])
    op.create_table(
        "leases",
        sa.Column("resource", sa.String(256), primary_key=True),
        _text("holder", 128),
        _integer("fence"),
        _at("expires_at"),
    )


def _data_and_gate() -> None:
    op.create_table(
        "snapshot_leases",
        sa.Column("version_id", sa.String(64), sa.ForeignKey("versions.id"), primary_key=True),
        _model(),
        _integer("rows"),
        _integer("predictions"),
        _integer("labels"),
        _at("taken_at"),
    )
    op.create_table(
        "gate_looks",
        _number(),
        _model(),
        _version("candidate"),
        _version("baseline"),
        _text("look", 16),
        _text("outcome", 16),
        sa.Column("alpha", sa.Float(), nullable=False),
        _integer("n_rows"),
        _integer("n_blocks"),
        _at("judged_from_us"),
        _at("judged_until_us"),
        _at(),
    )
    op.create_index("ix_gate_looks_model_id", "gate_looks", ["model", "id"])


def _monitor_and_rollout() -> None:
    op.create_table(
        "monitor_states",
        sa.Column("model", sa.String(128), sa.ForeignKey("models.name"), primary_key=True),
        sa.Column("version_id", sa.String(64), sa.ForeignKey("versions.id"), primary_key=True),
        _json("body"),
        _at(),
    )
    op.create_table(
        "alarms",
        _number(),
        _model(),
        _version("version_id"),
        _text("kind", 32),
        _json("body"),
        _at(),
    )
    op.create_index("ix_alarms_model_id", "alarms", ["model", "id"])
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(26), primary_key=True),
        _model(),
        _version("candidate"),
        _version("champion"),
        _text("stage", 16),
        _json("body"),
        _at("started_at"),
        _at("updated_at"),
    )
    op.create_index("ix_rollouts_model_id", "rollouts", ["model", "id"])


def _loop() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String(26), primary_key=True),
        _model(),
        _text("kind", 32),
        _json("spec"),
        _text("state", 16),
        _json("outcome", nullable=True),
        _at("started_at"),
        _at("ended_at", nullable=True),
    )
    op.create_index("ix_runs_model_id", "runs", ["model", "id"])
    op.create_table(
        "steps",
        sa.Column("run", sa.String(26), sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("name", sa.String(128), primary_key=True),
        _integer("seq"),
        _text("input_hash", 64),
        _integer("attempt"),
        _text("state", 16),
        _integer("fence"),
        _json("output", nullable=True),
        _at("started_at"),
        _at("ended_at", nullable=True),
    )


def _keep_for_ever(table: str) -> None:
    """Let the database itself refuse UPDATE and DELETE."""
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_refuse_{what.lower()} BEFORE {what} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
            )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION renewal_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% are append-only', TG_TABLE_NAME; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION renewal_refuse()"
    )
