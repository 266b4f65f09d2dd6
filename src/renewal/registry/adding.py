"""Adding models, versions and verdicts, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select

from renewal.core.errors import Conflict, Invalid
from renewal.core.ids import new_id
from renewal.core.spec import ModelSpec
from renewal.core.verdict import Verdict
from renewal.core.version import Manifest, Version
from renewal.registry.codec import canonical, from_plain, manifest_plain, to_plain
from renewal.registry.events import append_event, check_length
from renewal.registry.lookup import find_model, require_version, version_of
from renewal.registry.tables import models, verdicts, versions
from renewal.store.digest import digest

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CREATED_BY_LENGTH = 128


def add_model(connection: Connection, spec: ModelSpec, at: datetime) -> ModelSpec:
    """Insert a model, or return the stored one where it is declared in the same words."""
    plain = connection.execute(select(models.c.spec).where(models.c.name == spec.name)).scalar()
    if plain is not None:
        stored = from_plain(ModelSpec, plain)
        _check_same(stored, spec)
        return stored
    connection.execute(insert(models).values(name=spec.name, spec=to_plain(spec), created_at=at))
    append_event(connection, at, spec.name, "created", who="", why="", details={"task": spec.task})
    return spec


def add_version(
    connection: Connection,
    manifest: Manifest,
    at: datetime,
    *,
    facts: Mapping[str, Any],
    who: str,
) -> Version:
    """Insert a version under the next number, or return the stored one of the same id."""
    plain = manifest_plain(manifest)
    id_ = digest(canonical(plain))
    same_id = select(versions).where(versions.c.id == id_)
    spec = find_model(connection, manifest.model)
    stored = connection.execute(same_id).one_or_none()
    if stored is not None:
        return version_of(stored)
    _check_fits(connection, spec, manifest)
    check_length("who", who, _CREATED_BY_LENGTH)
    newest = connection.execute(
        select(func.max(versions.c.number)).where(versions.c.model == spec.name)
    ).scalar()
    number = (newest or 0) + 1
    connection.execute(
        insert(versions).values(
            id=id_,
            model=spec.name,
            number=number,
            manifest=plain,
            facts=to_plain(facts),
            created_at=at,
            created_by=who,
        )
    )
    details = {
        "version": id_,
        "number": number,
        "strategy": manifest.strategy,
        "parent": manifest.parent,
    }
    append_event(connection, at, spec.name, "registered", who=who, why="", details=details)
    return version_of(connection.execute(same_id).one())


def add_verdict(connection: Connection, model: str, verdict: Verdict, at: datetime) -> str:
    """Insert a verdict and return its id."""
    find_model(connection, model)
    for version_id in (verdict.candidate, verdict.baseline):
        require_version(connection, model, version_id, "Registry.add_verdict")
    newest = connection.execute(select(func.max(verdicts.c.id))).scalar()
    id_ = id_after(newest)
    connection.execute(
        insert(verdicts).values(
            id=id_,
            model=model,
            candidate=verdict.candidate,
            baseline=verdict.baseline,
            outcome=verdict.outcome,
            body=to_plain(verdict),
            at=at,
        )
    )
    return id_


def id_after(newest: str | None) -> str:
    """Return a fresh id that sorts after `newest`, whatever the clock of this machine says.

    Two ids of one millisecond, or of two machines whose clocks differ, come in any order;
    what was decided first must be read first.

    Examples
    --------
    >>> id_after("7ZZZZZZZZZZZZZZZZZZZZZZZ9Z")
    '7ZZZZZZZZZZZZZZZZZZZZZZZA0'
    """
    fresh = new_id()
    if newest is None or fresh > newest:
        return fresh
    stem = newest.rstrip(_DIGITS[-1])
    up = _DIGITS[_DIGITS.index(stem[-1]) + 1]
    return (stem[:-1] + up).ljust(len(newest), _DIGITS[0])


def _check_same(stored: ModelSpec, spec: ModelSpec) -> None:
    names = [field.name for field in fields(ModelSpec)]
    differs = [name for name in names if getattr(stored, name) != getattr(spec, name)]
    if differs:
        was = ", ".join(f"{name}={getattr(stored, name)!r}" for name in differs)
        raise Conflict(
            "Registry.create_model",
            needs=f"the declaration of {spec.name!r} as it was made, with {was}",
            came=", ".join(f"{name}={getattr(spec, name)!r}" for name in differs),
            todo="Leave the declaration out, or choose another name for another model.",
            differs=differs,
        )


def _check_fits(connection: Connection, spec: ModelSpec, manifest: Manifest) -> None:
    if manifest.task != spec.task:
        raise Invalid(
            "Registry.add_version",
            needs=f"a version for the task {spec.task!r} of {spec.name!r}",
            came=f"one for {manifest.task!r}",
            todo="Register it under a model of its own task.",
        )
    if manifest.parent is not None:
        require_version(connection, spec.name, manifest.parent, "Registry.add_version")
