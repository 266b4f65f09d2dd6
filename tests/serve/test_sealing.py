"""Sealing in the server: what was logged reaches the feed, once, whoever does it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from renewal.registry.leases import Lease
from renewal.serve.sealing import Sealing


def eventually(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    until_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.02)
    return True


def sealing(home: Any, models: list[str], n_rows: Callable[[], int] = lambda: 0) -> Sealing:
    return Sealing(home.db, home.log_folder, home.feed, lambda: models, n_rows, every_s=3600.0)


def test_a_server_seals_what_it_answered_by_itself(home: Any) -> None:
    """Breaks when rows wait for a watcher that nobody has started."""
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread", flush_s=0.05, seal_s=0.1)
    client = home.client(server)
    for seed in range(5):
        assert client.infer("flights", 2, seed=seed).status == 200
    feed = home.feed("flights")
    assert eventually(lambda: feed.rows().features.num_rows == 10)
    assert eventually(lambda: home.logged() == ([], []))


def test_many_rows_are_sealed_before_the_time_has_come(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread", flush_s=0.05, seal_s=3600.0)
    client = home.client(server)
    assert client.infer("flights", 110_000).status == 200
    assert eventually(lambda: home.feed("flights").rows().features.num_rows == 110_000)


def test_two_workers_that_seal_at_once_take_every_row_in_once(home: Any) -> None:
    home.declare()
    home.champion(home.version())
    server = home.start(native="thread", seal_s=0.0)
    client = home.client(server)
    for seed in range(4):
        client.infer("flights", 3, seed=seed)
        server.flush()
    one, other = sealing(home, ["flights"]), sealing(home, ["flights"])
    taken = Lease(home.db, "seal:flights", "somebody else", 60.0)
    taken.acquire()
    assert one.seal() == 0
    taken.release()
    assert one.seal() + other.seal() == 12
    assert home.feed("flights").rows().features.num_rows == 12


def test_a_model_that_cannot_be_sealed_does_not_keep_the_others_from_it(home: Any) -> None:
    home.declare()
    home.declare("other")
    home.champion(home.version())
    home.champion(home.version("other"))
    server = home.start(native="thread", seal_s=0.0)
    client = home.client(server)
    client.infer("flights", 2)
    client.infer("other", 3)
    server.flush()
    segment = next((home.log_folder / "flights").glob("*.arrow"))
    segment.write_bytes(segment.read_bytes()[:100])
    both = sealing(home, ["flights", "other", "nobody"])
    assert both.seal() == 3
    assert both.n_failed == 1
    assert home.feed("other").rows().features.num_rows == 3
    assert segment.with_name(f"{segment.name}.refused").exists()


def test_a_feed_that_fails_all_night_is_one_line(
    home: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Breaks when the server's own log fills the disk while sealing is tried again."""
    home.declare()
    (home.log_folder / "flights").mkdir(parents=True)
    is_away = [True]

    def feeds(model: str) -> Any:
        if is_away[0]:
            raise OSError(model)
        return home.feed(model)

    with caplog.at_level(logging.ERROR, logger="renewal.serve"):
        found = Sealing(home.db, home.log_folder, feeds, lambda: ["flights"], int, every_s=0.01)
        found.start()
        assert eventually(lambda: found.n_failed >= 5)
        assert len(caplog.records) == 1
        is_away[0] = False
        assert eventually(lambda: not found._is_failing)
        is_away[0] = True
        assert eventually(lambda: len(caplog.records) == 2)
        found.close()
