"""The bell rings for all, whatever one of them does."""

from __future__ import annotations

import logging

import pytest

from renewal.registry.wake import Bell


def test_a_subscriber_that_fails_stops_nobody_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Breaks when an error of a listener reaches the one whose commit succeeded."""
    bell, heard = Bell(), []

    def fail() -> None:
        raise ValueError("a listener's own")

    bell.subscribe(fail)
    bell.subscribe(lambda: heard.append("ding"))
    with caplog.at_level(logging.ERROR):
        bell.ring()
    assert heard == ["ding"]
    assert "a listener's own" in caplog.text


def test_the_same_callback_twice_is_two_subscriptions() -> None:
    bell, heard = Bell(), []

    def hear() -> None:
        heard.append("ding")

    first, second = bell.subscribe(hear), bell.subscribe(hear)
    bell.ring()
    assert len(heard) == 2
    first()
    first()
    bell.ring()
    assert len(heard) == 3
    second()
    bell.ring()
    assert len(heard) == 3


def test_a_subscriber_may_leave_or_come_while_it_rings() -> None:
    """Breaks when the bell holds its lock while it calls, or walks a dict that changes."""
    bell, heard = Bell(), []

    def once() -> None:
        heard.append("once")
        leave()
        bell.subscribe(lambda: heard.append("later"))

    leave = bell.subscribe(once)
    bell.ring()
    assert heard == ["once"]
    bell.ring()
    assert heard == ["once", "later"]
