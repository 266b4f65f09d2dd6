"""The command ``label-request``: the sheet that it writes, the way back, every wrong input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

import renewal
from renewal.cli.main import main


def people(n: int, seed: int) -> pa.Table:
    """Draw rows whose truth needs both columns."""
    rng = np.random.default_rng(seed)
    a, b, noise = rng.normal(size=(3, n))
    y = (a + b + 0.5 * noise > 0).astype(np.int64)
    return pa.table({"id": [f"{seed}-{i}" for i in range(n)], "a": a, "b": b, "y": y})


class Shell:
    """Runs commands in this process and reads what they print."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> str:
        """Return what a command prints, once its exit code is the one that is due."""
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", str(self.folder / "home")])
        out = self.capsys.readouterr()
        assert (ended.value.code or 0) == code, out.err
        return out.out + (out.err if code else "")

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Return the JSON document that a command prints."""
        return json.loads(self.run(*arguments, "--json", code=code).splitlines()[0])


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Return a home with a champion that leaves a column out, a candidate, and bare rows."""
    found = Shell(tmp_path, capsys)
    found.run("init")
    (tmp_path / "home" / "salt").write_bytes(b"roles")  # the same rows for judging every time
    (tmp_path / "home" / "renewal.toml").write_text('[gate]\nmust_prove = ["superior(accuracy)"]\n')
    seen = people(400, 1)
    pq.write_table(seen, tmp_path / "seen.parquet")
    found.run(
        "train", "m", "--estimator", "sklearn.dummy:DummyClassifier", "--data",
        str(tmp_path / "seen.parquet"), "--task", "binary", "--target", "y", "--key", "id",
    )  # fmt: skip
    frame = seen.select(["a", "b"]).to_pandas()
    fitted = LogisticRegression().fit(frame, seen["y"].to_numpy())
    (tmp_path / "new.skops").write_bytes(skops.io.dumps(fitted))
    found.run(
        "register", "m", str(tmp_path / "new.skops"), "--trained-on", str(tmp_path / "seen.parquet")
    )
    return found


@pytest.fixture
def waiting(shell: Shell) -> Shell:
    """Return the home with 3,000 rows that nobody has labeled."""
    with renewal.open(shell.folder / "home") as opened:
        opened.model("m").feed.append(people(3_000, 2).drop_columns("y"))
    return shell


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_sheet_goes_out_and_comes_back(waiting: Shell, suffix: str) -> None:
    """The whole way by commands; breaks when a file cannot be filled in and sent as it is."""
    path = waiting.folder / f"ask{suffix}"
    made = waiting.json("label-request", "m", "--labels", "60", "--out", str(path))
    assert (made["candidate"], made["champion"], made["metric"]) == ("v2", "v1", "accuracy")
    assert (made["n_asked"], made["n_came"], made["out"]) == (60, 0, str(path))
    assert made["plan"]["n_random"] > 0
    sheet = pv.read_csv(path) if suffix == ".csv" else pq.read_table(path)
    assert sheet.column_names == ["renewal_asked", "id", "a", "b", "renewal_chance", "y"]
    said = waiting.run("gate", "m", "v2", code=5)
    assert "0 of 60 asked labels came" in " ".join(said.split())
    truth = dict(zip(*(people(3_000, 2)[name].to_pylist() for name in ("id", "y")), strict=True))
    labels = pa.array([truth[key] for key in sheet["id"].to_pylist()])
    filled = sheet.set_column(sheet.column_names.index("y"), "y", labels)
    write = pv.write_csv if suffix == ".csv" else pq.write_table
    write(filled, path)
    assert waiting.json("feedback", "m", str(path)) == {"n_labels": 60, "n_waiting": 0}
    done = waiting.run("label-request", "m")
    assert "60 labels came, 0 are missing" in done
    assert "next: renewal gate m v2" in done
    assert waiting.json("gate", "m", "v2")["outcome"] == "accept"


def test_predictions_are_shown_only_when_asked_for(waiting: Shell) -> None:
    """Who labels must not be led by what the versions say."""
    path = waiting.folder / "ask.parquet"
    waiting.run("label-request", "m", "v2", "--labels", "9", "--out", str(path))
    assert "renewal_champion" not in pq.read_table(path).column_names
    told = waiting.run("label-request", "m", "--show-predictions", "--out", str(path))
    assert "9 rows to label" in told
    assert {"renewal_champion", "renewal_candidate"} <= set(pq.read_table(path).column_names)


def test_the_answer_says_what_random_labels_would_take(waiting: Shell) -> None:
    told = " ".join(waiting.run("label-request", "m", "--gain", "0.2", "--seed", "3").split())
    assert "to find a gain of 0.2 with a chance of 80%" in told
    assert "labels here" in told
    assert "at random" in told
    assert "--out" in told


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nobody",), 3, "nobody"),
        (("m", "v9"), 3, "v9"),
        (("m", "v1"), 4, "champion"),
        (("m", "--out", "x.xlsx"), 2, ".csv or .parquet"),
        (("m", "--metric", "auc"), 2, "accuracy or loss"),
        (("m", "--labels", "0"), 2, "at least one label"),
        (("m", "--labels", "9", "--out", "/no/such/place.csv"), 2, "a place"),
        (("m", "--gain", "0.0001"), 5, "too few"),
    ],
)
def test_wrong_input_says_what_to_do(
    waiting: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert says in " ".join(waiting.run("label-request", *arguments, code=code).split())


def test_no_rows_at_all(shell: Shell) -> None:
    assert "Refused" in shell.run("label-request", "m", code=5)
