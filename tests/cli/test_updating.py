"""The commands ``update`` and ``sweep``: what is foreseen, what is shown, what goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewal.cli.main import main

ESTIMATOR = "sklearn.linear_model:LogisticRegression"
POLICY = '[update]\nprice_per_hour = 36.0\n[engine]\nkind = "inline"\n'


class Shell:
    """Runs commands in this process, with a home in which a champion is stale."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = folder / "home"
        self.capsys = capsys
        self.run("init")
        (self.home / "renewal.toml").write_text(POLICY, encoding="utf-8")
        for number, n_rows in enumerate((80, 2_500)):
            pq.write_table(rows(n_rows, number), folder / f"{number}.parquet")
        declared = ("--task", "binary", "--target", "target", "--key", "id")
        for number in (0, 1):
            data = str(folder / f"{number}.parquet")
            more = declared if number == 0 else ()
            self.run("train", "m", "--estimator", ESTIMATOR, "--data", data, *more)

    def run(self, *arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", str(self.home)])
        out = self.capsys.readouterr()
        assert (ended.value.code or 0) == code, out.err
        return out.out if code == 0 else out.out + out.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


def rows(n_rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n_rows))
    target = (x + 2 * y + rng.normal(size=n_rows) > 0).astype(np.int64)
    if seed == 0:
        target = rng.permutation(target)
    names = [f"{seed}-{at}" for at in range(n_rows)]
    return pa.table({"id": names, "x": x, "y": y, "target": target})


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


def test_a_dry_run_fits_nothing_and_says_what_it_would_take(shell: Shell) -> None:
    found = shell.json("update", "m", "-s", "retrain", "-s", "incremental", "--dry-run")
    assert [each["recipe"] for each in found] == ["keep", "retrain", "incremental"]
    assert found[1]["expected_s"] > 0
    assert found[1]["cost"] == pytest.approx(found[1]["expected_s"] * 36.0 / 3600.0)
    assert "no partial_fit" in found[2]["why_not"]
    text = shell.run("update", "m", "-s", "retrain", "--dry-run")
    assert "nothing was fitted" in text
    both = shell.run("update", "m", "-s", "retrain", "-s", "incremental", "--dry-run")
    assert "that never ran here" not in both  # the one without an estimate cannot run at all
    assert shell.json("status")[0]["n_versions"] == 2
    assert [event["kind"] for event in shell.json("log", "m")].count("version") <= 2


def test_the_leaderboard_has_the_best_on_top(shell: Shell) -> None:
    text = shell.run("update", "m", "-s", "recalibrate", "-s", "retrain", "-s", "incremental")
    lines = text.splitlines()
    assert max(map(len, lines[:-1])) <= 100
    at = {
        name: next(number for number, line in enumerate(lines) if line.startswith(name))
        for name in ("retrain", "recalibrate", "keep", "incremental")
    }
    assert at["retrain"] < at["recalibrate"] < at["incremental"]
    assert "cost" in lines[0]
    assert "accept" in text


@pytest.mark.parametrize(
    ("budget", "outcome"), [("1 trial", "skipped"), ("0 usd", "skipped"), ("1h", "made")]
)
def test_budgets_of_every_kind(shell: Shell, budget: str, outcome: str) -> None:
    found = shell.json("update", "m", "-s", "recalibrate", "-s", "retrain", "--budget", budget)
    assert found["entries"][-1]["outcome"] == outcome


@pytest.mark.parametrize("budget", ["", "-1m", "1e400 usd", "nan", "2 trials and"])
def test_other_budgets_are_refused(shell: Shell, budget: str) -> None:
    text = shell.run("update", "m", "--budget", budget, code=2)
    assert "budget" in text.lower() or "duration" in text
    assert shell.json("status")[0]["n_versions"] == 2


def test_sweep_says_what_went(shell: Shell) -> None:
    shell.run("update", "m", "-s", "recalibrate", "-s", "retrain")
    assert shell.json("sweep")["m"] == {"versions": [], "n_bytes": 0}
    swept = shell.json("sweep", "m", "--older", "0s")["m"]
    assert len(swept["versions"]) == 1
    assert "m" in shell.run("sweep", "--older", "0s")
    assert shell.json("status")[0]["champion"] == "v1"
    shell.run("sweep", "nobody", code=3)
    shell.run("sweep", "m", "--older", "soon", code=2)
