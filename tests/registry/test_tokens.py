"""API tokens in the registry: what is stored, what is told, and who is named."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from renewal.core.clock import ReplayClock
from renewal.core.errors import Conflict, Invalid, NotFound, RenewalError
from renewal.core.spec import ModelSpec
from renewal.registry.registry import Registry
from renewal.registry.tables import events, tokens
from renewal.registry.tokens import token_digest

FORM = re.compile(r"rnw_[a-z2-7]{8}_[a-z2-7]{52}")
START = datetime(2013, 1, 1, tzinfo=UTC)


def test_a_token_has_the_form_that_scanners_look_for(registry: Registry) -> None:
    token = registry.add_token("ci", ["predict"])
    assert FORM.fullmatch(token)


def test_two_tokens_share_nothing(registry: Registry) -> None:
    one, two = (registry.add_token(name, ["predict"]) for name in "ab")
    assert one.split("_")[1] != two.split("_")[1]
    assert one.split("_")[2] != two.split("_")[2]


def test_what_is_kept_of_a_token(registry: Registry, clock: ReplayClock) -> None:
    until = START + timedelta(days=30)
    token = registry.add_token(
        "ci", ["operate", "predict", "predict"], until, models=["flights"], who="ada"
    )
    (found,) = registry.tokens()
    assert (found.name, found.scopes, found.models) == ("ci", ("predict", "operate"), ("flights",))
    assert (found.created_at, found.created_by, found.expires_at) == (START, "ada", until)
    assert (found.revoked_at, found.revoked_by) == (None, "")
    assert token.startswith(f"rnw_{found.id}_")
    assert token.endswith(found.last_four)
    assert found.digest == token_digest(token.encode())
    clock.move_to(until - timedelta(microseconds=1))
    assert found.state(clock.now()) == "valid"
    clock.move_to(until)
    assert found.state(clock.now()) == "expired"


def test_the_secret_is_nowhere_in_the_database(registry: Registry) -> None:
    """Breaks when a column, an event or a pickle of the record holds more than four letters."""
    token = registry.add_token("ci", ["predict"], models=["flights"], who="ada")
    registry.revoke_token("ci", who="bob")
    secret = token.split("_")[2]
    with registry.db.read() as connection:
        rows = [*connection.execute(select(tokens)), *connection.execute(select(events))]
    shown = [repr(rows), repr(registry.tokens()), str(pickle.dumps(registry.tokens()))]
    assert len(rows) >= 5
    for text in shown:
        assert secret not in text
        assert secret[:8] not in text


def test_the_secret_is_in_no_log(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """Breaks when a statement is logged with the token itself among its parameters."""
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO)
        try:
            token = registry.add_token("ci", ["predict"])
        finally:
            logging.getLogger("sqlalchemy.engine").setLevel(logging.NOTSET)
    assert "INSERT INTO tokens" in caplog.text
    assert token.split("_")[2] not in caplog.text


def test_the_log_names_who_made_and_who_revoked(registry: Registry, clock: ReplayClock) -> None:
    registry.add_token("ci", ["predict"], models=["flights"], who="ada")
    clock.move_to(START + timedelta(days=1))
    registry.revoke_token("ci", who="bob")
    for model in ("", "flights"):
        told = [event for event in registry.log(model) if event.kind.startswith("token")]
        assert [(event.kind, event.who) for event in told] == [
            ("token_made", "ada"),
            ("token_revoked", "bob"),
        ]
        assert [event.details["token"] for event in told] == ["ci", "ci"]


def test_a_token_for_all_models_is_in_the_log_of_the_home(registry: Registry) -> None:
    registry.add_token("ci", ["operate"], who="ada")
    (event,) = registry.log("")
    assert (event.who, event.details["scopes"]) == ("ada", ["operate"])
    assert [event.kind for event in registry.log("flights")] == ["created"]


def test_a_token_is_revoked_once(registry: Registry, clock: ReplayClock) -> None:
    registry.add_token("ci", ["predict"])
    first = registry.revoke_token("ci", who="bob")
    assert (first.revoked_at, first.revoked_by, first.state(START)) == (START, "bob", "revoked")
    clock.move_to(START + timedelta(days=1))
    assert registry.revoke_token("ci", who="eve") == first
    assert registry.tokens() == (first,)
    assert len(registry.log("")) == 2


def test_tokens_come_in_the_order_of_their_making(registry: Registry, clock: ReplayClock) -> None:
    for day, name in enumerate("cab", 1):
        clock.move_to(START + timedelta(days=day))
        registry.add_token(name, ["predict"])
    assert [token.name for token in registry.tokens()] == ["c", "a", "b"]


def test_a_name_is_given_once(registry: Registry) -> None:
    """Breaks when a log line could mean two tokens."""
    registry.add_token("ci", ["predict"])
    registry.revoke_token("ci")
    with pytest.raises(Conflict, match="revoke the old"):
        registry.add_token("ci", ["predict"])
    assert len(registry.tokens()) == 1


@pytest.mark.parametrize(
    ("name", "scopes", "more", "kind", "says"),
    [
        ("", ["predict"], {}, Invalid, "name"),
        ("a b", ["predict"], {}, Invalid, "name"),
        ("a\nb", ["predict"], {}, Invalid, "name"),
        ("ä", ["predict"], {}, Invalid, "name"),
        ("a" * 129, ["predict"], {}, Invalid, "name"),
        ("ci", [], {}, Invalid, "none"),
        ("ci", ["predcit"], {}, Invalid, "'predict'"),
        ("ci", "predict", {}, None, ""),
        ("ci", ["all"], {}, Invalid, "operate"),
        ("ci", ["predict"], {"expires_at": START}, Invalid, "to come"),
        ("ci", ["predict"], {"expires_at": datetime(2020, 1, 1)}, Invalid, "zone"),  # noqa: DTZ001  # the error under test
        ("ci", ["predict"], {"models": ["fligths"]}, NotFound, "flights"),
        ("ci", ["predict"], {"who": "x" * 129}, Invalid, "128"),
    ],
)
def test_wrong_wishes_leave_nothing(  # noqa: PLR0917  # a table of cases
    registry: Registry,
    name: str,
    scopes: Iterable[str],
    more: dict[str, object],
    kind: type[RenewalError] | None,
    says: str,
) -> None:
    if kind is None:
        registry.add_token(name, scopes, **more)  # type: ignore[arg-type]  # a table of cases
        assert registry.tokens()[0].scopes == ("predict",)
        return
    with pytest.raises(kind, match=says):
        registry.add_token(name, scopes, **more)  # type: ignore[arg-type]  # a table of cases
    assert registry.tokens() == ()
    assert registry.log("") == ()


def test_revoking_an_unknown_token_offers_the_nearest(registry: Registry) -> None:
    registry.add_token("laptop-ada", ["predict"])
    with pytest.raises(NotFound, match="laptop-ada"):
        registry.revoke_token("laptop-adda")


def test_servers_are_woken_by_both(registry: Registry) -> None:
    woken: list[str] = []
    registry.subscribe(lambda: woken.append("now"))
    registry.add_token("ci", ["predict"])
    assert len(woken) == 1
    registry.revoke_token("ci")
    assert len(woken) == 2


def test_another_model_sees_nothing_of_it(registry: Registry) -> None:
    registry.create_model(ModelSpec("trains", "binary", "late"))
    registry.add_token("ci", ["predict"], models=["trains", "trains"])
    assert [event.kind for event in registry.log("flights")] == ["created"]
    assert registry.tokens()[0].models == ("trains",)


def test_the_mark_differs_after_every_change(registry: Registry, clock: ReplayClock) -> None:
    """Breaks when a server would not see that a token came or went."""
    marks = [registry.tokens_mark()]
    for name in "ab":
        registry.add_token(name, ["predict"])
        marks.append(registry.tokens_mark())
    for name in "ab":
        registry.revoke_token(name)
        marks.append(registry.tokens_mark())
    assert len(set(marks)) == len(marks)
    assert registry.tokens_mark() == marks[-1]
    clock.move_to(START + timedelta(days=1))
    assert registry.tokens_mark() == marks[-1]
