"""One suite over all engines: the same function, the same ends, wherever it runs."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from renewal.core.plugin import load_plugin, plugin_names
from renewal.engine.inline import InlineEngine
from renewal.engine.options import EngineOptions
from renewal.engine.processes import ProcessEngine
from renewal.testing.engines import ENGINE_CHECKS, run_check

_NO_KILL = "it runs in the caller's process, which it cannot kill"
INLINE_EXCUSES = MappingProxyType(
    {
        "memory_limit": _NO_KILL,
        "time_limit_kills": _NO_KILL,
        "cancel_kills": _NO_KILL,
        "close_kills": _NO_KILL,
        "dead_worker": _NO_KILL,
        "refuses_what_cannot_travel": "nothing travels: functions of any kind run",
    }
)


@pytest.mark.parametrize("check", ENGINE_CHECKS)
def test_inline(check: str) -> None:
    """Broken by an engine of this process that is another one than the rest."""
    run_check(check, InlineEngine, expected_failures=INLINE_EXCUSES)


def _without_preloading(options: EngineOptions) -> ProcessEngine:
    """Make an engine that loads nothing beforehand: the suite needs no library."""
    return ProcessEngine(options, preload=())


@pytest.mark.parametrize("check", ENGINE_CHECKS)
def test_processes(check: str) -> None:
    """Broken by workers that cannot be killed, that lose errors, or that hang."""
    run_check(check, _without_preloading)


def test_all_are_registered() -> None:
    """Broken by an engine that a policy cannot name."""
    assert plugin_names("engines") == ("inline", "processes", "ray")
    assert load_plugin("engines", "inline") is InlineEngine
    assert load_plugin("engines", "processes") is ProcessEngine


def test_a_stale_excuse_fails() -> None:
    """Broken by a suite whose excuses stay when they are no longer needed."""
    with pytest.raises(AssertionError, match="stale excuse"):
        run_check("pickles", InlineEngine, expected_failures={"pickles": "for no reason"})
