"""The guard: which request may do what, by its API token, from memory.

A request brings its token as ``Authorization: Bearer <token>`` or ``X-API-Key: <token>``. The
rules, where they could be doubted:

- The scheme ``bearer`` is read in any case, with any spaces around the token. Another scheme,
  or a text that does not start as our tokens do, is somebody else's, such as a gateway's, and
  is passed over.
- A token that is repeated counts once; two different ones are refused, because a proxy may have
  checked the other.
- What is longer than any token is unknown, and is not hashed.
- A token that was revoked or is over says so: only who holds it can see that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from renewal.core.clock import Clock, to_us
from renewal.core.errors import Refused, RenewalError, Unavailable
from renewal.registry.registry import Registry
from renewal.registry.tokens import Scope, Token, token_digest
from renewal.serve.options import Tokens

_LOG = logging.getLogger("renewal.serve")

Need = Scope | Literal["any"]
"""What a request needs: a scope, or any valid token."""

NOT_YET = ""
"""For a model that is known only once the body is read: check the scope now, the model then."""

Headers = Sequence[tuple[bytes, bytes]]

_BEARER, _KEY = b"authorization", b"x-api-key"
_SCHEME = b"bearer"
_OURS = b"rnw_"
_LONGEST = 128  # bytes of a token; ours have 66
_MAX_CACHED = 4096  # header values that are known to be good
_BLANKS = b" \t"
_BLANK = (b" ", b"\t")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A token as the request path needs it."""

    name: str
    scopes: frozenset[str]
    models: frozenset[str]
    expires_us: int | None
    is_revoked: bool


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the registry held at a poll. The cache dies with it, so it is never stale.

    It holds good header values only: what is unknown cannot push them out.
    """

    mark: tuple[int, ...]
    entries: Mapping[str, _Entry]
    seen: dict[tuple[bytes, bytes], _Entry] = field(default_factory=dict)


class Guard:
    """Says whether a request may pass.

    Parameters
    ----------
    registry : Registry
        Holds the tokens.
    required : {"when_any", "required"}
        Whether requests need a token: where the registry has ever held one, or always. One that
        is revoked or over counts: the last one's end does not open the server.
    clock : Clock
        By which tokens expire.

    Notes
    -----
    `check` reads one pointer, takes no lock and asks no database: about a microsecond with a
    token, 0.1 where none is needed. The follower calls `poll` with each of its own polls and
    before the server is ready, so a revocation holds everywhere within ``poll_s`` and what one
    SELECT takes. Where the registry is away, the tokens of the last poll go on being good.
    Before the first poll nothing passes.
    """

    def __init__(self, registry: Registry, required: Tokens, clock: Clock) -> None:
        self.is_open = False
        self._registry = registry
        self._is_required = required == "required"
        self._clock = clock
        self._snapshot: _Snapshot | None = None
        self._is_away = False

    def poll(self) -> None:
        """Read the tokens of the registry; whatever fails is logged once, and changes nothing."""
        try:
            mark = self._registry.tokens_mark()
            if self._snapshot is None or self._snapshot.mark != mark:
                entries = {each.digest: _entry(each) for each in self._registry.tokens()}
                self._snapshot = _Snapshot(mark, entries)
        except Exception:  # noqa: BLE001  # the worker border: the registry may be away
            if not self._is_away:
                _LOG.exception("tokens could not be read; those known stay good")
            self._is_away = True
            return
        if self._is_away:
            self._is_away = False
            _LOG.info("tokens are read again")
        self.is_open = not self._snapshot.entries and not self._is_required

    def check(self, headers: Headers, need: Need, model: str | None = None) -> RenewalError | None:
        """Return why a request is refused; None where it may pass.

        Parameters
        ----------
        headers : sequence of (bytes, bytes)
            Names in lower case; of gRPC, `headers_of` its metadata.
        need : {"predict", "feedback", "operate", "any"}
            What it wants to do; see `scope_of`.
        model : str or None
            With which model; None: with none, or with all. A token for some models then passes
            only where any token does. `NOT_YET`: ask again when it is known.

        Returns
        -------
        RenewalError or None
            `Refused` with ``reason="token"`` (401) where no token is valid, without it (403)
            where a valid one does not reach as far; `Unavailable` before the first poll.
        """
        if self.is_open:
            return None
        snapshot = self._snapshot
        if snapshot is None:
            return _too_early()
        found = _token_in(headers, snapshot)
        if isinstance(found, str):
            return _no_entry(found)
        if found.is_revoked:
            return _no_entry("one that was revoked")
        if found.expires_us is not None and to_us(self._clock.now()) >= found.expires_us:
            return _no_entry("one that is over")
        return _out_of_reach(found, need, model)


def headers_of(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[bytes, bytes]]:
    r"""Return the metadata of a gRPC call as headers.

    Examples
    --------
    >>> headers_of([("Authorization", "Bearer rnw_a_b"), ("trace-bin", b"\x01")])
    [(b'authorization', b'Bearer rnw_a_b'), (b'trace-bin', b'\x01')]
    """
    return [
        (name.lower().encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in metadata
    ]


def _entry(token: Token) -> _Entry:
    return _Entry(
        name=token.name,
        scopes=frozenset(token.scopes),
        models=frozenset(token.models),
        expires_us=None if token.expires_at is None else to_us(token.expires_at),
        is_revoked=token.revoked_at is not None,
    )


def _token_in(headers: Headers, snapshot: _Snapshot) -> _Entry | str:
    """Return the token of a request, or what came instead of one."""
    found: _Entry | None = None
    came = ""
    for header in headers:
        name = header[0]
        if name != _BEARER and name != _KEY:  # noqa: PLR1714  # a set is slower, and this is each header of each request
            continue
        entry = snapshot.seen.get(header)
        if entry is None:
            token = _text_of(*header)
            if token is None:
                came = "an authorization that is no token of this server"
                continue
            entry = _known(token, snapshot)
            if entry is None:
                return "one that is not known"
            if len(snapshot.seen) >= _MAX_CACHED:
                snapshot.seen.clear()
            snapshot.seen[name, header[1]] = entry
        if found is not None and found is not entry:
            return "two different ones"
        found = entry
    return found or came or "none"


def _text_of(name: bytes, value: bytes) -> bytes | None:
    """Return the token in a header value; None where it is somebody else's."""
    token = value.strip(_BLANKS)
    if name == _BEARER:
        if token[: len(_SCHEME)].lower() != _SCHEME or token[len(_SCHEME) :][:1] not in _BLANK:
            return None
        token = token[len(_SCHEME) :].strip(_BLANKS)
    return token if token.startswith(_OURS) else None


def _known(token: bytes, snapshot: _Snapshot) -> _Entry | None:
    if len(token) > _LONGEST:
        return None
    return snapshot.entries.get(token_digest(token))


def _out_of_reach(found: _Entry, need: Need, model: str | None) -> Refused | None:
    if need != "any" and need not in found.scopes:
        return Refused(
            "the server",
            needs=f"a token with the scope {need!r}",
            came=f"token {found.name!r} with {', '.join(map(repr, sorted(found.scopes)))}",
            todo=f"Use one that has it; renewal token create NAME --scope {need} makes one.",
            scope=need,
        )
    is_about_none = model == NOT_YET or (model is None and need == "any")
    if not found.models or model in found.models or is_about_none:
        return None
    return Refused(
        "the server",
        needs=f"a token with the scope {need!r} for " + (f"model {model!r}" if model else "all"),
        came=f"token {found.name!r}, which is for {', '.join(sorted(found.models))} only",
        todo="Use another token" + ("." if model else ", or name one of its models in the URL."),
        scope=need,
    )


def _no_entry(came: str) -> Refused:
    return Refused(
        "the server",
        needs="a valid token",
        came=came,
        todo="Send the header 'Authorization: Bearer <token>'; renewal token create makes one.",
        reason="token",
    )


def _too_early() -> Unavailable:
    return Unavailable(
        "the server",
        needs="to have read the tokens of the registry",
        came="a request before that",
        todo="Try again in a moment.",
        retry_after_s=1.0,
    )
