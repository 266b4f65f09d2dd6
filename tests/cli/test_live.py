"""The live view: it says what is served, and fits 80 columns."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from renewal.cli.live import LiveView
from renewal.cli.live_drawing import draw
from renewal.cli.live_numbers import Seen, quantile, seen
from renewal.serve.counters import SECONDS
from renewal.serve.run_folder import RunFolder
from renewal.serve.status import ArmStatus, Counts, Ended, Event, ModelStatus, WorkerStatus


def times(n: float, seconds: float) -> list[float]:
    """Return the buckets of n requests that all took the same time."""
    buckets = [0.0] * (len(SECONDS) + 2)
    buckets[next(at for at, end in enumerate(SECONDS) if seconds <= end)] = n
    buckets[-1] = n * seconds
    return buckets


def counts(n: float) -> Counts:
    """Return the counts of a canary that has answered n requests of ten rows."""
    return {
        "replies": [
            (("flights", "v11", "champion", "v2", "200"), [n]),
            (("flights", "", "", "v2", "429"), [7.0]),
            (("", "", "", "page", "503"), [9.0]),
        ],
        "rows": [
            (("flights", "v11", "champion"), [9 * n]),
            (("flights", "v12", "candidate"), [n]),
        ],
        "failed_rows": [(("flights", "v12", "candidate"), [3.0])],
        "shadow_rows": [(("flights", "v13"), [5 * n])],
        "request_seconds": [
            (("flights", "v11", "champion"), times(n, 0.002)),
            (("flights", "v9", "pinned"), times(n, 0.2)),
        ],
        "log_rows": [((), [10 * n])],
        "log_rows_dropped": [((), [4.0])],
    }


ARMS = [
    ArmStatus("champion", "v11", 0.9, "compiled"),
    ArmStatus("candidate", "v12", 0.1, "process"),
    ArmStatus("shadow", "v13", 0.0, "native"),
]


def worker(number: int, n: float, **more: Any) -> WorkerStatus:
    """Return a worker that has answered n requests."""
    models = {"flights": ModelStatus(12, "canary", ARMS, {"v11": 123_456}), "taxis": ModelStatus()}
    more = {"is_ready": True, "has_started": True, "models": models, **more}
    return WorkerStatus(
        number,
        4_100_000 + number,
        1_000.0,
        9_000.0,
        "http://127.0.0.1:8080",
        gauges={"log_rows_waiting": 12.0},
        counts=counts(n),
        events=[
            Event(5.0, "flights", "canary: v11 90%, v12 10%"),
            Event(6.0, "flights", "bytes of v13 differ " * 9, is_failure=True),
        ],
        **more,
    )


def lines(drawn: Any, width: int = 80) -> list[str]:
    """Return what a terminal of this width shows."""
    out = StringIO()
    Console(file=out, width=width, force_terminal=False).print(drawn)
    return out.getvalue().splitlines()


def _words(text: str) -> list[str]:
    return text.split()


def view(*workers: WorkerStatus, before: float = 0.0, **more: Any) -> list[str]:
    """Return the view at 80 columns, ten seconds after another look."""
    then = seen(0.0, [worker(0, before)], Ended())
    return lines(draw(then, seen(10.0, workers, Ended()), 9_001.0, **more))


def test_rates_times_and_states_stand_where_they_are_looked_for() -> None:
    found = view(worker(0, 30_000.0), before=10_000.0)
    text = "\n".join(found)
    assert found[0].startswith("renewal serve  http://127.0.0.1:8080  up 2h13m")
    assert found[1] == "workers  4100000 ready"
    (champion,) = [line.split() for line in found if line.startswith(" champion v11")]
    assert champion == _words("champion v11 90% compiled 2,000 18,000 1.75 2.49 0 123k")
    (candidate,) = [line.split() for line in found if line.startswith(" candidate v12")]
    assert candidate[2:6] == ["10%", "process", "0", "2,000"]
    assert candidate[-2:] == ["3", "0"]
    (shadow,) = [line.split() for line in found if line.startswith(" shadow v13")]
    assert shadow == _words("shadow v13 native 10,000 0 0")
    (pinned,) = [line.split() for line in found if line.startswith(" pinned v9")]
    assert pinned == _words("pinned v9 2,000 0 175 248 0")
    assert "flights  canary, plan 12" in text
    assert "taxis  nothing loaded" in text
    assert "replies 30,007  refused 7  failed 0" in text
    assert "log     300,000 rows  waiting 12  dropped 4" in text
    assert "flights canary: v11 90%, v12 10%" in text
    assert "swap failed: bytes of v13 differ" in text


def test_no_line_is_wrapped_or_cut_in_its_numbers_at_80_columns() -> None:
    """Breaks when the table grows past a usual terminal."""
    found = view(*(worker(each, 9_999_999.0) for each in range(3)))
    assert max(map(len, found)) <= 80
    head = next(line for line in found if line.startswith("arm"))
    assert head.split()[-1] == "queue"
    for name in ("champion", "candidate", "shadow"):
        assert sum(line.startswith(f" {name} ") for line in found) == 1


def test_workers_say_how_they_are() -> None:
    found = view(
        worker(0, 1.0),
        worker(1, 1.0, is_ready=False, has_started=False),
        worker(2, 1.0, is_ready=False, is_draining=True),
        worker(3, 1.0, is_ready=False),
    )
    text = " ".join(found[1:4])
    for said in ("4100000 ready", "4100001 loading", "4100002 stopping", "4100003 not ready"):
        assert said in text
    silent = seen(10.0, [worker(0, 1.0)], Ended())
    assert "silent for 1m40s" in " ".join(lines(draw(silent, silent, 9_100.0)))


def test_a_worker_that_lags_behind_is_seen() -> None:
    late = worker(1, 1.0, models={"flights": ModelStatus(11, "steady", ARMS[:1])})
    assert any("1 of 2 workers to follow" in line for line in view(worker(0, 1.0), late))


def test_many_models_are_cut_to_the_busy_ones() -> None:
    """Breaks when a hundred models push the log and the last swaps off the screen."""
    models = {f"m{each:03}": ModelStatus(1, "steady", ARMS[:1]) for each in range(100)}
    busy: Counts = {"rows": [(("m077", "v11", "champion"), [50.0])]}
    many = WorkerStatus(0, 1, 0.0, 9_000.0, "http://x:1", models=models, counts=busy)
    found = lines(draw(Seen(0.0, []), seen(10.0, [many], Ended()), 9_001.0, 30))
    assert len(found) <= 30
    assert any(line.startswith("m077") for line in found)
    assert any("models that have less to do" in line for line in found)
    assert any(line.startswith("log ") for line in found)


def test_nothing_is_there_yet_and_nothing_any_more() -> None:
    run = RunFolder()
    console = Console(file=StringIO(), width=80)
    assert "starting" in lines(LiveView(run, console))[0]
    now = seen(10.0, [worker(0, 5.0)], Ended())
    last = lines(draw(now, now, 9_001.0, has_stopped=True))
    assert "stopped" in last[0]
    assert any(line.startswith("replies 12") for line in last)
    assert not any("waiting" in line for line in last)


@pytest.mark.parametrize(("seconds", "said"), [(0.0004, "0.25"), (0.002, "1.75"), (9.0, "7,500")])
def test_a_quantile_lies_in_its_bucket(seconds: float, said: str) -> None:
    assert quantile(times(4.0, seconds), 0.5) == said


def test_a_quantile_beyond_the_last_bucket_says_so() -> None:
    buckets = [0.0] * (len(SECONDS) + 2)
    buckets[len(SECONDS)] = 1.0
    assert quantile(buckets, 0.5) == ">10,000"
    assert quantile([0.0] * len(buckets), 0.5) == ""
