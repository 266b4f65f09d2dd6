"""Compression by what nobody should install, on a disk that nobody should have.

Every result is defined, told in one line, and the champion is as it was: its bytes, its alias.
What would break it: a step that ends the watch or spoils the parent in memory, a trial that
fails for ever, a trace that reaches a user.
"""

from __future__ import annotations

import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from renewal.assemble.home import Home, open_home
from renewal.cli.main import main
from renewal.compress.runner import Changed
from renewal.core.clock import ReplayClock
from renewal.core.errors import Corrupt, Missing, NotFound, Refused, Unavailable
from renewal.loop.journal import COMPRESS, last_runs
from tests.story.compress_home import (
    GOAL,
    at_work,
    declared,
    failed,
    states,
    trained,
)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("leaving", "SystemExit: 3"),
        ("panicking", "PanicError: at the first line"),
        ("classes", "no, yes"),
        ("wide", "shape"),
        ("none", "NoneType"),
    ],
)
def test_a_strangers_step_fails_alone(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    name: str,
    says: str,
) -> None:
    """Breaks when one bad step ends the process, or the search of the others."""
    model = trained(home)
    before = at_work(model)
    done = model.compress([f"prune.{name}", "prune.weaker"], **GOAL)
    assert says in failed(done)[f"prune.{name}"]
    assert done.status == "certified", done.sentence
    assert at_work(model) == before


def test_a_step_that_changes_what_it_is_handed_ends_the_run(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    """Breaks when both sides of a comparison are spoiled, and the book remembers it."""
    model = trained(home)
    before = at_work(model)
    with pytest.raises(Changed, match=r"prune\.vandal"):
        model.compress(["prune.vandal", "prune.weaker"], **GOAL)
    assert states(model) == ["failed"]
    assert at_work(model) == before
    done = model.compress(["prune.weaker"], **GOAL)
    assert done.status == "certified", done.sentence
    assert done.trials[-1]["gain"] > -0.1


def test_a_person_interrupts_and_the_next_round_goes_on(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    """Breaks when Ctrl-C counts as a failed trial, or leaves a run that nobody finishes."""
    model = trained(home)
    before = at_work(model)
    with pytest.raises(KeyboardInterrupt):
        model.compress(["prune.interrupted"], **GOAL)
    assert states(model) == ["open"]
    (note,) = model.status()["notes"]
    assert note == "a compression was left open at 2026-01-01 00:00: renewal watch"
    model.tick()
    (run,) = last_runs(home.db, "m", kind=COMPRESS)
    assert run.state == "done"
    assert run.outcome is not None
    assert run.outcome["certificate"]["certified"]["status"] == "certified"
    assert at_work(model) == before


def test_a_trial_that_does_not_fit_on_the_disk_waits_for_room(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    """Breaks when a full disk is held against the chain, or half a version is registered."""
    model = trained(home)
    before = at_work(model)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(Unavailable):
            model.compress(["prune.filling"], **GOAL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert states(model) == ["open"]
    assert len(model.versions()) == 1
    model.tick()
    assert states(model) == ["done"]
    assert len(model.versions()) == 2
    assert at_work(model) == before


def test_a_step_that_hangs_is_seen_from_outside(
    home: Home,
    strangers: ModuleType,
    folder: Path,
    clock: ReplayClock,
) -> None:
    """Breaks when nobody is told what is under way since when, or a second one goes on, too."""
    model = trained(home)
    before = at_work(model)

    def ask() -> str:
        with open_home(folder, clock=clock) as other:
            return declared(other).compress(["prune.hanging"], **GOAL).status

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            assert strangers.BEGAN.wait(timeout=60)
            (note,) = model.status()["notes"]
            assert "a compression is at the step 'search' since 2026-01-01 00:00, by " in note
            with pytest.raises(Unavailable, match="held by"):
                model.tick()
            assert at_work(model) == before
        finally:
            strangers.GO_ON.set()
        assert asked.result(timeout=60) == "certified"


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_champion_whose_bytes_are_lost_is_told_and_mended_by_a_copy(
    home: Home,
    folder: Path,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    damage: str,
) -> None:
    model = trained(home)
    before = at_work(model)
    name = model.version("v1").manifest.artifact
    path = folder / "objects" / name[:2] / name[2:]
    path.unlink()
    if damage == "cut":
        path.write_bytes(before[1][:-3])
    with pytest.raises(NotFound if damage == "gone" else Corrupt, match="copy"):
        model.compress(["prune.weaker"], **GOAL)
    assert states(model) == ["failed"]
    path.unlink(missing_ok=True)
    path.write_bytes(before[1])
    assert model.compress(["prune.weaker"], **GOAL).status == "certified"
    assert at_work(model) == before


def test_a_trial_whose_bytes_are_damaged_is_done_again(
    home: Home, folder: Path, strangers: ModuleType
) -> None:
    """Breaks when a record of a trial outlives its bytes: every later search would fail."""
    model = trained(home)
    first = model.compress(["prune.weaker"], **GOAL)
    assert first.candidate is not None
    name = first.candidate.manifest.artifact
    path = folder / "objects" / name[:2] / name[2:]
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:-1])
    again = model.compress(["prune.weaker"], tau=-0.2, objective="l1")
    assert again.status == "certified", again.sentence
    assert strangers.RAN["prune.weaker"] == 2
    assert path.read_bytes() == whole


def test_three_who_ask_at_once_are_answered_one_after_the_other(
    home: Home,
    folder: Path,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    clock: ReplayClock,
) -> None:
    model = trained(home)

    def ask(_at: int) -> str:
        with open_home(folder, clock=clock) as other:
            try:
                return declared(other).compress(["prune.weaker"], **GOAL).status
            except Unavailable as error:
                return type(error).__name__

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(ask, range(3)))
    assert set(answers) <= {"certified", "Unavailable"}
    assert "certified" in answers
    assert set(states(model)) == {"done"}
    assert len(model.versions()) == 2


def test_what_is_not_certified_is_promoted_by_nobody_without_force(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    model = trained(home)
    before = at_work(model)
    done = model.compress(["prune.weaker"], tau=-0.0001, objective="l1")
    assert done.status == "uncertified", done.sentence
    assert done.candidate is not None
    for move in (model.promote, model.rollout):
        with pytest.raises(Refused, match="undecided"):
            move(done.candidate)
    assert at_work(model) == before


def test_the_command_answers_in_words_and_never_with_a_trace(
    home: Home,
    folder: Path,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing found is an answer (0); a run that cannot go on is not (2)."""
    trained(home)
    said = []
    for code, chains in (
        (0, ("prune.none", "prune.forest:*")),
        (0, ("prune.leaving", "prune.weaker")),
        (2, ("prune.vandal",)),
    ):
        named = [word for each in chains for word in ("--chain", each)]
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    "compress",
                    "m",
                    *named,
                    "--tau",
                    "-0.1",
                    "--objective",
                    "l1",
                    "--home",
                    str(folder),
                ]
            )
        out = capsys.readouterr()
        assert (ended.value.code or 0) == code, out.err
        assert "Traceback" not in out.out + out.err
        said.append(" ".join((out.out + out.err).split()))
    assert "infeasible" in said[0]
    assert "NoneType" in said[0]
    assert "certified" in said[1]
    assert "prune.vandal needs to leave the model" in said[2]
    with pytest.raises(SystemExit):
        main(["report", "m", "v2", "--out", str(folder / "card.html"), "--home", str(folder)])
    assert "prune.weaker" in (folder / "card.html").read_text(encoding="utf-8")


def test_a_technique_whose_package_is_missing_names_the_extra(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when an extra is named that nobody can install."""
    model = trained(home)
    before = at_work(model)
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    monkeypatch.delitem(sys.modules, "renewal.compress.torch_channels", raising=False)
    with pytest.raises(Missing, match=r"renewal\[compress\]"):
        model.compress(["prune.channels:*"], **GOAL)
    assert states(model) == []
    assert at_work(model) == before
