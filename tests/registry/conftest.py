"""A registry on SQLite and on a real PostgreSQL: the same tests run on both."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from renewal.core.clock import ReplayClock
from renewal.core.errors import Missing
from renewal.core.spec import Field, ModelSpec, Signature
from renewal.core.verdict import Outcome, Verdict
from renewal.core.version import Manifest, Version
from renewal.registry.db import Database
from renewal.registry.registry import Registry
from renewal.testing.postgres import empty_tables, new_database, scratch_postgres

START = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of an empty PostgreSQL that lives as long as the session."""
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    try:
        with scratch_postgres() as url:
            yield url
    except Missing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an SQLite file with every table, to be copied: quicker than a migration a test."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    Database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres: str) -> str:
    """Make a PostgreSQL database with every table, to be emptied for each test."""
    url = new_database(postgres)
    Database(url).close()
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with every table and no row, of each kind."""
    if request.param == "sqlite":
        path = tmp_path / "registry.db"
        shutil.copy(request.getfixturevalue("migrated"), path)
        return f"sqlite:///{path}"
    shared: str = request.getfixturevalue("migrated_postgres")
    empty_tables(shared)
    return shared


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without any table, of each kind, that no other test will see."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def clock() -> ReplayClock:
    return ReplayClock(START)


@pytest.fixture
def registry(db: Database, clock: ReplayClock) -> Registry:
    """Open a registry that knows the model ``flights``."""
    found = Registry(db, clock)
    found.create_model(ModelSpec("flights", "binary", "late"))
    return found


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        model="flights",
        task="binary",
        adapter="sklearn",
        artifact="ab" * 32,
        artifact_bytes=1000,
        signature=Signature((Field("temp", "float"), Field("carrier", "string"))),
        classes=(0, 1),
        strategy="train",
    )


@pytest.fixture
def grow(registry: Registry, manifest: Manifest) -> Callable[[int], list[Version]]:
    """Register so many versions, each with another seed."""
    return lambda n: [registry.add_version(replace(manifest, seed=seed)) for seed in range(n)]


@pytest.fixture
def judged() -> Callable[..., Verdict]:
    """Make a verdict on a candidate beside a baseline."""

    def make(candidate: str, baseline: str, outcome: Outcome = "accept") -> Verdict:
        return Verdict(
            outcome=outcome,
            candidate=candidate,
            baseline=baseline,
            claim="superior",
            loss="log_loss",
            gain=0.02,
            lower=0.01,
            upper=float("nan"),
            margin=0.0,
            smallest_gain=0.005,
            alpha=0.025,
            look="first",
            n_rows=5580,
            n_blocks=14,
            n_effective=9.5,
            n_seen=12,
            judged_from_us=1_357_000_000_000_000,
            judged_until_us=1_358_000_000_000_000,
            reason=f"The bound says {outcome}.",
            next_action="roll out",
        )

    return make
