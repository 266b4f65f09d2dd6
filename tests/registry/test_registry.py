"""The verbs of the registry, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from renewal.core.clock import ReplayClock
from renewal.core.errors import Conflict, Corrupt, Invalid, NotFound
from renewal.core.plan import Arm, Plan
from renewal.core.spec import ModelSpec
from renewal.core.verdict import Verdict
from renewal.core.version import Manifest, Version
from renewal.registry.codec import manifest_digest
from renewal.registry.registry import Move, Registry

Grow = Callable[[int], list[Version]]


def test_declaring_twice_in_the_same_words_does_nothing(registry: Registry) -> None:
    spec = ModelSpec("taxis", "regression", "fare", time="at", block=timedelta(days=1))
    assert registry.create_model(spec) == spec
    assert registry.create_model(spec) == spec
    assert registry.model("taxis") == spec
    assert [each.name for each in registry.models()] == ["flights", "taxis"]
    assert [event.kind for event in registry.log("taxis")] == ["created"]


def test_declaring_differently_is_a_conflict_that_names_the_fields(registry: Registry) -> None:
    with pytest.raises(Conflict, match="task='binary', target='late'") as caught:
        registry.create_model(ModelSpec("flights", "regression", "delay"))
    assert caught.value.fields["differs"] == ["task", "target"]
    assert registry.model("flights").target == "late"


def test_an_unknown_model_offers_the_nearest(registry: Registry) -> None:
    for verb in (registry.model, registry.versions, registry.aliases, registry.log):
        with pytest.raises(NotFound, match="Did you mean 'flights'"):
            verb("fligths")


def test_versions_count_up_and_their_id_is_their_content(
    registry: Registry, manifest: Manifest, clock: ReplayClock
) -> None:
    first = registry.add_version(manifest, facts={"fit_s": 1.5, "bad": float("inf")}, who="ada")
    clock.move_to(clock.now() + timedelta(hours=1))
    second = registry.add_version(replace(manifest, seed=1, parent=first.id))
    assert (first.name, second.name) == ("v1", "v2")
    assert first.id == manifest_digest(manifest)
    assert first.manifest == manifest
    assert (first.facts, first.created_by) == ({"fit_s": 1.5, "bad": float("inf")}, "ada")
    assert second.created_at - first.created_at == timedelta(hours=1)
    assert registry.versions("flights") == (first, second)


def test_registering_the_same_again_changes_nothing(registry: Registry, manifest: Manifest) -> None:
    """Breaks when a step that is repeated after a crash makes a second version or event."""
    first = registry.add_version(manifest, facts={"fit_s": 1.0}, who="ada")
    assert registry.add_version(manifest, facts={"fit_s": 9.0}, who="bob") == first
    assert [event.kind for event in registry.log("flights")] == ["created", "registered"]


def test_numbers_are_of_their_model(registry: Registry, manifest: Manifest, grow: Grow) -> None:
    grow(3)
    registry.create_model(ModelSpec("taxis", "binary", "tip"))
    assert registry.add_version(replace(manifest, model="taxis")).number == 1


def test_a_version_of_another_task_or_without_its_parent_is_refused(
    registry: Registry, manifest: Manifest
) -> None:
    with pytest.raises(Invalid, match="'regression'"):
        registry.add_version(replace(manifest, task="regression"))
    with pytest.raises(NotFound, match="0000"):
        registry.add_version(replace(manifest, parent="00" * 32))
    with pytest.raises(NotFound, match="'trains'"):
        registry.add_version(replace(manifest, model="trains"))
    with pytest.raises(Invalid, match="128"):
        registry.add_version(manifest, who="x" * 129)
    assert registry.versions("flights") == ()


def test_a_version_is_found_by_every_name_it_has(registry: Registry, grow: Grow) -> None:
    one, two = grow(2)
    registry.move("flights", Move("champion", None, two.id), who="ada", why="first")
    registry.move("flights", Move("deadbeef99", None, one.id), who="ada", why="my own name")
    for ref in ("v2", "2", "champion", "@champion", two.id, two.id[:8]):
        assert registry.version("flights", ref) == two, ref
    assert registry.version("flights", "deadbeef99") == one


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("v3", "v2"),
        ("@champoin", "champion"),
        ("candidate", "a version of 'flights'"),
        ("v9999999", "a version of 'flights'"),
        ("-1", "a version of 'flights'"),
        ("", "a version of 'flights'"),
        ("@", "a version of 'flights'"),
        ("@v1", "a version of 'flights'"),
        ("ab", "a version of 'flights'"),
        ("%%%%%%%%", "a version of 'flights'"),
    ],
)
def test_an_unknown_reference_is_not_found(
    registry: Registry, grow: Grow, ref: str, hint: str
) -> None:
    """Breaks when a short or odd reference is taken for the start of an id."""
    _one, two = grow(2)
    registry.move("flights", Move("champion", None, two.id), who="ada", why="first")
    with pytest.raises(NotFound, match=hint):
        registry.version("flights", ref)


def test_versions_of_another_model_are_not_found(
    registry: Registry, manifest: Manifest, grow: Grow
) -> None:
    (one,) = grow(1)
    registry.create_model(ModelSpec("taxis", "binary", "tip"))
    registry.add_version(replace(manifest, model="taxis"))
    with pytest.raises(NotFound):
        registry.version("taxis", one.id)
    with pytest.raises(NotFound, match="a version of 'flights'"):
        registry.move("taxis", Move("mine", None, one.id), who="ada", why="")


def test_lineage_goes_back_to_the_first(registry: Registry, manifest: Manifest) -> None:
    line = [registry.add_version(manifest)]
    for seed in range(1, 5):
        line.append(registry.add_version(replace(manifest, seed=seed, parent=line[-1].id)))
    registry.add_version(replace(manifest, seed=99, parent=line[0].id))
    assert registry.lineage(line[-1].id) == tuple(reversed(line))
    with pytest.raises(NotFound):
        registry.lineage("00" * 32)


def test_a_changed_manifest_is_corrupt(registry: Registry, grow: Grow) -> None:
    """Breaks when what the database holds is believed without a look at its digest."""
    (one,) = grow(1)
    with registry.db.transaction() as connection:
        changed = text("UPDATE versions SET manifest = REPLACE(CAST(manifest AS TEXT), 'b', 'c')")
        if connection.dialect.name == "postgresql":
            changed = text(
                "UPDATE versions SET manifest = REPLACE(manifest::text, 'abab', 'acac')::json"
            )
        connection.execute(changed)
    with pytest.raises(Corrupt, match=one.id):
        registry.version("flights", "v1")


def test_verdicts_are_kept_in_order_and_whole(
    registry: Registry, grow: Grow, judged: Callable[..., Verdict]
) -> None:
    """Breaks when ids of one millisecond, or NaN in a bound, disturb the order or the record."""
    one, two = grow(2)
    given = [replace(judged(two.id, one.id, "undecided"), n_rows=n) for n in range(30)]
    ids = [registry.add_verdict("flights", verdict) for verdict in given]
    found = registry.verdicts("flights")
    assert [id_ for id_, _ in found] == ids
    assert [verdict.n_rows for _, verdict in found] == list(range(30))
    again = registry.verdict(ids[7])
    assert again.upper != again.upper, "NaN stays NaN"
    assert replace(again, upper=0.0) == replace(given[7], upper=0.0)
    with pytest.raises(NotFound, match="verdict"):
        registry.verdict("nonsense")


def test_a_verdict_on_strangers_is_refused(
    registry: Registry, grow: Grow, judged: Callable[..., Verdict]
) -> None:
    (one,) = grow(1)
    with pytest.raises(NotFound, match="0000"):
        registry.add_verdict("flights", judged("00" * 32, one.id))
    assert registry.verdicts("flights") == ()


def test_the_log_is_in_order_and_carries_what_was_said(
    registry: Registry, clock: ReplayClock
) -> None:
    for n in range(5):
        clock.move_to(clock.now() + timedelta(minutes=1))
        details = {"n": n, "lasts": timedelta(hours=n), "psi": float("nan")}
        registry.note("flights", "alarm", who="monitor", why="drift", details=details)
    events = registry.log("flights")
    assert [event.details.get("n") for event in events] == [None, 0, 1, 2, 3, 4]
    assert [event.id for event in events] == sorted(event.id for event in events)
    assert events[-1].at == clock.now()
    assert events[-1].details["lasts"] == timedelta(hours=4)
    assert [event.details["n"] for event in registry.log("flights", limit=2)] == [3, 4]


def test_a_note_needs_a_model_and_cannot_forge_a_history(registry: Registry, grow: Grow) -> None:
    """Breaks when a note makes a version a former champion, and so a lawful rollback."""
    one, two = grow(2)
    registry.move("flights", Move("champion", None, one.id), who="ada", why="first")
    forged = {"moves": [{"alias": "champion", "from": None, "to": two.id}]}
    with pytest.raises(Invalid, match=r"Registry\.move"):
        registry.note("flights", "moved", who="eve", why="", details=forged)
    registry.note("flights", "said", who="eve", why="", details={"nested": forged})
    assert [move.to_id for move in registry.history("flights", "champion")] == [one.id]
    with pytest.raises(NotFound):
        registry.note("trains", "alarm", who="", why="", details={})
    with pytest.raises(Invalid, match="32"):
        registry.note("flights", "x" * 33, who="", why="", details={})
    with pytest.raises(Invalid, match="kind"):
        registry.note("flights", "", who="", why="", details={})


@pytest.mark.parametrize("table", ["events", "verdicts"])
@pytest.mark.parametrize("what", ["UPDATE {} SET at = 0", "DELETE FROM {}"])
def test_evidence_cannot_be_changed_even_by_sql(
    registry: Registry, grow: Grow, judged: Callable[..., Verdict], table: str, what: str
) -> None:
    """Breaks when somebody with the database's password can rewrite who did what."""
    one, two = grow(2)
    registry.add_verdict("flights", judged(two.id, one.id))
    before = registry.log("flights"), len(registry.verdicts("flights"))

    def tamper() -> None:
        with registry.db.transaction() as connection:
            connection.exec_driver_sql(what.format(table))

    with pytest.raises(Exception, match=f"{table} are append-only"):
        tamper()
    assert (registry.log("flights"), len(registry.verdicts("flights"))) == before


def steady(version: Version) -> Plan:
    return Plan(version.manifest.model, "steady", (Arm("champion", version.id, 1.0),))


def test_plans_come_in_order_and_none_is_missed(registry: Registry, grow: Grow) -> None:
    one, two = grow(2)
    assert registry.plan("flights") is None
    assert registry.plans_after(0) == ()
    first = registry.publish(steady(one))
    second = registry.publish(steady(two))
    assert first < second
    assert registry.plan("flights") == (second, steady(two))
    assert registry.plans_after(0) == ((first, steady(one)), (second, steady(two)))
    assert registry.plans_after(first) == ((second, steady(two)),)
    assert registry.plans_after(second) == ()


def test_a_plan_with_a_stranger_is_refused(registry: Registry, grow: Grow) -> None:
    """Breaks when servers would be told to load what is in no registry."""
    (one,) = grow(1)
    with pytest.raises(NotFound, match="0000"):
        registry.publish(replace(steady(one), shadow=("00" * 32,)))
    assert registry.plan("flights") is None


def test_plans_of_many_writers_appear_in_the_order_of_their_numbers(
    registry: Registry, grow: Grow
) -> None:
    """Breaks when number 6 can be read before 5 is committed: a server would skip 5.

    PostgreSQL's sequences do that to whoever writes without one lock.
    """
    (one,) = grow(1)
    seen: list[int] = []
    done = threading.Event()

    def follow() -> None:
        while True:
            is_last = done.is_set()
            seen.extend(seq for seq, _ in registry.plans_after(seen[-1] if seen else 0))
            if is_last:
                return

    def write() -> None:
        for _ in range(15):
            registry.publish(steady(one))

    follower = threading.Thread(target=follow)
    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in (follower, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    follower.join()
    assert seen == [seq for seq, _ in registry.plans_after(0)]
    assert len(seen) == 60


def test_a_larger_transaction_is_whole_or_nothing(
    registry: Registry, grow: Grow, judged: Callable[..., Verdict]
) -> None:
    """Breaks when a verb that was handed a connection commits by itself, or rings early."""
    one, two = grow(2)
    rung: list[str] = []
    registry.subscribe(lambda: rung.append("ding"))
    registry.move("flights", Move("champion", None, one.id), who="ada", why="first")
    before = registry.log("flights")

    def fail() -> None:
        with registry.db.transaction() as connection:
            verdict_id = registry.add_verdict("flights", judged(two.id, one.id), connection)
            registry.move(
                "flights",
                Move("champion", one.id, two.id),
                who="ada",
                why="better",
                verdict_id=verdict_id,
                plan=steady(two),
                connection=connection,
            )
            registry.note("flights", "told", who="ada", why="", details={}, connection=connection)
            assert registry.aliases("flights", connection) == {"champion": two.id}
            raise KeyError("half way")

    with pytest.raises(KeyError):
        fail()
    assert registry.aliases("flights") == {"champion": one.id}
    assert registry.log("flights") == before
    assert registry.verdicts("flights") == ()
    assert registry.plan("flights") is None
    assert rung == ["ding"]


def test_subscribers_hear_of_moves_and_plans_after_the_commit(
    registry: Registry, grow: Grow
) -> None:
    (one,) = grow(1)
    seen: list[tuple[dict[str, str], int]] = []

    def look() -> None:
        seen.append((registry.aliases("flights"), len(registry.plans_after(0))))

    unsubscribe = registry.subscribe(look)
    registry.note("flights", "alarm", who="", why="", details={})
    assert seen == [], "a note changes no traffic"
    registry.move("flights", Move("champion", None, one.id), who="a", why="b", plan=steady(one))
    assert seen == [({"champion": one.id}, 1)]
    registry.publish(steady(one))
    registry.wake()
    assert len(seen) == 3
    unsubscribe()
    registry.publish(steady(one))
    assert len(seen) == 3
