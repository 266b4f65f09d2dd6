"""Breaks when a build server would read a verdict as a pass that it is not."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.cli.junit import Case, junit_suite, to_junit, verdict_cases
from renewal.core.errors import NotFound
from renewal.core.verdict import Clause, Outcome, State, Verdict

AT = datetime(2013, 3, 1, 6, tzinfo=UTC)
NAN = math.nan
# Children that the schemas of Jenkins, GitLab and Maven Surefire all know.
KNOWN = {"properties", "failure", "error", "skipped", "system-out"}
RESULTS = st.sampled_from(["passed", "failed", "skipped", "errored"])
CASES = st.lists(st.builds(Case, st.text(), RESULTS, st.text(), st.text()), max_size=6)


def clause(name: str, state: State) -> Clause:
    return Clause(
        name, "must_prove", state, 0.1, 0.05, NAN, 0.0, 900, 14, 12.0, 0.025, 0.01, 80.0, "t",
        f"{name} in words",
    )  # fmt: skip


def verdict(outcome: Outcome, *clauses: Clause) -> Verdict:
    return Verdict(
        outcome, "c" * 64, "b" * 64, "superior", "log_loss", 0.1, 0.05, NAN, 0.0, 0.004, 0.025,
        "first", 900, 14, 12.0, 3, 0, 1, "the reason", "roll out", clauses,
    )  # fmt: skip


def parsed(data: bytes) -> list[ET.Element]:
    """Read a suite and check its shape and its counts against its tests."""
    root = ET.fromstring(data)  # noqa: S314  # our own bytes
    assert root.tag == "testsuites"
    (suite,) = root
    assert suite.tag == "testsuite"
    cases = list(suite)
    for level in (root, suite):
        assert level.attrib["tests"] == str(len(cases))
        assert float(level.attrib["time"]) >= 0.0
        for counted, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
            found = sum(each.find(tag) is not None for each in cases)
            assert level.attrib[counted] == str(found)
    datetime.fromisoformat(suite.attrib["timestamp"])
    for each in cases:
        assert each.tag == "testcase"
        assert {"classname", "name", "time"} <= set(each.attrib)
        assert {child.tag for child in each} <= KNOWN
        assert sum(each.find(tag) is not None for tag in ("failure", "error", "skipped")) <= 1
    return cases


@given(CASES, st.text())
def test_any_suite_is_xml_of_the_usual_shape(cases: list[Case], suite: str) -> None:
    """Names hold whatever a column holds; XML has no way to write some of it."""
    assert len(parsed(to_junit(suite, cases, at=AT, seconds=1.5))) == len(cases)


def test_a_clause_is_a_test_and_so_is_the_verdict() -> None:
    found = verdict_cases(
        verdict(
            "reject", clause("superior", "holds"), clause("slice a", "fails"),
            clause("slice b", "cannot_tell"),
        ),
        "v3",
    )  # fmt: skip
    assert [each.result for each in found] == ["passed", "failed", "skipped", "failed"]
    cases = parsed(to_junit("renewal.gate.m", found, at=AT, seconds=0.0))
    assert [each.attrib["name"] for each in cases] == [
        *("superior", "slice a", "slice b"),
        "verdict on v3",
    ]
    failure, skipped = cases[1].find("failure"), cases[2].find("skipped")
    assert failure is not None
    assert skipped is not None
    assert (failure.attrib["type"], failure.text) == ("must_prove", "slice a in words")
    assert skipped.attrib["message"] == "slice b in words"
    value = cases[0].find("properties/property[@name='value']")
    assert value is not None
    assert value.attrib["value"] == "0.1"


@pytest.mark.parametrize(
    ("outcome", "result"), [("accept", "passed"), ("reject", "failed"), ("undecided", "failed")]
)
def test_the_verdict_passes_only_where_it_accepts(outcome: Outcome, result: str) -> None:
    """Also without a clause: what could not be compared is no pass by default."""
    (found,) = verdict_cases(verdict(outcome), "v3")
    assert found.result == result
    assert "the reason" in found.sentence


def test_what_ends_in_an_error_is_no_empty_suite(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "gate.xml"
    with pytest.raises(NotFound), junit_suite(path, "renewal.gate.m"):
        raise NotFound("the gate", needs="a version", came="'v9'", todo="Check it.")
    (case,) = parsed(path.read_bytes())
    error = case.find("error")
    assert error is not None
    assert error.attrib["type"] == "NotFound"
    with pytest.raises(KeyboardInterrupt), junit_suite(path, "renewal.gate.m"):
        raise KeyboardInterrupt
    (case,) = parsed(path.read_bytes())
    assert case.find("error") is not None


def test_without_a_file_nothing_is_written(tmp_path: Path) -> None:
    with junit_suite(None, "renewal.gate.m") as cases:
        cases.append(Case("a", "passed", ""))
    assert not list(tmp_path.iterdir())
