"""kill -9 in the middle of a search: the next watch goes on, and runs no trial twice.

What would break this: a trial that is kept only when the search ends, a journal step that
begins the search anew under another name, a look of the gate that is taken twice.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("dying_search.py")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], ...]:
    """Return what is left of a calm life, and of many short ones."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("chaos"))],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return tuple(json.loads(line) for line in done.stdout.splitlines())


def test_a_calm_search_ends_in_a_rollout(outcomes: tuple[dict[str, Any], ...]) -> None:
    calm = outcomes[0]
    assert (calm["n_killed"], calm["n_runs"], calm["state"]) == (0, 1, "done")
    assert (calm["status"], calm["rollouts"]) == ("certified", ["shadow"])
    assert len(calm["written"]) >= 5


def test_a_killed_search_goes_on_from_its_trials(outcomes: tuple[dict[str, Any], ...]) -> None:
    calm, killed = outcomes
    assert killed["n_killed"] >= 2
    assert len(set(killed["written"])) == len(killed["written"]), "a trial was run twice"
    assert len(killed["written"]) == len(killed["trials"]) == len(calm["trials"])
    for name in ("n_runs", "state", "status", "n_versions", "n_looks", "rollouts", "champion"):
        assert killed[name] == calm[name], name
    assert killed["attempts"] == {**calm["attempts"], "search": killed["n_killed"] + 1}
