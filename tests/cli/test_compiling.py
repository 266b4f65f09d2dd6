"""Breaks when `renewal compile` tells people or programs something else than the record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import renewal
from renewal.cli.main import main
from renewal.evaluate.compiled_record import read_form
from renewal.models.onnx_convert import compile_key


def test_a_version_is_compiled_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table names what was compared; JSON and the registry hold the same record."""
    x = np.random.default_rng(1).normal(size=(400, 2))
    rows = pa.table({"a": x[:, 0], "b": x[:, 1], "late": (x.sum(axis=1) > 0).astype(np.int64)})
    pq.write_table(rows, tmp_path / "rows.parquet")
    home = ["--home", str(tmp_path / "home")]
    declared = ["--task", "binary", "--target", "late"]
    tree = ["--estimator", "sklearn.tree:DecisionTreeClassifier"]
    for command in (
        ["init"],
        ["train", "m", *tree, "--data", str(tmp_path / "rows.parquet"), *declared],
        ["compile", "m"],
    ):
        _run([*command, *home])
    text = capsys.readouterr().out
    assert "m is served" in text
    for name in ("held-out", "many gaps", "beside thresholds", "batches", "native ms"):
        assert name in text
    _run(["compile", "m", "v1", "--json", *home])
    said = json.loads(capsys.readouterr().out)
    assert said["reason"].startswith("equal")
    with renewal.open(tmp_path / "home") as opened:
        version = opened.model("m").version("champion")
        found = read_form(opened.db, version.id, str(compile_key("sklearn")))
    assert found is not None
    assert (found.form, found.reason) == (said["form"], said["reason"])
    assert [each["name"] for each in said["probes"]] == [each.name for each in found.probes]


def _run(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
