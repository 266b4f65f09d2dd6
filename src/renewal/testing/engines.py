"""What every engine must hold to: a suite for whoever writes one.

In a test of your own::

    @pytest.mark.parametrize("check", ENGINE_CHECKS)
    def test_my_engine(check):
        run_check(check, MyEngine)

An engine that runs in the caller's process cannot kill: it is excused from the checks of
that, with the reason.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from renewal.core.errors import Invalid, Refused, Unavailable
from renewal.core.progress import Progress, hearing
from renewal.engine.contract import Call, Ended, Engine
from renewal.engine.options import EngineOptions
from renewal.testing import engine_calls as work

Make = Callable[[EngineOptions], Engine]

_TWO = EngineOptions(workers=2)
_PATIENCE_S = 30.0


def run_check(name: str, make: Make, *, expected_failures: Mapping[str, str] | None = None) -> None:
    """Run one check of an engine; raise AssertionError with a sentence when it fails.

    Parameters
    ----------
    name : str
        One of `ENGINE_CHECKS`.
    make : callable
        The class that the entry point names, or what else takes `EngineOptions`.
    expected_failures : mapping of str to str or None
        Checks that it cannot hold to, each with the reason. An excuse that is no longer
        needed fails.

    Raises
    ------
    AssertionError
        When the check fails, or passes although it is excused.
    """
    reason = (expected_failures or {}).get(name)
    try:
        ENGINE_CHECKS[name](make)
    except AssertionError:
        if reason is None:
            raise
        return
    assert reason is None, f"{name} passes: drop the stale excuse {reason!r}"


def check_values_and_costs(make: Make) -> None:
    """Demand the value, wall time, processor time, and a peak that is true or unknown."""
    with _engine(make) as engine:
        ran = engine.run(divmod, 7, 2, label="divide")
        assert ran.value == (3, 1), f"divmod(7, 2) came back as {ran.value!r}"
        busy = engine.run(work.spin, 0.2, label="spin")
        assert busy.cpu_s >= 0.19, f"0.2 s of processor time were told as {busy.cpu_s:.3f}"
        assert busy.seconds >= 0.19, f"0.2 s of work were told as {busy.seconds:.3f}"
        large = engine.run(work.hold, 2**27, label="hold")
        assert large.peak_bytes is None or large.peak_bytes >= 2**27, (
            f"128 MiB were held, the peak is told as {large.peak_bytes}"
        )


def check_errors_unchanged(make: Make) -> None:
    """Demand what a function raised, with its fields: whoever called tells errors apart."""
    with _engine(make) as engine:
        (ended,) = engine.run_all([Call(work.refuse, (), "refuse")])
        for error in (ended.error, _raised(engine, work.refuse), _raised(engine, divmod, 1, 0)):
            if not isinstance(error, ZeroDivisionError):
                assert type(error) is Refused, f"Refused came back as {error!r}"
                assert error.fields == {"verdict": "reject", "at": 3}, "fields were lost"
        stubborn = _raised(engine, work.raise_stubborn)
        assert "3 and 4" in str(stubborn), f"what it said was lost: {stubborn!r}"
        assert "Stubborn" in repr(stubborn), f"what it was is lost: {stubborn!r}"
        left = _raised(engine, work.leave)
        assert "SystemExit: 3" in str(left), f"sys.exit came back as {left!r}"


def check_failure_leaves_others(make: Make) -> None:
    """Demand the others' values, each at its place, where one fails."""
    calls = [Call(divmod, (9, by), f"by {by}") for by in (1, 0, 2, 3)]
    with _engine(make) as engine:
        ends = {ended.at: ended for ended in engine.run_all(calls)}
    assert sorted(ends) == [0, 1, 2, 3], f"calls 0 to 3 ended as {sorted(ends)}"
    assert isinstance(ends[1].error, ZeroDivisionError), f"the failed one: {ends[1]}"
    for at, value in ((0, (9, 0)), (2, (4, 1)), (3, (3, 0))):
        ran = ends[at].ran
        assert ran is not None, f"call {at} failed with another: {ends[at].error!r}"
        assert ran.value == value, f"call {at} came back as {ran.value!r}"


def check_order_of_ends(make: Make) -> None:
    """Demand ends as they come: where two run at once, the one that waits ends last."""
    with _engine(make) as engine, _folder() as folder:
        sign = str(folder / "sign")
        calls = [Call(work.await_sign, (sign,), "wait"), Call(work.touch, (sign,), "sign")]
        expected = [1, 0]
        if engine.n_slots == 1:
            calls, expected = calls[::-1], [0, 1]
        ends = list(engine.run_all(calls))
        errors = [ended.error for ended in ends if ended.error is not None]
        assert not errors, f"with {engine.n_slots} slots: {errors}"
        assert [ended.at for ended in ends] == expected, f"they ended as {ends}"


def check_starts_in_order(make: Make) -> None:
    """Demand the order of the calls where one runs at a time."""
    with _engine(make, EngineOptions(workers=1)) as engine, _folder() as folder:
        path = folder / "order"
        calls = [Call(work.note, (str(path), str(at)), f"note {at}") for at in range(5)]
        assert len(list(engine.run_all(calls))) == 5, "five calls, five ends"
        assert path.read_text(encoding="utf-8").split() == list("01234"), "started out of order"


def check_slots_are_kept(make: Make) -> None:
    """Refuse more calls at a time than there are slots."""
    with _engine(make) as engine, _folder() as folder:
        calls = [Call(work.count_beside, (str(folder), str(at)), f"in {at}") for at in range(5)]
        most = max(_value(ended) for ended in engine.run_all(calls))
        assert most <= engine.n_slots, f"{most} ran at once in {engine.n_slots} slots"


def check_out_of_memory(make: Make) -> None:
    """Demand `Unavailable` with its reason where Python has no more memory."""
    with _engine(make) as engine:
        calls = [Call(work.run_short_of_memory, (), "huge"), Call(max, (2, 3), "small")]
        ends = _by_place(engine.run_all(calls))
        _demand_reason(ends[0], "memory")
        assert _value(ends[1]) == 3, "the other call was lost with it"
        _demand_reason_of(_raised(engine, work.run_short_of_memory), "memory")


def check_memory_limit(make: Make) -> None:
    """Demand that a worker above its limit is stopped, and no other."""
    with _engine(make, EngineOptions(workers=2, memory_bytes=600 * 2**20)) as engine:
        _demand_workers(engine)
        calls = [Call(work.hold, (900 * 2**20, 60.0), "huge"), Call(max, (2, 3), "small")]
        ends = _by_place(engine.run_all(calls))
        _demand_reason(ends[0], "memory")
        assert _value(ends[1]) == 3, "the other call was lost with it"
        assert engine.run(max, 2, 3, label="after").value == 3, "nothing runs after that"


def check_time_limit(make: Make) -> None:
    """Demand that a call that took longer than it may has failed, with its reason."""
    with _engine(make) as engine:
        calls = [
            Call(time.sleep, (1.5,), "slow", limit_s=0.3),
            Call(max, (2, 3), "quick", limit_s=60.0),
        ]
        ends = _by_place(engine.run_all(calls))
        _demand_reason(ends[0], "time")
        assert _value(ends[1]) == 3, "the other call was lost with it"


def check_time_limit_kills(make: Make) -> None:
    """Demand that a call that is too slow dies with what it started."""
    with _engine(make) as engine, _folder() as folder:
        _demand_workers(engine)
        sign = folder / "pids"
        call = Call(work.start_and_stay, (str(sign),), "stay", limit_s=2.0)
        (ended,) = engine.run_all([call])
        _demand_reason(ended, "time")
        _demand_dead(sign)


def check_cancel_kills(make: Make) -> None:
    """Demand that leaving the loop kills what still runs, and what that started."""
    with _engine(make) as engine, _folder() as folder:
        _demand_workers(engine)
        sign = folder / "pids"
        calls = [
            Call(work.start_and_stay, (str(sign),), "stay"),
            Call(work.await_sign, (str(sign),), "wait"),
        ]
        for ended in engine.run_all(calls):
            assert ended.at == 1, f"the one that stays ended: {ended}"
            break
        _demand_dead(sign)
        assert engine.run(max, 2, 3, label="after").value == 3, "nothing runs after that"


def check_close_kills(make: Make) -> None:
    """Demand that `close` kills what still runs, and that its loop hears of it."""
    with _engine(make) as engine, _folder() as folder:
        _demand_workers(engine)
        sign = folder / "pids"
        calls = [
            Call(work.start_and_stay, (str(sign),), "stay"),
            Call(work.await_sign, (str(sign),), "wait"),
            Call(work.start_and_stay, (str(folder / "more"),), "later"),
            Call(work.start_and_stay, (str(folder / "most"),), "much later"),
        ]
        ends = engine.run_all(calls)
        assert next(ends).at == 1, "the one that stays ended first"
        engine.close()
        _demand_dead(sign)
        for ended in ends:
            _demand_reason(ended, "cancelled")


def check_close_is_harmless(make: Make) -> None:
    """Demand that closing twice, or before anything ran, does nothing."""
    unused = make(_TWO)
    unused.close()
    unused.close()
    used = make(_TWO)
    assert used.run(max, 2, 3, label="once").value == 3, "max(2, 3) is 3"
    used.close()
    used.close()


def check_progress_is_heard(make: Make) -> None:
    """Demand the last word of each call, at its place, and not every word of a flood."""
    heard: list[tuple[int, Progress]] = []
    with _engine(make) as engine:
        calls = [Call(work.tell_much, (n,), f"{n} words") for n in (3, 20_000)]
        ends = list(engine.run_all(calls, lambda at, said: heard.append((at, said))))
        assert all(ended.error is None for ended in ends), f"telling broke it: {ends}"
        for at, last in ((0, "word 3 of 3"), (1, "word 20000 of 20000")):
            assert (at, Progress(last, 1.0)) in heard, f"{last!r} was not heard"
        own: list[Progress] = []
        with hearing(own.append):
            engine.run(work.tell_much, 2, label="two words")
        assert Progress("word 2 of 2", 1.0) in own, f"its caller heard only {own}"


def check_engine_within_engine(make: Make) -> None:
    """Demand that a call may use an engine of its own, however full the outer one is."""
    with _engine(make) as engine:
        calls = [Call(work.run_inside, (engine, 3), f"outer {at}") for at in range(3)]
        for ended in engine.run_all(calls):
            total, n_slots = _value(ended)
            assert total == 3, f"0 + 1 + 2 came back as {total}"
            assert n_slots <= engine.n_slots, f"{n_slots} slots inside {engine.n_slots}"


def check_pickles(make: Make) -> None:
    """Demand a copy that works, of an engine that is at work."""
    with _engine(make) as engine:
        engine.run(max, 2, 3, label="before")
        copy: Engine = pickle.loads(pickle.dumps(engine))  # noqa: S301  # what is pickled here
        try:
            assert copy.run(max, 2, 3, label="copy").value == 3, "the copy does not work"
        finally:
            copy.close()
        assert engine.run(max, 2, 3, label="after").value == 3, "closing the copy closed it"


def check_dead_worker(make: Make) -> None:
    """Demand an end with its reason where a worker is killed, and that the others go on."""
    with _engine(make) as engine:
        _demand_workers(engine)
        calls = [Call(work.kill_self, (), "dies"), *(Call(max, (2, 3), "lives") for _ in range(3))]
        ends = _by_place(engine.run_all(calls))
        _demand_reason(ends[0], "lost")
        assert [_value(ends[at]) for at in (1, 2, 3)] == [3, 3, 3], "others were lost with it"


def check_refuses_what_cannot_travel(make: Make) -> None:
    """Demand `Invalid` for a function, or a value, that cannot reach another process."""
    with _engine(make) as engine:
        calls = [
            Call(lambda: 1, (), "a lambda"),
            Call(work.make_function, (), "returns a lambda"),
            Call(max, (2, 3), "fine"),
        ]
        ends = _by_place(engine.run_all(calls))
        for at in (0, 1):
            assert isinstance(ends[at].error, Invalid), f"{calls[at].label}: {ends[at]}"
            assert calls[at].label in str(ends[at].error), "the error names the call"
        assert _value(ends[2]) == 3, "the other call was lost with them"


@contextmanager
def _engine(make: Make, options: EngineOptions = _TWO) -> Iterator[Engine]:
    engine = make(options)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="renewal-engine-") as folder:
        yield Path(folder)


def _by_place(ends: Iterator[Ended]) -> Sequence[Ended]:
    return sorted(ends, key=lambda ended: ended.at)


def _raised(engine: Engine, function: Callable[..., Any], *args: object) -> Exception:
    try:
        ran = engine.run(function, *args, label="raises")
    except Exception as error:  # noqa: BLE001  # whatever it raises is looked at
        return error
    message = f"it raised nothing and returned {ran.value!r}"
    raise AssertionError(message)


def _value(ended: Ended) -> Any:
    assert ended.ran is not None, f"call {ended.at} failed: {ended.error!r}"
    return ended.ran.value


def _demand_reason(ended: Ended, reason: str) -> None:
    assert ended.error is not None, f"it ended well: {ended}"
    _demand_reason_of(ended.error, reason)


def _demand_reason_of(error: Exception, reason: str) -> None:
    assert isinstance(error, Unavailable), f"Unavailable was due, not {error!r}"
    assert error.fields.get("reason") == reason, f"the reason is {reason!r}, not {error.fields}"


def _demand_workers(engine: Engine) -> None:
    own = engine.run(os.getpid, label="process id").value == os.getpid()
    assert not own, "it runs in the caller's process, which it cannot kill"


def _demand_dead(sign: Path) -> None:
    """Demand that the processes whose ids stand in a file are gone."""
    pids = [int(text) for text in sign.read_text(encoding="ascii").split()]
    until_s = time.monotonic() + _PATIENCE_S
    while alive := [pid for pid in pids if _is_alive(pid)]:
        assert time.monotonic() < until_s, f"processes {alive} of {pids} still live"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        if Path("/proc").exists():
            return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
        os.kill(pid, 0)
    except OSError:  # gone
        return False
    return True


ENGINE_CHECKS: Mapping[str, Callable[[Make], None]] = MappingProxyType(
    {
        "values_and_costs": check_values_and_costs,
        "errors_unchanged": check_errors_unchanged,
        "failure_leaves_others": check_failure_leaves_others,
        "order_of_ends": check_order_of_ends,
        "starts_in_order": check_starts_in_order,
        "slots_are_kept": check_slots_are_kept,
        "out_of_memory": check_out_of_memory,
        "memory_limit": check_memory_limit,
        "time_limit": check_time_limit,
        "time_limit_kills": check_time_limit_kills,
        "cancel_kills": check_cancel_kills,
        "close_kills": check_close_kills,
        "close_is_harmless": check_close_is_harmless,
        "progress_is_heard": check_progress_is_heard,
        "engine_within_engine": check_engine_within_engine,
        "pickles": check_pickles,
        "dead_worker": check_dead_worker,
        "refuses_what_cannot_travel": check_refuses_what_cannot_travel,
    }
)
"""Every check by name: what an engine author parametrizes a test over."""
