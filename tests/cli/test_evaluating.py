"""Breaks when `evaluate`, `report` or `gate --junit` tell people, files or programs different."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from renewal.cli.evaluating import instant
from renewal.cli.main import main
from renewal.core.errors import Invalid

ESTIMATOR = "sklearn.linear_model:LogisticRegression"


def rows(n: int, seed: int, *, shuffled: bool = False) -> pa.Table:
    """Return rows of two inputs and one group; shuffled labels cannot be learned."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, n))
    target = (x + 2 * y + rng.normal(size=n) > 0).astype(np.int64)
    if shuffled:
        target = rng.permutation(target)
    return pa.table(
        {
            "id": [f"{seed}-{i}" for i in range(n)],
            "x": x,
            "y": y,
            "many": rng.integers(0, 3, size=n),
            "target": target,
        }
    )


class Shell:
    """Runs commands in this process and reads what they print."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", str(self.folder / "home")])
        out = self.capsys.readouterr()
        assert (ended.value.code or 0) == code, out.out + out.err
        return out.out if code == 0 else out.out + out.err

    def json(self, *arguments: str, code: int = 0) -> Any:
        text = self.run(*arguments, "--json", code=code)
        return json.loads(text.splitlines()[0])

    def train(self, name: str, table: pa.Table) -> None:
        path = self.folder / name
        pq.write_table(table, path)
        declared = ("--task", "binary", "--target", "target", "--key", "id")
        self.run("train", "m", "--estimator", ESTIMATOR, "--data", str(path), *declared)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Return a home with a bad champion v1 and two better versions, v2 and v3."""
    return Shell(tmp_path_factory.mktemp("evaluating"))


@pytest.fixture
def shell(home: Shell, capsys: pytest.CaptureFixture[str]) -> Shell:
    home.capsys = capsys
    if not (home.folder / "home").exists():
        home.run("init")
        # The same rows are for judging every time.
        (home.folder / "home" / "salt").write_bytes(b"roles")
        home.train("first.parquet", rows(80, 1, shuffled=True))
        home.train("second.parquet", rows(1500, 2))
        home.train("third.parquet", rows(1500, 3))
    return home


def junit(path: Path) -> tuple[ET.Element, list[ET.Element]]:
    """Read a file as the build servers do: counts must be those of its tests."""
    root = ET.parse(path).getroot()  # noqa: S314  # our own bytes
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    cases = list(suite)
    assert {each.tag for each in cases} == {"testcase"}
    for level in (root, suite):
        assert int(level.attrib["tests"]) == len(cases)
        for counted, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
            assert int(level.attrib[counted]) == sum(each.find(tag) is not None for each in cases)
    return suite, cases


def test_versions_side_by_side_with_slices_and_the_winner(shell: Shell) -> None:
    text = shell.run("evaluate", "m", "v2", "v1", "--slice", "many", "--slice", "x:2")
    for wanted in ("log-loss, decides", "auc", "many=0", "x<=", "rows set aside", "v2 wins: "):
        assert wanted in text
    found = shell.json("evaluate", "m", "v1", "v2", "v3", "--slice", "many")
    assert [each["version"] for each in found["versions"]] == ["v1", "v2", "v3"]
    assert len(found["slices"]) == 9
    assert sum(each["n_rows"] for each in found["slices"][::3]) == found["n_rows"]
    assert found["ranking"]["baseline_name"] == "v1", "the champion is what stays"
    assert found["ranking"]["contenders"][0]["state"] == "better"


def test_what_versions_cost_is_measured_where_it_is_asked_for(shell: Shell) -> None:
    found = shell.json("evaluate", "m", "v1", "v2", "--cost")["versions"]
    for each in found:
        assert 0.0 < each["measures"]["ms, 1 row, p50"] <= each["measures"]["ms, 1 row, p99"]
        assert each["measures"]["artifact, bytes"] > 100
    assert "ms, 1 row" not in shell.run("evaluate", "m", "v1")


def test_one_version_has_no_ranking_and_a_champion_that_is_not_asked_for_no_say(
    shell: Shell,
) -> None:
    assert shell.json("evaluate", "m", "v2")["ranking"] is None
    assert shell.json("evaluate", "m", "v3", "v2")["ranking"]["baseline_name"] == "v3"


def test_a_comparison_as_tests_fails_where_a_version_is_shown_to_be_worse(
    shell: Shell, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "evaluate.xml"
    shell.run("evaluate", "m", "v2", "v1", "--junit", str(path))
    suite, cases = junit(path)
    assert suite.attrib["name"] == "renewal.evaluate.m"
    assert [each.attrib["name"] for each in cases] == ["v2 beside v1"]
    assert suite.attrib["failures"] == "0"
    shell.run("evaluate", "m", "v2", "--junit", str(path))
    assert [each.attrib["name"] for each in junit(path)[1]] == ["v2"]


def test_the_card_of_a_verdict_as_text_page_and_json(shell: Shell, tmp_path: Path) -> None:
    xml = tmp_path / "gate.xml"
    verdict = shell.json("gate", "m", "v2", "--junit", str(xml))
    suite, cases = junit(xml)
    assert suite.attrib["name"] == "renewal.gate.m"
    assert len(cases) == len(verdict["clauses"]) + 1
    assert suite.attrib["failures"] == "0", "accepted, and the command exits with 0"
    printed = shell.run("report", "m")
    assert printed.startswith("# m: v2, accept")
    assert max(map(len, printed.splitlines())) <= 80
    told = shell.json("report", "m", "v2", "--beside", "v3")
    assert set(told["metrics"]["auc"]) == {"v1", "v2", "v3"}
    assert told["verdict"]["n_rows"] == verdict["n_rows"]
    same = shell.json(
        "report", "m", "--verdict", told["verdict_id"], "--out", str(tmp_path / "c.md")
    )
    assert Path(same["out"]).read_text(encoding="utf-8").rstrip() == printed.rstrip()
    assert same["n_rows"] == verdict["n_rows"], "measured on other rows than the verdict used"
    page = tmp_path / "card.html"
    assert "card.html" in shell.run("report", "m", "--out", str(page))
    html = page.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert 'id="chart-roc"' in html


def test_what_is_not_accepted_exits_with_5_and_fails_as_a_test(
    shell: Shell, tmp_path: Path
) -> None:
    """A version trained on less noise than the champion is no better, whatever the roles."""
    shell.train("noise.parquet", rows(40, 4, shuffled=True))
    name = shell.json("status")[0]
    version = f"v{name['n_versions']}"
    path = tmp_path / "gate.xml"
    verdict = shell.json("gate", "m", version, "--junit", str(path), code=5)
    assert verdict["outcome"] != "accept"
    suite, cases = junit(path)
    assert int(suite.attrib["failures"]) >= 1
    failure = cases[-1].find("failure")
    assert failure is not None
    assert verdict["reason"] in failure.attrib["message"]


def test_an_error_leaves_no_older_answer_behind(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "gate.xml"
    path.write_text("<testsuites tests='1' failures='0'/>")
    shell.run("gate", "m", "v1", "--junit", str(path), code=4)
    suite, (case,) = junit(path)
    assert suite.attrib["errors"] == "1"
    error = case.find("error")
    assert error is not None
    assert error.attrib["type"] == "Conflict"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("evaluate", "m", "v9"), 3, "v9"),
        (("evaluate", "m", "v1", "v1"), 2, "twice"),
        (("evaluate", "m", "v1", "--slice", "mny"), 2, "many"),
        (("evaluate", "m", "v1", "--since", "soon"), 2, "2013-03-01"),
        (("evaluate", "m", "v1", "--since", "2999-01-01"), 5, "row"),
        (("report", "m", "v3"), 3, "none on v3"),
        (("report", "m", "--verdict", "01X"), 3, "01X"),
        (("report", "m", "--out", "card.pdf"), 2, ".html"),
        (("report", "nobody"), 3, "nobody"),
    ],
)
def test_wrong_input_says_what_to_do(
    shell: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    text = shell.run(*arguments, code=code)
    assert says in text
    assert "Traceback" not in text


def test_instants_without_an_offset_are_in_utc() -> None:
    found = instant("2013-03-01T06:00+01:00", "--since")
    assert found == instant("2013-03-01T05:00", "--since")
    assert instant(None, "--since") is None
    with pytest.raises(Invalid, match=re.escape("--until")):
        instant("tomorrow", "--until")


def test_the_card_of_a_running_test_rests_on_the_rows_of_all_its_looks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two versions of a kind: the fixed look leaves it open, newer rows carry it on."""
    shell = Shell(tmp_path)
    shell.capsys = capsys
    shell.run("init")
    (tmp_path / "home" / "salt").write_bytes(b"roles")
    shell.train("first.parquet", rows(600, 1))
    shell.train("second.parquet", rows(600, 2))
    first = shell.json("gate", "m", "v2", code=5)
    assert first["outcome"] == "undecided"
    shell.train("third.parquet", rows(600, 3))
    second = shell.json("gate", "m", "v2", code=5)
    assert second["look"] == "sequential"
    told = shell.json("report", "m", "v2")
    assert told["n_rows"] == told["verdict"]["n_rows"] == second["n_rows"] > first["n_rows"]
    assert told["notes"] == []
    assert "measured" not in shell.run("report", "m", "v2")
