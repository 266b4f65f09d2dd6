"""Models that would end the process: refused before LightGBM or XGBoost reads them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from renewal.models.lightgbm_bounds import why_unsound

_RNG = np.random.default_rng(0)
_X = _RNG.normal(size=(200, 3))
_Y = _X[:, 0] + (_X[:, 1] > 0)
_SETTINGS = {"objective": "regression", "verbosity": -1, "num_threads": 1, "num_leaves": 4}
MODEL: str = lightgbm.train(_SETTINGS, lightgbm.Dataset(_X, _Y), 2).model_to_string()


def _with(line: str) -> str:
    """Return the model with one line of its first tree replaced, and the sizes as they are."""
    name = line.partition("=")[0]
    start = MODEL.index("Tree=0")
    at = MODEL.index(f"\n{name}=", start) + 1
    changed = MODEL[:at] + line + MODEL[MODEL.index("\n", at) :]
    before = MODEL[MODEL.index("tree_sizes=") :].partition("\n")[0]
    sizes = [int(each) for each in before.partition("=")[2].split()]
    sizes[0] += len(changed) - len(MODEL)
    return changed.replace(before, "tree_sizes=" + " ".join(map(str, sizes)))


def test_what_the_library_wrote_is_sound() -> None:
    assert why_unsound(MODEL) is None
    assert why_unsound(_with("leaf_value=1 2 3 4")) is None
    lines = lightgbm.train({**_SETTINGS, "linear_tree": True}, lightgbm.Dataset(_X, _Y), 3)
    assert why_unsound(lines.model_to_string()) is None
    flat = lightgbm.train({**_SETTINGS, "min_data_in_leaf": 150}, lightgbm.Dataset(_X, _Y), 3)
    assert why_unsound(flat.model_to_string()) is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("left_child=100000000 2 -1", "left_child beyond"),
        ("left_child=0 2 -1", "left_child beyond"),
        ("left_child=1 2 -9", "left_child beyond"),
        ("right_child=-2 -3", "right_child of another length"),
        ("split_feature=0 7 0", "split_feature beyond"),
        ("leaf_value=1.0", "leaf_value of another length"),
        ("leaf_value=1.0 2.0 x 3.0", "leaf_value of no numbers"),
        ("decision_type=1 2 2", "categories that there are not"),
        ("num_leaves=0", "a tree without leaves"),
        ("\nnum_leaves=4", "a line without a name"),
    ],
)
def test_a_tree_that_points_beyond_itself_is_unsound(line: str, says: str) -> None:
    """Breaks when such a tree reaches the library: each of them ends the process."""
    if line.startswith("\n"):
        damaged = MODEL.replace("num_leaves=4", line, 1)
        sizes = MODEL[MODEL.index("tree_sizes=") + 11 :].partition("\n")[0].split()
        more = f"tree_sizes={int(sizes[0]) + 1} {sizes[1]}"
        damaged = damaged.replace(f"tree_sizes={' '.join(sizes)}", more)
    else:
        damaged = _with(line)
    assert says in (why_unsound(damaged) or "")


def test_more_scores_than_trees_are_unsound() -> None:
    """Breaks when the library may write more scores than there is room for."""
    more = MODEL.replace("objective=regression", "objective=multiclass num_class:50")
    assert "an objective of other classes" in (why_unsound(more) or "")


def test_no_damage_ends_the_process() -> None:
    """Breaks when a damaged model gets past the checks: 150 of each library, as they may come."""
    script = Path(__file__).parent / "boosters_damage.py"
    ran = subprocess.run(
        [sys.executable, str(script), "150", "11"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    for library in ("lightgbm", "xgboost"):
        assert found[f"{library} refused"] + found.get(f"{library} answered", 0) == 150
        assert found[f"{library} refused"] > 50
