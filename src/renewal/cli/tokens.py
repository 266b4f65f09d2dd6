"""Commands on API tokens: ``token create``, ``token list``, ``token revoke``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from renewal.cli.opening import open_existing
from renewal.cli.options import DEFAULT_HOME, DatabaseOption, HomeOption, JsonOption, WhoOption
from renewal.cli.show import answer, table
from renewal.core.duration import parse_duration
from renewal.core.errors import Invalid

if TYPE_CHECKING:
    from renewal.registry.tokens import Token

_Name = Annotated[str, typer.Argument(help="Whose it is, or what for.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(
        help="Make, list and revoke the API tokens of servers.", no_args_is_help=True
    )
    for command in (create, revoke):
        group.command()(command)
    group.command(name="list")(list_tokens)
    app.add_typer(group, name="token")


def create(
    name: _Name,
    scope: Annotated[
        list[str], typer.Option(help="predict, feedback or operate; repeat it for several.")
    ],
    model: Annotated[
        list[str] | None, typer.Option(help="For this model only; repeat it. Default: all.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="Such as 90d or 2027-01-01. Default: never.")
    ] = None,
    who: WhoOption = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, this once: a server's log and registry do not hold it."""
    with open_existing(home, database) as opened:
        until = _expiry(expires, opened.clock.now())
        token = opened.registry.add_token(name, scope, until, models=model or (), who=who or "")
        made = next(each for each in opened.registry.tokens() if each.name == name)
        value = {"token": token, **_plain(made, opened.clock.now())}
    if as_json:
        answer(value, as_json=True)
        return
    # Unwrapped, and alone on standard output: TOKEN=$(renewal token create ...).
    sys.stdout.write(f"{token}\n")
    sys.stderr.write("Keep it now: it is not shown again. Clients send it as\n")
    sys.stderr.write("  Authorization: Bearer <token>\n")


def list_tokens(
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every token that was ever made, without its secret."""
    with open_existing(home, database) as opened:
        now = opened.clock.now()
        values = [_plain(each, now) for each in opened.registry.tokens()]
    columns = ("name", "id", "ends in", "scopes", "models", "made", "by", "expires", "state")
    rows = [
        (
            each["name"],
            each["id"],
            each["last_four"],
            " ".join(each["scopes"]),
            " ".join(each["models"]) or "all",
            _day(each["created_at"]),
            each["created_by"],
            _day(each["expires_at"]) or "never",
            each["state"],
        )
        for each in values
    ]
    answer(values, as_json=as_json, text=[table(columns, rows)] if rows else ["no token yet"])


def revoke(
    name: _Name,
    who: WhoOption = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a token for ever; servers refuse it within a second."""
    with open_existing(home, database) as opened:
        found = opened.registry.revoke_token(name, who=who or "")
        value = _plain(found, opened.clock.now())
    answer(value, as_json=as_json, text=[f"{name}: revoked {_day(found.revoked_at)}"])


def _expiry(text: str | None, now: datetime) -> datetime | None:
    """Return the instant that ``90d`` or ``2027-01-01`` means; without an offset in UTC.

    Examples
    --------
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> _expiry("2d", at).isoformat(), _expiry("2027-01-01", at).isoformat()
    ('2026-01-03T00:00:00+00:00', '2027-01-01T00:00:00+00:00')
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now + parse_duration(text)
        except (Invalid, OverflowError) as error:
            raise Invalid(
                "renewal token create --expires",
                needs="a duration or an ISO date",
                came=repr(text),
                todo="Write, for example, 90d or 2027-01-01.",
            ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _plain(token: Token, now: datetime) -> dict[str, Any]:
    return {
        "name": token.name,
        "id": token.id,
        "last_four": token.last_four,
        "scopes": token.scopes,
        "models": token.models,
        "created_at": token.created_at,
        "created_by": token.created_by,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "revoked_by": token.revoked_by,
        "state": token.state(now),
    }


def _day(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d}"
