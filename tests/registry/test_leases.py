"""One holder at a time, taken over after expiry, and a stale fence writes nothing."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Connection

from renewal.core.clock import ReplayClock
from renewal.core.errors import Conflict, Invalid, Unavailable
from renewal.registry.db import Database
from renewal.registry.leases import Lease, holder_of


def lease(db: Database, clock: ReplayClock, holder: str, resource: str = "seal:m") -> Lease:
    return Lease(db, resource, holder, 10.0, clock=clock)


def check(db: Database, held: Lease, fence: int) -> None:
    with db.transaction() as connection:
        held.check(connection, fence)


def test_one_holder_at_a_time(db: Database, clock: ReplayClock) -> None:
    first, second = lease(db, clock, "a"), lease(db, clock, "b")
    assert first.acquire() == 1
    with pytest.raises(Unavailable, match="held by a until 2013-01-01T00:00:10") as caught:
        second.acquire()
    assert caught.value.fields == {
        "retry_after_s": 10.0,
        "holder": "a",
        "until": clock.now() + timedelta(seconds=10),
    }
    check(db, first, 1)


def test_who_holds_it_is_told_until_it_ends(db: Database, clock: ReplayClock) -> None:
    assert holder_of(db, "seal:m", clock=clock) is None
    first = lease(db, clock, "a")
    first.acquire()
    assert holder_of(db, "seal:m", clock=clock) == "a"
    assert holder_of(db, "seal:n", clock=clock) is None
    clock.move_to(clock.now() + timedelta(seconds=11))
    assert holder_of(db, "seal:m", clock=clock) is None


def test_other_resources_are_free(db: Database, clock: ReplayClock) -> None:
    assert lease(db, clock, "a").acquire() == 1
    assert lease(db, clock, "b", "watch:m").acquire() == 1


def test_takeover_after_expiry_and_the_stale_fence_is_a_conflict(
    db: Database, clock: ReplayClock
) -> None:
    """Breaks when a holder that slept past its time still writes."""
    first, second = lease(db, clock, "a"), lease(db, clock, "b")
    stale = first.acquire()
    clock.move_to(clock.now() + timedelta(seconds=9.999))
    with pytest.raises(Unavailable):
        second.acquire()
    clock.move_to(clock.now() + timedelta(seconds=0.001))
    fresh = second.acquire()
    assert fresh == stale + 1
    with pytest.raises(Conflict, match="fence 2, held by b"):
        check(db, first, stale)
    with pytest.raises(Conflict):
        first.renew()
    first.release()  # not its own any more: nothing happens
    check(db, second, fresh)
    with pytest.raises(Unavailable):
        first.acquire()


def test_expiry_alone_is_no_loss(db: Database, clock: ReplayClock) -> None:
    """Breaks when a slow holder whom nobody replaced has to throw its work away."""
    held = lease(db, clock, "a")
    fence = held.acquire()
    clock.move_to(clock.now() + timedelta(hours=1))
    check(db, held, fence)
    held.renew()
    with pytest.raises(Unavailable):
        lease(db, clock, "b").acquire()


def test_renewal_lengthens_it(db: Database, clock: ReplayClock) -> None:
    first, second = lease(db, clock, "a"), lease(db, clock, "b")
    fence = first.acquire()
    for _ in range(3):
        clock.move_to(clock.now() + timedelta(seconds=8))
        first.renew()
        with pytest.raises(Unavailable):
            second.acquire()
    check(db, first, fence)


def test_release_lets_the_next_one_in_with_a_higher_fence(db: Database, clock: ReplayClock) -> None:
    """Breaks when a release forgets the fence: the next holder would get one twice."""
    first = lease(db, clock, "a")
    stale = first.acquire()
    first.release()
    first.release()
    assert lease(db, clock, "b").acquire() == stale + 1
    with pytest.raises(Conflict):
        check(db, first, stale)


def test_the_same_holder_may_take_it_again_and_its_old_fence_is_stale(
    db: Database, clock: ReplayClock
) -> None:
    first = lease(db, clock, "a")
    assert (first.acquire(), first.acquire()) == (1, 2)
    with pytest.raises(Conflict):
        check(db, first, 1)
    check(db, first, 2)


def test_what_was_never_held_is_a_conflict(db: Database, clock: ReplayClock) -> None:
    held = lease(db, clock, "a")
    with pytest.raises(Conflict, match="never acquired"):
        held.renew()
    with pytest.raises(Conflict, match="no lease"):
        check(db, held, 1)
    held.release()


def test_nobody_takes_over_between_the_check_and_the_commit(
    db: Database, clock: ReplayClock
) -> None:
    """Breaks when the check only looks: the work of two holders could be committed."""
    first, second = lease(db, clock, "a"), lease(db, clock, "b")
    fence = first.acquire()
    clock.move_to(clock.now() + timedelta(hours=1))
    taken = threading.Event()

    def take_over() -> None:
        second.acquire()
        taken.set()

    thread = threading.Thread(target=take_over)
    with db.transaction() as connection:
        first.check(connection, fence)
        thread.start()
        assert not taken.wait(0.2), "it waits for the end of the transaction"
    thread.join()
    assert taken.is_set()
    with pytest.raises(Conflict):
        check(db, first, fence)


def test_of_threads_that_want_an_expired_lease_one_gets_it(
    db: Database, clock: ReplayClock
) -> None:
    lease(db, clock, "dead").acquire()
    clock.move_to(clock.now() + timedelta(minutes=1))
    came: list[str] = []

    def want(name: str) -> None:
        try:
            came.append(f"fence {lease(db, clock, name).acquire()}")
        except Unavailable:
            came.append("held")

    threads = [threading.Thread(target=want, args=(f"t{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == ["fence 2"] + ["held"] * 5


def test_the_default_time_is_the_machine_s(db: Database) -> None:
    """Breaks when a lease lives by the clock of a replay, which may stand still for ever."""
    first = Lease(db, "seal:m", "a", 0.05)
    first.acquire()
    second = Lease(db, "seal:m", "b", 0.05)
    with pytest.raises(Unavailable) as caught:
        second.acquire()
    assert 0 < caught.value.fields["retry_after_s"] <= 0.05
    threading.Event().wait(0.06)
    assert second.acquire() == 2


@pytest.mark.parametrize(
    ("resource", "holder", "ttl_s"),
    [("", "a", 1.0), ("r", "", 1.0), ("r", "a", 0.0), ("r" * 257, "a", 1.0), ("r", "a", -1.0)],
)
def test_what_makes_no_sense_is_refused(
    db: Database, resource: str, holder: str, ttl_s: float
) -> None:
    with pytest.raises(Invalid):
        Lease(db, resource, holder, ttl_s)


def test_a_check_is_part_of_the_work(db: Database, clock: ReplayClock) -> None:
    """Breaks when a refused check leaves what was written before it."""
    first = lease(db, clock, "a")
    stale = first.acquire()
    clock.move_to(clock.now() + timedelta(minutes=1))
    lease(db, clock, "b").acquire()

    def work(connection: Connection) -> None:
        connection.exec_driver_sql("UPDATE leases SET holder = 'changed'")
        first.check(connection, stale)

    def run() -> None:
        with db.transaction() as connection:
            work(connection)

    with pytest.raises(Conflict):
        run()
    with db.read() as connection:
        holders = connection.exec_driver_sql("SELECT holder FROM leases").scalars().all()
    assert holders == ["b"]
