"""The command line: every verb on a real home, every wrong input with its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from renewal.cli.main import main

ESTIMATOR = "sklearn.linear_model:LogisticRegression"


def rows(n: int, seed: int, *, shuffled: bool = False) -> pa.Table:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n))
    target = (x + 2 * y + rng.normal(size=n) > 0).astype(np.int64)
    if shuffled:
        target = rng.permutation(target)
    names = [f"{seed}-{i}" for i in range(n)]
    return pa.table({"id": names, "x": x, "y": y, "target": target})


class Shell:
    """Runs commands in this process and reads what they print."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", str(self.folder / "home")])
        out = self.capsys.readouterr()
        assert (ended.value.code or 0) == code, out.err
        return out.out if code == 0 else out.out + out.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def file(self, name: str, table: pa.Table) -> str:
        path = self.folder / name
        pq.write_table(table, path)
        return str(path)


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


@pytest.fixture
def trained(shell: Shell) -> Shell:
    shell.run("init")
    first = shell.file("first.parquet", rows(80, 1, shuffled=True))
    shell.run(
        "train", "m", "--estimator", ESTIMATOR, "--data", first,
        "--task", "binary", "--target", "target", "--key", "id",
    )  # fmt: skip
    return shell


def test_the_main_job_by_commands(trained: Shell) -> None:
    more = trained.file("more.parquet", rows(3000, 2))
    trained.run("train", "m", "--estimator", ESTIMATOR, "--data", more)
    found = trained.json("status")
    assert found[0]["champion"] == "v1"
    assert found[0]["n_versions"] == 2
    updated = trained.json("update", "m", "-s", "retrain", "-s", "incremental")
    assert updated["verdict"]["outcome"] == "accept"
    assert {each["outcome"] for each in updated["entries"]} == {"made", "not_possible"}
    assert "log_loss" in trained.run("evaluate", "m", "champion", updated["candidate"])
    promoted = trained.json("promote", "m", updated["candidate"], "--expected", "v1")
    assert promoted["is_champion"]
    late = trained.run("promote", "m", updated["candidate"], "--expected", "v1", code=4)
    assert "Conflict" in late, "a second promote that lost the race must say so"
    kinds = [event["kind"] for event in trained.json("log", "m")]
    assert kinds[0] == "created"
    assert kinds[-1] == "promoted"
    back = trained.json("rollback", "m", "--why", "to try it")
    assert back["version"] == "v1"
    pointed = trained.json("alias", "m", "eu", updated["candidate"], "--why", "a tenant")
    assert pointed == {"alias": "eu", "version": "v3"}
    assert trained.json("alias", "m", "eu") == {"alias": "eu", "version": None}
    trained.run("watch", "--once")


def test_labels_by_file_and_by_hand(trained: Shell) -> None:
    labels = trained.file("labels.parquet", pa.table({"id": ["1-0", "new"], "label": [1, 0]}))
    assert trained.json("feedback", "m", labels) == {"n_labels": 2, "n_waiting": 1}
    found = trained.json("feedback", "m", "--key", "1-1", "--label", "0")
    assert found == {"n_labels": 1, "n_waiting": 0}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("status", "nobody"), 3, "m"),
        (("log", "nobody"), 3, "nobody"),
        (("evaluate", "m", "v9"), 3, "v9"),
        (("gate", "m", "v1"), 4, "champion"),
        (("promote", "m", "v1"), 5, "verdict"),
        (("promote", "m", "v1", "--force", "--who", "x"), 5, "--why"),
        (("rollback", "m"), 3, "champion"),
        (("alias", "m", "champion", "v1"), 2, "rollback"),
        (("alias", "m", "v2", "v1"), 2, "alias"),
        (("alias", "m", "eu", "v9"), 3, "v9"),
        (("update", "m", "-s", "retrian"), 3, "retrain"),
        (("update", "m", "--budget", "soon"), 2, "duration"),
        (("feedback", "m", "--prediction-id", "01X-0", "--label", "1"), 3, "01X"),
        (("feedback", "m", "--key", "1-0", "--label", "NaN"), 2, "label"),
        (("feedback", "m"), 2, "--label"),
        (("train", "m", "--estimator", "nothing", "--data", "x.parquet"), 2, "module:name"),
        (("train", "m", "--estimator", ESTIMATOR, "--data", "x.parquet"), 3, "x.parquet"),
        (("register", "m", "x.skops"), 3, "x.skops"),
    ],
)
def test_wrong_input_says_what_to_do(
    trained: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    before = trained.json("status")
    text = trained.run(*arguments, code=code)
    assert says in text
    assert "Traceback" not in text
    assert trained.json("status") == before, "a refused command left something behind"


def test_gate_without_unseen_rows_is_undecided_and_says_why(trained: Shell) -> None:
    """Nobody knows what it saw, so every row that was there may be one of them."""
    table = rows(200, 4)
    features = np.column_stack([table["x"], table["y"]])
    fitted = LogisticRegression().fit(features, table["target"].to_numpy())
    path = trained.folder / "elsewhere.skops"
    skops.io.dump(fitted, path)
    found = trained.json("register", "m", str(path))
    assert found["n_trained_rows"] == 0
    text = trained.run("gate", "m", found["version"], code=5)
    assert "undecided: no row to judge on" in text
    assert "no version has trained on" in text
    verdicts = [event for event in trained.json("log", "m") if event["kind"] == "verdict"]
    assert ["undecided" in each["why"] for each in verdicts] == [True], "a look leaves its trace"


def test_wrong_column_and_wrong_type_name_the_column(trained: Shell) -> None:
    good = rows(30, 3)
    renamed = trained.file("renamed.parquet", good.rename_columns(["id", "x", "yy", "target"]))
    text = trained.run("train", "m", "--estimator", ESTIMATOR, "--data", renamed, code=2)
    assert "'y'" in text
    words = good.set_column(1, "x", pa.array(["a"] * 30))
    path = trained.file("words.parquet", words)
    text = trained.run("train", "m", "--estimator", ESTIMATOR, "--data", path, code=2)
    assert "'x'" in text
    assert trained.json("status")[0]["n_rows"] == 80


def test_no_home_says_how_to_make_one(shell: Shell) -> None:
    assert "renewal init" in shell.run("status", code=3)


def test_errors_are_json_when_asked(trained: Shell) -> None:
    error = json.loads(trained.run("log", "nobody", "--json", code=3))["error"]
    assert error["kind"] == "NotFound"
    assert "nobody" in error["message"]


def test_truncated_object_is_corrupt_and_named(trained: Shell) -> None:
    objects = [path for path in (trained.folder / "home" / "objects").rglob("*") if path.is_file()]
    for path in objects:
        path.chmod(0o644)
        os.truncate(path, path.stat().st_size // 2)
    more = trained.file("more.parquet", rows(500, 2))
    trained.run("train", "m", "--estimator", ESTIMATOR, "--data", more)
    text = trained.run("update", "m", "-s", "retrain", code=6)
    assert "Corrupt" in text


def test_help_is_quick_to_load() -> None:
    """Help must not import the rooms: a second of waiting for every mistyped option."""
    code = "import sys, renewal.cli.main; print('sklearn' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
