"""The guard: who may do what, from memory, whatever a header says."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from renewal.core.clock import ReplayClock
from renewal.core.errors import RenewalError
from renewal.core.spec import ModelSpec
from renewal.registry.db import Database
from renewal.registry.registry import Registry
from renewal.registry.tokens import token_digest
from renewal.serve import guard as module
from renewal.serve.guard import NOT_YET, Guard, headers_of
from renewal.serve.http import reply_to, status_of

START = datetime(2026, 1, 1, tzinfo=UTC)
Headers = list[tuple[bytes, bytes]]


class Gate:
    """A registry, its file, a clock, and the guard of a server."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "registry.db"
        self.clock = ReplayClock(START)
        self.db = Database(f"sqlite:///{self.file}")
        self.registry = Registry(self.db, self.clock)
        for name in ("flights", "trains"):
            self.registry.create_model(ModelSpec(name, "binary", "late"))
        self.guard = Guard(self.registry, "when_any", self.clock)

    def make(self, name: str = "ci", *scopes: str, **more: list[str]) -> bytes:
        """Make a token that the guard knows; return it."""
        until = START + timedelta(days=1)
        token = self.registry.add_token(name, scopes or ("predict",), until, **more)  # type: ignore[arg-type]  # only lists come
        self.guard.poll()
        return token.encode()

    def status(self, headers: Headers, need: str = "predict", model: str | None = "flights") -> int:
        """Return the status of a request: 200 where it passes."""
        error = self.guard.check(headers, need, model)  # type: ignore[arg-type]  # only real needs come
        return 200 if error is None else status_of(error)

    def refusal(self, headers: Headers, need: str = "predict") -> RenewalError:
        """Return why a request is refused."""
        error = self.guard.check(headers, need, "flights")  # type: ignore[arg-type]  # only real needs come
        assert error is not None
        return error

    def damage(self) -> bytes:
        """Make the registry unreadable; return what its file held."""
        self.db.close()
        for beside in self.file.parent.glob("registry.db-*"):
            beside.unlink()
        held = self.file.read_bytes()
        self.file.write_bytes(b"no database" * 1000)
        return held


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a file with every table, to be copied: quicker than a migration a test."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    Database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def gate(tmp_path: Path, migrated: Path) -> Iterator[Gate]:
    shutil.copy(migrated, tmp_path / "registry.db")
    made = Gate(tmp_path)
    yield made
    made.db.close()


def bearer(token: bytes) -> Headers:
    return [(b"host", b"x"), (b"authorization", b"Bearer " + token), (b"accept", b"*/*")]


def test_without_tokens_everything_passes(gate: Gate) -> None:
    gate.guard.poll()
    assert gate.guard.is_open
    assert gate.status([], "operate") == 200
    assert gate.status([(b"authorization", b"Bearer nonsense")]) == 200


def test_required_tokens_are_required_before_there_is_one(gate: Gate) -> None:
    strict = Guard(gate.registry, "required", gate.clock)
    strict.poll()
    assert not strict.is_open
    assert strict.check([], "any") is not None


def test_before_the_first_poll_nothing_passes(gate: Gate) -> None:
    """Breaks when a worker that could not ask yet lets everybody in."""
    assert gate.status([]) == 503


def test_the_first_token_closes_the_server(gate: Gate) -> None:
    gate.guard.poll()
    assert gate.status([]) == 200
    token = gate.make()
    assert gate.status([]) == 401
    assert gate.status(bearer(token)) == 200


def test_the_end_of_the_last_token_does_not_open_it(gate: Gate) -> None:
    """Breaks when whoever revokes the only token opens the server to all."""
    token = gate.make()
    gate.registry.revoke_token("ci")
    gate.guard.poll()
    assert gate.status([]) == 401
    assert gate.status(bearer(token)) == 401
    assert "revoked" in str(gate.refusal(bearer(token)))


def test_a_token_is_over_at_its_instant(gate: Gate) -> None:
    """Breaks when expiry waits for a poll, or a cached header outlives it."""
    token = gate.make()
    gate.clock.move_to(START + timedelta(days=1) - timedelta(microseconds=1))
    assert gate.status(bearer(token)) == 200
    gate.clock.move_to(START + timedelta(days=1))
    assert gate.status(bearer(token)) == 401
    assert "over" in str(gate.refusal(bearer(token)))


@pytest.mark.parametrize("has", ["predict", "feedback", "operate"])
def test_no_scope_includes_another(gate: Gate, has: str) -> None:
    token = gate.make("ci", has)
    for need in ("predict", "feedback", "operate"):
        assert gate.status(bearer(token), need) == (200 if need == has else 403)
    assert gate.status(bearer(token), "any") == 200


def test_several_scopes(gate: Gate) -> None:
    token = gate.make("ci", "predict", "operate")
    assert [gate.status(bearer(token), need) for need in ("predict", "feedback", "operate")] == [
        200,
        403,
        200,
    ]


def test_a_refusal_names_the_scope_that_is_needed(gate: Gate) -> None:
    error = gate.refusal(bearer(gate.make("laptop", "predict", "feedback")), "operate")
    assert "the scope 'operate'" in str(error)
    assert "'laptop'" in str(error)
    assert error.fields["scope"] == "operate"
    assert b"www-authenticate" not in reply_to(error).headers


def test_a_refusal_without_a_token_says_how(gate: Gate) -> None:
    gate.make()
    reply = reply_to(gate.refusal([]))
    assert (reply.status, reply.headers[b"www-authenticate"]) == (401, b"Bearer")


def test_a_token_for_some_models(gate: Gate) -> None:
    token = gate.make("ci", "predict", "operate", models=["flights"])
    assert gate.status(bearer(token), "predict", "flights") == 200
    assert gate.status(bearer(token), "predict", "trains") == 403
    assert gate.status(bearer(token), "any", "trains") == 403
    assert gate.status(bearer(token), "any", None) == 200
    # What is about all models, or hides which, is more than such a token reaches.
    assert gate.status(bearer(token), "operate", None) == 403
    assert gate.status(bearer(token), "predict", None) == 403
    assert gate.status(bearer(token), "predict", NOT_YET) == 200
    assert gate.status(bearer(token), "feedback", NOT_YET) == 403


def test_a_revocation_holds_after_the_next_poll(gate: Gate) -> None:
    token = gate.make()
    other = gate.make("other")
    assert gate.status(bearer(token)) == 200
    gate.registry.revoke_token("ci")
    assert gate.status(bearer(token)) == 200
    gate.guard.poll()
    assert gate.status(bearer(token)) == 401
    assert gate.status(bearer(other)) == 200


def test_the_request_path_asks_no_database(gate: Gate) -> None:
    token = gate.make()
    gate.damage()
    assert gate.status(bearer(token)) == 200
    assert gate.status([]) == 401


def test_a_registry_that_is_away_is_told_once(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """Breaks when an outage lets all in, keeps all out, or fills the log."""
    token = gate.make()
    held = gate.damage()
    with caplog.at_level(logging.INFO, "renewal.serve"):
        for _ in range(3):
            gate.guard.poll()
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert gate.status(bearer(token)) == 200
        assert gate.status([]) == 401
        gate.file.write_bytes(held)
        gate.guard.poll()
        gate.guard.poll()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    gate.registry.revoke_token("ci")
    gate.guard.poll()
    assert gate.status(bearer(token)) == 401


def test_an_unread_registry_keeps_the_server_closed(gate: Gate) -> None:
    gate.damage()
    gate.guard.poll()
    assert gate.status([]) == 503


@pytest.mark.parametrize(
    "form",
    [
        b"Bearer %s",
        b"bearer %s",
        b"BEARER %s",
        b"Bearer   %s",
        b"Bearer\t%s",
        b"  Bearer %s  ",
        b"Bearer %s \t ",
    ],
)
def test_forms_that_are_read(gate: Gate, form: bytes) -> None:
    token = gate.make()
    for _ in range(2):  # from the registry's snapshot, then from the cache
        assert gate.status([(b"authorization", form % token)]) == 200


@pytest.mark.parametrize(
    "form",
    [
        b"%s",
        b"Bearer%s",
        b"Basic %s",
        b"Token %s",
        b"Bearer, %s",
        b"Bearer %s x",
        b"Bearer %s\x00",
        b"Bearer %s\xff",
        b"Bearer x%s",
        b"Bearer Bearer %s",
        b"Bearer '%s'",
        b"Bearer",
        b"Bearer ",
        b"",
        b"\xff\xfe",
        b"Bearer \xc3\xa4",
    ],
)
def test_forms_that_are_not(gate: Gate, form: bytes) -> None:
    token = gate.make()
    value = form % token if b"%s" in form else form
    assert gate.status([(b"authorization", value)]) == 401


def test_every_wrong_letter_is_refused(gate: Gate) -> None:
    """Breaks when only the start of a token is compared."""
    token = gate.make()
    for at in range(len(token)):
        wrong = bytearray(token)
        wrong[at] ^= 1
        assert gate.status(bearer(bytes(wrong))) == 401
    for wrong_end in (token[:-1], token + b"a", token.upper()):
        assert gate.status(bearer(wrong_end)) == 401


def test_the_key_header(gate: Gate) -> None:
    token = gate.make()
    assert gate.status([(b"x-api-key", token)]) == 200
    assert gate.status([(b"x-api-key", b" " + token + b" ")]) == 200
    # What is good in one header is not yet good in the other.
    assert gate.status([(b"authorization", token)]) == 401
    assert gate.status([(b"x-api-key", b"Bearer " + token)]) == 401


def test_a_gateways_own_credentials_are_passed_over(gate: Gate) -> None:
    token = gate.make()
    for foreign in (b"Basic dXNlcjpwYXNz", b"Bearer eyJhbGciOi.J9.x", b"Digest a=b"):
        assert gate.status([(b"authorization", foreign), (b"x-api-key", token)]) == 200
        assert gate.status([(b"authorization", foreign)]) == 401
    assert gate.status([(b"x-api-key", b"the gateway's"), *bearer(token)]) == 200


def test_a_repeated_header(gate: Gate) -> None:
    one, two = gate.make("one"), gate.make("two")
    assert gate.status(bearer(one) + bearer(one)) == 200
    assert gate.status([*bearer(one), (b"x-api-key", one)]) == 200
    for _ in range(2):
        assert gate.status(bearer(one) + bearer(two)) == 401
        assert gate.status([*bearer(one), (b"x-api-key", two)]) == 401
    assert gate.status(bearer(one) + bearer(b"rnw_unknown")) == 401
    assert "two" in str(gate.refusal(bearer(one) + bearer(two)))


def test_a_long_header_is_not_hashed(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks when a client makes the event loop hash megabytes."""
    hashed: list[int] = []

    def spied(token: bytes) -> str:
        hashed.append(len(token))
        return token_digest(token)

    monkeypatch.setattr("renewal.serve.guard.token_digest", spied)
    token = gate.make()
    assert gate.status(bearer(token + b"a" * 10_000_000)) == 401
    assert gate.status([(b"x-api-key", b"rnw_" * 1000)]) == 401
    assert hashed == []
    assert [gate.status(bearer(token)) for _ in range(3)] == [200] * 3
    assert hashed == [len(token)], "a header that is known to be good is hashed once"


def test_the_cache_is_bounded_and_holds_no_unknown(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_CACHED", 10)
    token = gate.make()
    for n in range(50):
        assert gate.status([(b"authorization", b"Bearer " + b" " * n + token)]) == 200
        assert gate.status(bearer(b"rnw_%d" % n)) == 401
    assert gate.guard._snapshot is not None
    seen = gate.guard._snapshot.seen
    assert 0 < len(seen) <= 10
    assert all(value.endswith(token) for _name, value in seen)


def test_no_error_repeats_what_came(gate: Gate) -> None:
    """Breaks when a token, perhaps of another service, ends up in an answer or a log."""
    token = gate.make()
    secrets = [token + b"x", b"rnw_hunter2", b"hunter2", b"Basic hunter2"]
    for value in secrets:
        for headers in ([(b"authorization", value)], bearer(value), [(b"x-api-key", value)]):
            error = gate.refusal(headers)
            assert b"hunter2" not in repr((str(error), error.fields)).encode()
            assert token[-20:] not in reply_to(error).body
    assert token[-20:] not in repr(gate.guard).encode()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"authorization", b"x-api-key", b"host"]),
            st.binary(max_size=80) | st.builds(b"Bearer rnw_%b".__mod__, st.binary(max_size=40)),
        ),
        max_size=4,
    )
)
def test_no_noise_passes(gate: Gate, headers: Headers) -> None:
    if gate.guard._snapshot is None:
        gate.make()
    assert gate.status(headers) == 401


def test_metadata_of_grpc(gate: Gate) -> None:
    token = gate.make().decode()
    assert (
        gate.status(headers_of([("authorization", f"Bearer {token}"), ("x-bin", b"\xff")])) == 200
    )
    assert gate.status(headers_of([("x-api-key", token)])) == 200
    assert gate.status(headers_of([("user-agent", "grpc")])) == 401


def test_requests_and_polls_at_once(gate: Gate) -> None:
    """Breaks when a snapshot is seen half built: a good token must pass at every moment."""
    token = gate.make()
    wrong: list[int] = []

    def ask() -> None:
        for _ in range(3000):
            status = gate.status(bearer(token))
            if status != 200:
                wrong.append(status)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(10):
        gate.make(f"other-{n}")
    for thread in threads:
        thread.join()
    assert wrong == []
