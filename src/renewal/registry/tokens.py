"""API tokens: who may ask a server for what, stored as digests.

A token is ``rnw_<id>_<secret>``: the id is public and tells one token from another in lists and
logs, the secret is 32 random bytes in base 32. The fixed form lets scanners of repositories
find one that leaked::

    rnw_[a-z2-7]{8}_[a-z2-7]{52}
"""

from __future__ import annotations

import re
import secrets
from base64 import b32encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any, Literal, cast, get_args

from sqlalchemy import Connection, func, insert, select, update

from renewal.core.clock import Clock, aware, to_us
from renewal.core.errors import Conflict, Invalid, NotFound
from renewal.registry.db import Database
from renewal.registry.events import append_event, check_length
from renewal.registry.lookup import find_model
from renewal.registry.tables import tokens
from renewal.registry.wake import Bell

Scope = Literal["predict", "feedback", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

_HOME = ""  # the log of what is no single model's
_ID_BYTES, _SECRET_BYTES = 5, 32
_WHO_LENGTH = 128
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,127}")


@dataclass(frozen=True, slots=True)
class Token:
    """What a home knows of a token; the secret is not among it.

    Parameters
    ----------
    id : str
        The public part of the token itself.
    name : str
        Whose it is, or what for; never given twice.
    scopes : tuple of {"predict", "feedback", "operate"}
        What it may do. None includes another.
    models : tuple of str
        For which models only; empty: for all.
    last_four : str
        The end of the secret, to find out which one somebody holds.
    created_at, expires_at, revoked_at : datetime or None
        None: it does not expire, or is not revoked.
    created_by, revoked_by : str
        Who did it; may be empty.
    digest : str
        Of the whole token, see `token_digest`.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...]
    last_four: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str
    digest: str = field(repr=False)

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """Return what it is at an instant; a revoked one is not also expired."""
        if self.revoked_at is not None:
            return "revoked"
        is_over = self.expires_at is not None and self.expires_at <= now
        return "expired" if is_over else "valid"


class TokenShelf:
    """The verbs of a `Registry` on tokens; it is one of these, and no other class is."""

    db: Database
    _clock: Clock
    _bell: Bell

    def add_token(
        self,
        name: str,
        scopes: Iterable[str],
        expires_at: datetime | None = None,
        *,
        models: Iterable[str] = (),
        who: str = "",
    ) -> str:
        """Make a token and return it whole: the only time that its secret is to be seen.

        Parameters
        ----------
        name : str, at most 128 letters, digits and ``_.@-``
            Whose it is, or what for.
        scopes : iterable of {"predict", "feedback", "operate"}
            What it may do, at least one thing.
        expires_at : datetime or None
            From when on it is refused; None: never.
        models : iterable of str
            For which models only; empty: for all, those to come included.
        who : str, at most 128 characters, default ""
            Who makes it, for the log.

        Returns
        -------
        str
            ``rnw_<id>_<secret>``.

        Raises
        ------
        Conflict
            When the name is taken, be it by one that was revoked: the log speaks by names.
        NotFound
            When a model is unknown.
        Invalid
            When the name is none, a scope is unknown or there is none, or `expires_at` is past
            or naive.
        """
        chosen = _scopes(scopes)
        _check_name(name)
        check_length("who", who, _WHO_LENGTH)
        named = tuple(sorted(set(models)))
        id_, secret = _text(_ID_BYTES), _text(_SECRET_BYTES)
        token = f"rnw_{id_}_{secret}"
        with self.db.transaction() as connection:
            at = self._clock.now()
            _check_expiry(expires_at, at)
            for model in named:
                find_model(connection, model)
            if name in _names(connection):
                raise Conflict(
                    "Registry.add_token",
                    needs="a name that no token has had",
                    came=repr(name),
                    todo="Choose another; to replace a token, make the new one, hand it over, "
                    "then revoke the old.",
                )
            connection.execute(
                insert(tokens).values(
                    id=id_,
                    name=name,
                    digest=token_digest(token.encode()),
                    last_four=secret[-4:],
                    scopes=list(chosen),
                    models=list(named),
                    created_at=at,
                    created_by=who,
                    expires_at=expires_at,
                    revoked_by="",
                )
            )
            details = {"scopes": chosen, "expires_at": expires_at}
            token_facts = (name, id_, named)
            _note(connection, at, "token_made", who=who, token=token_facts, more=details)
        self._bell.ring()
        return token

    def tokens(self) -> tuple[Token, ...]:
        """Return every token that was ever made, oldest first, without its secret."""
        with self.db.read() as connection:
            found = connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))
            return tuple(map(_token, found))

    def tokens_mark(self) -> tuple[int, ...]:
        """Return numbers that differ after any change of a token: cheaper than `tokens`."""
        numbers = select(
            func.count(),
            func.count(tokens.c.revoked_at),
            func.max(tokens.c.created_at),
            func.max(tokens.c.revoked_at),
        ).select_from(tokens)
        with self.db.read() as connection:
            n, n_revoked, *newest = connection.execute(numbers).one()
        return n, n_revoked, *(to_us(at) if at else 0 for at in newest)

    def revoke_token(self, name: str, *, who: str = "") -> Token:
        """Revoke a token for ever; every server refuses it after its next poll.

        Parameters
        ----------
        name : str
            Of the token. One that is revoked already stays as it is.
        who : str, at most 128 characters, default ""
            Who revokes it, for the log.

        Returns
        -------
        Token
            As it is now.

        Raises
        ------
        NotFound
            When there is no such token; the nearest name is offered.
        """
        check_length("who", who, _WHO_LENGTH)
        by_name = select(tokens).where(tokens.c.name == name)
        with self.db.transaction() as connection:
            row = connection.execute(by_name).one_or_none()
            if row is None:
                raise _no_token(name, _names(connection))
            found = _token(row)
            if found.revoked_at is not None:
                return found
            at = self._clock.now()
            connection.execute(
                update(tokens).where(tokens.c.name == name).values(revoked_at=at, revoked_by=who)
            )
            token_facts = (name, found.id, found.models)
            _note(connection, at, "token_revoked", who=who, token=token_facts)
            revoked = _token(connection.execute(by_name).one())
        self._bell.ring()
        return revoked


def token_digest(token: bytes) -> str:
    """Return what is stored of a token: BLAKE2b of all its bytes, 64 hexadecimal digits.

    Notes
    -----
    A plain, quick digest is right here, and the slow ones that passwords need are not. Those
    make guessing costly because people choose guessable words; the secret of a token is 256
    random bits, which nobody guesses at any speed, and each request pays for the digest.

    A server finds a token by its digest, so no comparison tells by its time how much of a
    guess was right: another secret has another digest from its first bit on.

    Examples
    --------
    >>> token_digest(b"rnw_aaaaaaaa_b")[:8]
    '6d2dd5ca'
    """
    return blake2b(token, digest_size=32).hexdigest()


def _text(n_bytes: int) -> str:
    """Return random bytes as lower-case letters and digits: a double click selects them all."""
    return b32encode(secrets.token_bytes(n_bytes)).decode().rstrip("=").lower()


def _scopes(scopes: Iterable[str]) -> tuple[Scope, ...]:
    # A text is an iterable of its letters; none of them is a scope, so it is told like others.
    asked = [scopes] if isinstance(scopes, str) else list(scopes)
    wrong = [scope for scope in asked if scope not in SCOPES]
    if wrong or not asked:
        near = get_close_matches(str(wrong[0]), SCOPES, n=1) if wrong else []
        raise Invalid(
            "Registry.add_token",
            needs=f"scopes among {', '.join(SCOPES)}",
            came=", ".join(map(repr, wrong)) or "none",
            todo=f"Did you mean {near[0]!r}?" if near else "Name at least one of them.",
        )
    return tuple(scope for scope in SCOPES if scope in asked)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(
            "Registry.add_token",
            needs="a name of at most 128 letters, digits and _.@-, starting with one of the first",
            came=f"{name!r:.80}",
            todo="Name it by who holds it, such as ci or ada@example.org.",
        )


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and aware(expires_at, who="Registry.add_token") <= now:
        raise Invalid(
            "Registry.add_token",
            needs="an expiry that is still to come",
            came=f"{expires_at.isoformat()}, and it is {now.isoformat()}",
            todo="Give a later one, or none.",
        )


def _names(connection: Connection) -> Sequence[str]:
    return connection.execute(select(tokens.c.name).order_by(tokens.c.name)).scalars().all()


def _no_token(name: str, known: Sequence[str]) -> NotFound:
    near = get_close_matches(name, known, n=1)
    return NotFound(
        "Registry.revoke_token",
        needs=f"a token of this home: {', '.join(known[:20]) or '(none)'}",
        came=f"{name!r:.80}",
        todo=f"Did you mean {near[0]!r}?" if near else "See renewal token list.",
    )


def _note(
    connection: Connection,
    at: datetime,
    kind: str,
    *,
    who: str,
    token: tuple[str, str, tuple[str, ...]],
    more: dict[str, Any] | None = None,
) -> None:
    """Write into the home's log, and into those of the models that it is for."""
    name, id_, named = token
    facts = {"token": name, "token_id": id_, "models": named, **(more or {})}
    for model in (_HOME, *named):
        append_event(connection, at, model, kind, who=who, why="", details=facts)


def _token(row: Any) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        scopes=cast("tuple[Scope, ...]", tuple(row.scopes)),
        models=tuple(row.models),
        last_four=row.last_four,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        revoked_by=row.revoked_by,
        digest=row.digest,
    )
