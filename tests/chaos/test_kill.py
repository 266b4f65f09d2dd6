"""kill -9 at every moment of every journal step: the next watch finishes the update.

What would break this: a step whose side effect is committed apart from its record, a look of
the gate that is taken twice, a version that is registered twice, a lease that is never freed.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("crashing.py")
STEPS = (
    "pin",
    "select:keep",
    "select:recalibrate(method=sigmoid)",
    "select:retrain",
    "fit",
    "register",
    "keep",
    "compare",
    "verdict",
    "roll out",
)
CASES = [f"{step}@{moment}" for step in STEPS for moment in ("begun", "worked", "recorded")]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("chaos")
    cases = ["none@", *CASES, "finish@begun", "finish@recorded"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *cases],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["case"]: each for each in found}


def test_undisturbed_update_ends_in_a_rollout(outcomes: dict[str, dict[str, Any]]) -> None:
    calm = outcomes["none@"]
    assert calm["state"] == "done"
    assert calm["rollout"] == ["shadow"]
    assert set(calm["attempts"]) == set(STEPS)
    assert set(calm["attempts"].values()) == {1}


@pytest.mark.parametrize("case", [*CASES, "finish@begun", "finish@recorded"])
def test_killed_update_is_finished_by_the_next_watch(
    outcomes: dict[str, dict[str, Any]], case: str
) -> None:
    calm, killed = outcomes["none@"], outcomes[case]
    for name in ("n_runs", "state", "n_versions", "n_looks", "n_verdicts", "n_rollouts"):
        assert killed[name] == calm[name], name
    assert killed["rollout"] == calm["rollout"]
    assert killed["champion"] == "v1"
    assert killed["loads"] == calm["loads"]
    step, _, moment = case.rpartition("@")
    for name, attempt in killed["attempts"].items():
        cut_off = name == step and moment in {"begun", "worked"}
        assert attempt == (2 if cut_off else 1), name
