"""The command ``compress``: what is shown at 80 columns, what programs read, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewal.cli.main import main

ESTIMATOR = "sklearn.ensemble:ExtraTreesClassifier"
CHAINS = ("--chain", "prune.forest:trees=30", "--chain", "prune.path", "-c", "quantize.static:*")


class Shell:
    """Runs commands in this process, with a home in which a forest is champion."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"

    def prepare(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Train a forest on rows of a file."""
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(2, 1_500))
        target = (x + y + 0.5 * rng.normal(size=1_500) > 0).astype(np.int64)
        names = [str(at) for at in range(1_500)]
        data = self.home.parent / "rows.parquet"
        pq.write_table(pa.table({"id": names, "x": x, "y": y, "target": target}), data)
        self.run(capsys, "init")
        declared = ("--task", "binary", "--target", "target", "--key", "id")
        self.run(capsys, "train", "m", "--estimator", ESTIMATOR, "--data", str(data), *declared)

    def run(self, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
        """Return what a command prints, after it ended with `code`."""
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", str(self.home)])
        out = capsys.readouterr()
        assert (ended.value.code or 0) == code, out.err
        return out.out if code == 0 else out.out + out.err


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """Return a shell with a champion."""
    made = Shell(tmp_path)
    made.prepare(capsys)
    return made


def test_a_compression_is_told_at_80_columns_and_to_programs(
    shell: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks when a long chain or a long reason makes lines that no terminal shows."""
    monkeypatch.setattr("renewal.cli.show._WIDTH_OF_A_PIPE", 80)
    asked = ("compress", "m", "--tau", "-0.1", "--objective", "bytes", "--budget", "5m", *CHAINS)
    text = shell.run(capsys, *asked)
    assert max(map(len, text.splitlines())) <= 80, text
    assert "certified" in text
    assert "v2 is registered, the gate says accept" in text
    assert "prune.forest(trees=30)" in text
    assert "got one of sklearn" in " ".join(text.split())
    found: Any = json.loads(shell.run(capsys, *asked, "--json"))
    assert found["status"] == "certified"
    assert found["candidate"] == "v2"
    assert found["verdict"]["outcome"] == "accept"
    chains = {each["chain"]: each for each in found["trials"]}
    assert chains["nothing"]["gain"] == 0.0
    failed = [each for each in found["trials"] if each["failed"] is not None]
    assert failed
    assert found["report"]["status"] == "certified"
    (status,) = json.loads(shell.run(capsys, "status", "--json"))
    assert (status["champion"], status["n_versions"]) == ("v1", 2)
    log = json.loads(shell.run(capsys, "log", "m", "--json"))
    assert [each["kind"] for each in log].count("failed") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("m", "--tau", "much"), 2, "tau"),
        (("m", "--tau", "-2"), 2, "tau"),
        (("m", "--objective", "byts"), 2, "Did you mean 'bytes'"),
        (("m", "--metric", "accurac"), 2, "accuracy"),
        (("m", "--metric", "rmse"), 2, "rmse"),
        (("m", "--chain", "prune.forest(trees"), 2, "steps such as"),
        (("m", "--chain", "prune.forest:tres=3"), 2, "trees"),
        (("m", "--chain", "export.graph:*"), 2, "no free knob"),
        (("m", "--budget", "5 bananas"), 2, "5 bananas"),
        (("m", "--budget", "0s"), 2, "budget"),
        (("nobody",), 3, "nobody"),
        (("m", "--chain", "prune.foret:*"), 3, "prune.forest"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_begun(
    shell: Shell,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    told = shell.run(capsys, "compress", *arguments, code=code)
    assert says in " ".join(told.split())
    (status,) = json.loads(shell.run(capsys, "status", "--json"))
    assert status["notes"] == []
    assert json.loads(shell.run(capsys, "log", "m", "--json"))[-1]["kind"] != "failed"
