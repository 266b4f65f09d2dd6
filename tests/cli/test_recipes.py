"""Breaks when `compare-recipes` tells people and programs different, or sounds like a verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewal.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    found = capsys.readouterr()
    assert (ended.value.code or 0) == code, found.out + found.err
    return found.out if code == 0 else found.out + found.err


def test_thirty_rows_from_the_gate_to_the_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks when the command that the gate names does not exist or does not answer."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=30)
    data = tmp_path / "rows.parquet"
    columns = {"id": [str(at) for at in range(30)], "x": x, "target": (x > 0).astype(np.int64)}
    pq.write_table(pa.table(columns), data)
    home = ("--home", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "salt").write_bytes(b"roles")  # six rows are for judging
    declared = ("--task", "binary", "--target", "target", "--key", "id", "--data", str(data))
    run(capsys, "init", *home)
    for name in ("dummy:DummyClassifier", "linear_model:LogisticRegression"):
        run(capsys, "train", "m", "--estimator", f"sklearn.{name}", *declared, *home)
    told = " ".join(run(capsys, "gate", "m", "v2", *home, code=5).split())
    assert "undecided" in told
    assert "renewal compare-recipes" in told
    cut = ("compare-recipes", "m", "v2", "--folds", "5", "--repeats", "2", "--seed", "3", *home)
    text = " ".join(run(capsys, *cut).split())
    found = json.loads(run(capsys, *cut, "--json"))
    assert text == found["sentence"]
    assert text.startswith("candidate is better: the candidate's recipe changes log-loss by -")
    assert "30 rows in 5 folds, 2 times" in text
    assert "weaker evidence than a verdict" in text
    assert found["lower"] > 0
    assert "v2 twice" in run(capsys, "compare-recipes", "m", "v2", "v2", *home, code=2)
