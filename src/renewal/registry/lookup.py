"""Finding models, versions, aliases and verdicts by name, in the caller's transaction."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from sqlalchemy import Connection, select

from renewal.core.errors import Conflict, Corrupt, NotFound
from renewal.core.spec import ModelSpec
from renewal.core.verdict import Verdict
from renewal.core.version import Manifest, Version
from renewal.registry.codec import canonical, from_plain
from renewal.registry.tables import aliases, models, verdicts, versions
from renewal.store.digest import digest

_SHORTEST_PREFIX = 8
_NUMBER = re.compile(r"v?[0-9]{1,6}")  # longer ones are the start of an id
_HEX = frozenset("0123456789abcdef")


def find_model(connection: Connection, name: str) -> ModelSpec:
    """Return a model's specification, or raise `NotFound` with the nearest name."""
    plain = connection.execute(select(models.c.spec).where(models.c.name == name)).scalar()
    if plain is None:
        known = connection.execute(select(models.c.name).order_by(models.c.name)).scalars().all()
        raise NotFound(
            "Registry.model",
            needs="a model of this home",
            came=repr(name),
            todo=_nearest(name, known) or "Declare it: renewal train, or home.model(name, ...).",
            model=name,
        )
    return from_plain(ModelSpec, plain)


def find_version(connection: Connection, model: str, ref: str) -> Version:
    """Return the version that `ref` means: an alias, a number, an id or the start of one.

    Raises
    ------
    NotFound
        When the model, the alias or the version does not exist.
    Conflict
        When several ids start like this.
    """
    find_model(connection, model)
    where = [versions.c.model == model]
    if _NUMBER.fullmatch(ref):
        where.append(versions.c.number == int(ref.removeprefix("v")))
    else:
        id_ = pointed(connection, model, ref.removeprefix("@"))
        if id_ is not None:
            where.append(versions.c.id == id_)
        elif len(ref) >= _SHORTEST_PREFIX and _HEX.issuperset(ref):
            where.append(versions.c.id.startswith(ref))
        else:
            raise _no_version(connection, model, ref)
    rows = connection.execute(select(versions).where(*where).limit(2)).all()
    if not rows:
        raise _no_version(connection, model, ref)
    if len(rows) > 1:
        raise Conflict(
            "Registry.version",
            needs="one version",
            came=f"{ref!r}, the start of several ids",
            todo="Write more of the id.",
        )
    return version_of(rows[0])


def find_versions(connection: Connection, model: str) -> tuple[Version, ...]:
    """Return every version of a model in the order of their numbers."""
    found = connection.execute(
        select(versions).where(versions.c.model == model).order_by(versions.c.number)
    )
    return tuple(version_of(row) for row in found)


def find_lineage(connection: Connection, version_id: str) -> tuple[Version, ...]:
    """Return a version and its ancestors, the nearest first."""
    found = []
    at: str | None = version_id
    while at is not None:
        row = connection.execute(select(versions).where(versions.c.id == at)).one_or_none()
        if row is None:
            raise NotFound(
                "Registry.lineage",
                needs="the id of a version",
                came=repr(at),
                todo="Hand in `Version.id`, as Registry.version returns it.",
            )
        found.append(version_of(row))
        at = found[-1].manifest.parent
    return tuple(found)


def require_version(connection: Connection, model: str, version_id: str, who: str) -> None:
    """Raise `NotFound` unless `version_id` is the full id of a version of this model."""
    owner = connection.execute(select(versions.c.model).where(versions.c.id == version_id)).scalar()
    if owner != model:
        raise NotFound(
            who,
            needs=f"the id of a version of {model!r}",
            came=repr(version_id) + (f", a version of {owner!r}" if owner else ""),
            todo="Hand in `Version.id`, as Registry.version returns it.",
            model=model,
        )


def pointed(connection: Connection, model: str, alias: str) -> str | None:
    """Return the id of the version at which an alias points; None where there is none."""
    return connection.execute(
        select(aliases.c.version_id).where(aliases.c.model == model, aliases.c.alias == alias)
    ).scalar()


def find_verdict(connection: Connection, verdict_id: str, model: str | None = None) -> Verdict:
    """Return a verdict by its id, or raise `NotFound`; of `model` where one is given."""
    row = connection.execute(select(verdicts).where(verdicts.c.id == verdict_id)).one_or_none()
    if row is None or model not in (None, row.model):
        raise NotFound(
            "Registry.verdict",
            needs="the id of a verdict" + (f" of {model!r}" if model else ""),
            came=repr(verdict_id),
            todo="See renewal log, or Registry.verdicts(model).",
        )
    return from_plain(Verdict, row.body)


def version_of(row: Any) -> Version:
    """Read a row of `versions`; raise `Corrupt` when its manifest has another digest."""
    found = digest(canonical(row.manifest))
    if found != row.id:
        raise Corrupt(
            "Registry.version",
            needs=f"a manifest of digest {row.id}",
            came=f"one of digest {found}",
            todo="Restore the database from a backup: a version never changes.",
            digest=row.id,
        )
    return Version(
        id=row.id,
        number=row.number,
        manifest=from_plain(Manifest, row.manifest),
        facts=from_plain(dict[str, Any], row.facts),
        created_at=row.created_at,
        created_by=row.created_by,
    )


def _no_version(connection: Connection, model: str, ref: str) -> NotFound:
    numbers = connection.execute(
        select(versions.c.number).where(versions.c.model == model).order_by(versions.c.number)
    ).scalars()
    names = [f"v{number}" for number in numbers]
    known = connection.execute(
        select(aliases.c.alias).where(aliases.c.model == model).order_by(aliases.c.alias)
    ).scalars()
    points = [f"@{alias}" for alias in known]
    came = f"no versions yet, and {ref!r}" if not names else repr(ref)
    todo = _nearest(ref, [*names, *points, *(point[1:] for point in points)])
    return NotFound(
        "Registry.version",
        needs=f"a version of {model!r}: " + (", ".join([*points, *names[-5:]]) or "any"),
        came=came,
        todo=todo or "Write v3, @champion, or at least 8 digits of an id.",
        model=model,
    )


def _nearest(name: str, known: Any) -> str:
    near = get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def pointers(connection: Connection) -> dict[str, dict[str, str]]:
    """Return where every alias of every model points, in one query."""
    found: dict[str, dict[str, str]] = {}
    for row in connection.execute(select(aliases)):
        found.setdefault(row.model, {})[row.alias] = row.version_id
    return found
