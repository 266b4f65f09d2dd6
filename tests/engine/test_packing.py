"""What travels between processes, and what is said where it cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from renewal.core.errors import Invalid, Refused
from renewal.engine.contract import Ran
from renewal.engine.packing import pack_call, pack_error, pack_ran, unpack_call, unpack_end


def test_an_error_keeps_its_fields_and_gains_the_workers_traceback() -> None:
    """Broken by a traceback that stays behind: nobody could say where it failed."""
    error = Refused("x", needs="a", came="b", todo="c", verdict="reject")
    try:
        raise error
    except Refused as raised:
        packed = pack_error(raised, "x")
    ran, back = unpack_end("error", packed, "x")
    assert ran is None
    assert isinstance(back, Refused)
    assert back.fields == {"verdict": "reject"}
    assert "test_packing.py" in back.__notes__[0]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make a module that is here while things are packed; return what takes it away."""
    module = ModuleType("only_in_the_worker")
    exec("class Odd(Exception):\n    pass\ndef answer():\n    return 42\n", module.__dict__)  # noqa: S102  # a module that no file holds
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return lambda: monkeypatch.delitem(sys.modules, module.__name__)


def test_what_this_process_cannot_import_fails_its_call_alone(
    elsewhere: Callable[[], None],
) -> None:
    """Broken by a worker's own classes that blow up in the caller's loop."""
    odd = sys.modules["only_in_the_worker"].__dict__["Odd"]
    packed_error = pack_error(odd("strange"), "call")
    packed_value = pack_ran(Ran(odd("strange"), 0.1), "call")
    elsewhere()
    for kind, packed in (("error", packed_error), ("ran", packed_value)):
        ran, error = unpack_end(kind, packed, "call")
        assert ran is None
        assert isinstance(error, Invalid)
        assert "No module named 'only_in_the_worker'" in str(error)


def test_what_the_worker_cannot_import_is_named(elsewhere: Callable[[], None]) -> None:
    """Broken by an error that does not say which module a worker lacks."""
    packed = pack_call(sys.modules["only_in_the_worker"].__dict__["answer"], (), "call")
    elsewhere()
    with pytest.raises(Invalid, match=r"call needs .* No module named 'only_in_the_worker'"):
        unpack_call(packed, "call")


def test_only_whole_errors_travel_as_they_are() -> None:
    """Broken by an interrupt of a worker that interrupts its caller."""
    for error in (KeyboardInterrupt("stop"), ValueError(lambda: 1)):
        _, back = unpack_end("error", pack_error(error, "call"), "call")
        assert type(back) is RuntimeError
        assert str(back).startswith(f"{type(error).__name__}: ")
