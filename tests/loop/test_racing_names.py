"""Each heat has a step and a scratch folder of its own, whatever its recipe is called."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from renewal.assemble.home import open_home
from renewal.core.clock import ReplayClock
from renewal.loop.journal import steps_of
from renewal.update.contract import Made
from renewal.update.retrain import Retrain

LONG = ";".join(f"0.{number}" for number in range(10, 50))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # The same letters and figures.
        ("retrain:space=C:1e-3..1e4", "retrain:space=C:1e+3..1e4"),
        # The same first 128 characters of the step, the same first 255 of the folder.
        (f"retrain:space=C:{LONG};1", f"retrain:space=C:{LONG};2"),
        (f"retrain:space=C:{LONG};{LONG};1", f"retrain:space=C:{LONG};{LONG};2"),
    ],
)
def test_recipes_never_share_a_step_or_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    """Broken by names that are cut or cleaned: a kill would hand one recipe the other's loss."""
    original, folders = Retrain.make, []

    def noting(self: Retrain, *args: object) -> Made:
        folder = args[-1].scratch  # type: ignore[attr-defined]  # the last argument is the Means
        folder.mkdir(parents=True)  # fails where it is there, or its name is too long
        folders.append(folder)
        return original(self, *args)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(Retrain, "make", noting)
    rng = np.random.default_rng(0)
    rows = {"key": np.arange(400), "x": rng.normal(size=400), "late": rng.random(400) > 0.5}
    with open_home(tmp_path, clock=ReplayClock(datetime(2020, 1, 1, tzinfo=UTC))) as home:
        model = home.model("m", task="binary", target="late", key="key")
        model.train(LogisticRegression(), {name: each[:200] for name, each in rows.items()})
        model.feed.append({name: each[200:] for name, each in rows.items()})
        done = model.update([first, second])
        assert [each["outcome"] for each in done.entries[-2:]] == ["made", "made"], done.entries
        names = [each["name"] for each in steps_of(home.db, done.run_id)]
    assert sum(name.startswith("select:retrain") for name in names) == 2
    assert len(set(folders)) == len(folders) >= 2
    assert all(len(name) <= 128 for name in names)
