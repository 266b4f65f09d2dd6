"""What a worker says of itself."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from renewal.serve.batcher import BatchStats
from renewal.serve.options import ServeOptions
from renewal.serve.reporter import BATCH_ROWS, Reporter, _Batches
from renewal.serve.run_folder import RunFolder
from renewal.serve.server import Server


def test_a_worker_tells_its_plan_its_arms_and_its_shadow(home: Any) -> None:
    home.declare()
    first, second = home.version(seed=1), home.version(seed=2)
    home.champion(first)
    home.shadowed(first, second)
    server = home.start()
    found = server._works.reporter.write()
    assert (found.worker, found.url) == (0, server.url)
    assert (found.has_started, found.is_ready, found.is_draining) == (True, True, False)
    model = found.models["flights"]
    assert model.stage == "shadow"
    assert [(each.arm, each.version, each.weight) for each in model.arms] == [
        ("champion", "v1", 1.0),
        ("shadow", "v2", 0.0),
    ]
    assert model.queue_rows == {"v1": 0, "v2": 0}
    assert found.gauges["memory_bytes"] > 1e6
    assert [each.what for each in found.events] == ["shadow: v1 100%, v2 in shadow"]
    server.stop()
    ended = server._works.reporter.write()
    assert (ended.is_ready, ended.is_draining) == (False, True)


def test_a_model_without_a_version_is_told_as_such(home: Any) -> None:
    home.declare()
    server = home.start()
    assert server._works.reporter.write().models["flights"].plan_seq == -1


def test_batches_of_a_version_that_is_loaded_again_go_on_counting() -> None:
    """Breaks when only the batches since the last load are told: a counter would go back."""
    batches = _Batches()
    for _ in range(20):
        batches.see(BatchStats(n_rows=2002, sizes={1: 2, 2048: 1}))
    again = BatchStats(n_rows=2, sizes={1: 2})
    batches.see(again)
    batches.see(again)
    found = batches.buckets()
    assert found[0] == 42.0
    assert found[len(BATCH_ROWS)] == 20.0
    assert found[-1] == 42.0 + 40_000.0


def test_a_disk_that_takes_no_state_is_logged_once_and_serving_goes_on(
    home: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home.declare()
    home.champion(home.version(seed=1))
    server = home.start()
    works = server._works
    works.run = RunFolder.joined(tmp_path / "gone", 0, listens_late=False)
    reporter = Reporter(works)
    with caplog.at_level(logging.ERROR, logger="renewal.serve"):
        reporter.write()
        reporter.write()
    assert [each.message for each in caplog.records] == [
        "the worker's state is not written; it is tried again"
    ]
    assert home.client(server).infer("flights").status == 200


def test_a_home_that_takes_no_run_folder_is_served_all_the_same(
    home: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Breaks when a server does not start where it may not write, say in a sealed container."""
    home.declare()
    home.champion(home.version(seed=1))
    taken = tmp_path / "taken"
    taken.write_bytes(b"")
    parts = (home.registry, home.store, home.feed, home.log_folder, home.clock)
    server = Server(*parts, ServeOptions(drain_s=0.02), run=RunFolder(taken))
    with caplog.at_level(logging.WARNING, logger="renewal.serve"):
        server.start()
    try:
        assert home.client(server).infer("flights").status == 200
    finally:
        server.stop()
    assert any("nobody can see" in each.message for each in caplog.records)


def test_a_state_that_is_not_known_all_night_is_one_line(
    home: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Breaks when a server that is out of file descriptors fills the disk with its log."""
    home.declare()
    home.champion(home.version(seed=1))
    server = home.start()
    folder = tmp_path / "run"
    folder.mkdir()
    n_looks: list[int] = []

    class Counted(RunFolder):
        """Counts how often it was asked."""

        def refresh(self) -> None:
            """Note it, and read as it is."""
            n_looks.append(1)
            super().refresh()

    joined = Counted.joined(folder, 0, listens_late=False)
    (folder / "unloaded").write_bytes(b"")  # a file where a folder should be
    with caplog.at_level(logging.ERROR, logger="renewal.serve"):
        server._works.run = joined
        until_s = time.monotonic() + 20
        while len(n_looks) < 5 and time.monotonic() < until_s:
            time.sleep(0.02)
    assert len(n_looks) >= 5
    messages = [each.message for each in caplog.records]
    assert messages.count("the worker's state is not known; it is tried again") == 1
