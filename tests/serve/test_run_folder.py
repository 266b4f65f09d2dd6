"""The run folder: what workers tell each other, and what is left of the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from renewal.core.errors import Unavailable
from renewal.serve.run_folder import RunFolder, read_run, running
from renewal.serve.status import Counts, Ended, ModelStatus, WorkerStatus, added

_HOLD = """
import sys, time
from pathlib import Path
from renewal.serve.run_folder import RunFolder
run = RunFolder(Path(sys.argv[1]))
run.open()
print(run.path, flush=True)
time.sleep(60)
"""


def status(worker: int, n_rows: float, pid: int = 1) -> WorkerStatus:
    """Return a state with one count."""
    counts: Counts = {"rows": [(("flights", "v1"), [n_rows])]}
    models = {"flights": ModelStatus(3, "steady")}
    return WorkerStatus(worker, pid, 1.0, 2.0, "http://127.0.0.1:1", models=models,
                        counts=counts)  # fmt: skip


def total(several: list[WorkerStatus], ended: Ended) -> float:
    """Return the rows of all workers, those that are gone included."""
    counts = added([ended.counts, *(each.counts for each in several)])
    return sum(values[0] for _labels, values in counts.get("rows", []))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    found = RunFolder(tmp_path / "run")
    found.open()
    return found


def joined(run: RunFolder, worker: int) -> RunFolder:
    assert run.path is not None
    return RunFolder.joined(run.path, worker, listens_late=False)


def test_what_a_worker_writes_every_other_reads(run: RunFolder) -> None:
    first, second = joined(run, 0), joined(run, 1)
    second.write(status(1, 4.0))
    first.write(status(0, 3.0))
    first.write(status(0, 5.0))
    seen, ended = second.read()
    assert [(each.worker, each.models["flights"].stage) for each in seen] == [
        (0, "steady"),
        (1, "steady"),
    ]
    assert total(seen, ended) == 9.0
    run.close()


def test_a_dead_workers_counts_stay_and_count_once(run: RunFolder) -> None:
    """Breaks when a counter goes back at the death of a worker, or counts it twice."""
    for round_ in range(3):
        joined(run, 0).write(status(0, 2.0, pid=100 + round_))
        assert total(*run.read()) == 2.0 * (round_ + 1)
        run.retire(100 + round_)
        seen, ended = run.read()
        assert (seen, total(seen, ended)) == ([], 2.0 * (round_ + 1))
    run.close()


def test_a_worker_that_is_retired_while_the_files_are_read_counts_once(run: RunFolder) -> None:
    """Breaks when the file of a worker counts beside its share of the ended."""
    assert run.path is not None
    joined(run, 0).write(status(0, 2.0, pid=5))
    (file,) = run.path.glob("0-*.json")
    data = file.read_bytes()
    run.retire(5)
    file.write_bytes(data)  # as a reader finds it that listed the folder just before
    assert total(*run.read()) == 2.0
    run.close()


def test_an_unloaded_model_is_known_to_all_workers(run: RunFolder) -> None:
    first, second = joined(run, 0), joined(run, 1)
    first.set_unloaded("flights", True)
    first.set_unloaded("taxis", True)
    assert first.unloaded() == {"flights", "taxis"}
    second.refresh()
    assert second.unloaded() == {"flights", "taxis"}
    assert joined(run, 2).unloaded() == {"flights", "taxis"}
    second.set_unloaded("flights", False)
    second.set_unloaded("never", False)
    first.refresh()
    assert first.unloaded() == {"taxis"}
    run.close()


def test_without_a_folder_a_process_keeps_it_to_itself() -> None:
    run = RunFolder()
    run.open()
    run.set_unloaded("flights", True)
    run.refresh()
    run.write(status(0, 1.0))
    run.retire(1)
    assert run.unloaded() == {"flights"}
    run.set_unloaded("flights", False)
    assert run.unloaded() == frozenset()
    assert run.read() == ([], Ended())
    run.close()


def test_the_folder_goes_with_its_server_and_the_dead_are_swept(tmp_path: Path) -> None:
    """Breaks when a killed server stays in the list, or a live one is swept."""
    root = tmp_path / "run"
    assert running(root) == []
    held = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(root)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert held.stdout is not None
        path = Path(held.stdout.readline().strip())
        mine = RunFolder(root)
        mine.open()
        assert mine.path is not None
        assert running(root) == sorted([path, mine.path])
    finally:
        os.kill(held.pid, signal.SIGKILL)
        held.communicate(timeout=30)
    assert running(root) == [mine.path]
    assert path.exists()
    again = RunFolder(root)
    again.open()
    assert not path.exists()
    for each in (mine, again):
        each.close()
        each.close()
    assert running(root) == []


def test_a_file_of_another_form_is_left_out(run: RunFolder) -> None:
    """Breaks when one unreadable file keeps the others from being counted."""
    assert run.path is not None
    joined(run, 0).write(status(0, 2.0))
    (run.path / "1-X.json").write_bytes(b'{"worker": "one"}')
    (run.path / "2-X.json").write_bytes(b"")
    (run.path / "ended.json").write_bytes(b"[")
    seen, ended = read_run(run.path)
    assert total(seen, ended) == 2.0
    run.close()


def test_a_home_that_takes_no_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(Unavailable, match="to write in"):
        RunFolder(tmp_path / "run").open()
