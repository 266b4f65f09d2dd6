"""The engine of this process: it runs, measures, and keeps out of the way."""

from __future__ import annotations

import threading
import time

import pytest

from renewal.core.errors import Refused
from renewal.engine.contract import Engine
from renewal.engine.inline import InlineEngine


def test_hands_over_arguments_and_value() -> None:
    """Broken by an engine that copies, wraps or drops what it carries."""
    shared: list[int] = []
    engine: Engine = InlineEngine()
    ran = engine.run(lambda first, second: (shared, first, second), 1, "b", label="carry")
    assert ran.value[0] is shared
    assert ran.value[1:] == (1, "b")


def test_measures_the_function_alone() -> None:
    """Broken by seconds that are not wall time of the function."""
    ran = InlineEngine().run(time.sleep, 0.05, label="sleep")
    assert 0.05 <= ran.seconds < 5.0
    assert InlineEngine().run(len, "", label="nothing").seconds < 0.05


def test_runs_on_the_thread_of_the_caller() -> None:
    """Broken by an inline engine that starts a thread: thread-bound objects would fail."""
    ran = InlineEngine().run(threading.get_ident, label="thread")
    assert ran.value == threading.get_ident()


def test_errors_come_out_unchanged() -> None:
    """Broken by an engine that wraps errors: the race tells them apart by type and fields."""
    error = Refused("gate", needs="a", came="b", todo="c", verdict="reject")

    def fail() -> None:
        raise error

    with pytest.raises(Refused) as caught:
        InlineEngine().run(fail, label="fail")
    assert caught.value is error
