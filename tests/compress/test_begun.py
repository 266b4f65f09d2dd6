"""Notes of what has begun: they outlive a process that dies, and nothing else."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from pathlib import Path

import pytest

from renewal.compress.begun import MOST, noted
from renewal.compress.book import MemoryBook
from renewal.compress.chain import parse_chain
from renewal.compress.material import Material
from renewal.core.errors import Invalid
from renewal.store.local import LocalStore
from renewal.testing.forms import FormCase
from tests.compress.conftest import MakeRunner


def die(folder: Path) -> None:
    """Begin something, and be killed as by the kernel."""
    with noted(folder, "key"):
        os.kill(os.getpid(), signal.SIGKILL)


def test_what_ended_its_process_thrice_does_not_begin_again(tmp_path: Path) -> None:
    """Breaks when a watch that is started anew dies of the same trial for ever."""
    folder = tmp_path / "scratch"
    for _ in range(MOST):
        child = get_context("forkserver").Process(target=die, args=(folder,))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    with pytest.raises(Invalid, match="3 that ended before"), noted(folder, "key"):
        pytest.fail("it has begun")
    with noted(folder, "another"):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_ends_in_this_process_is_no_death(tmp_path: Path, error: type[BaseException]) -> None:
    for _ in range(MOST + 1):
        with pytest.raises(error), noted(tmp_path, "key"):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_a_trial_that_ended_its_process_thrice_has_failed(
    runner_of: MakeRunner, forest: FormCase, tmp_path: Path
) -> None:
    """Breaks when the others are not carried out for its sake."""
    material = forest.material
    scratch = tmp_path / "scratch"
    known = Material(material.task, material.train, material.parent, scratch=scratch)
    bad, good = parse_chain("prune.forest:trees=2"), parse_chain("prune.forest:trees=3")
    elsewhere = runner_of(material=known, book=MemoryBook(LocalStore(tmp_path / "elsewhere")))
    found = elsewhere.trial(bad)
    assert found.failed is None
    assert list(scratch.iterdir()) == []
    (scratch / f"begun-{found.key}").write_bytes(b"." * MOST)
    runner = runner_of(material=known)
    assert "ended before" in str(runner.trial(bad).failed)
    assert runner.trial(good).failed is None
