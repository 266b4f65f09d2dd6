"""Verdicts and comparisons as JUnit XML, which every build server shows as tests."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from renewal.core.errors import RenewalError
from renewal.core.verdict import Clause, Verdict

Result = Literal["passed", "failed", "skipped", "errored"]

_RESULTS: Mapping[str, Result] = {"holds": "passed", "fails": "failed", "cannot_tell": "skipped"}
# What XML 1.0 has no way to write.
_UNWRITABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Case:
    """One test of a suite.

    Parameters
    ----------
    name : str
        Such as a clause, or a version.
    result : {"passed", "failed", "skipped", "errored"}
        Skipped is what cannot be told; it is no pass. Errored is what ended in an error.
    sentence : str
        Why, shown with a failure or a skip, and as output of a pass.
    kind : str, default ""
        Type of a failure, such as ``must_prove``.
    facts : mapping of str to float
        Written as properties.
    """

    name: str
    result: Result
    sentence: str
    kind: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)


def verdict_cases(verdict: Verdict, candidate: str) -> tuple[Case, ...]:
    """Return the verdict as tests: one for each clause, and last the verdict itself.

    Parameters
    ----------
    verdict : Verdict
        Of the gate.
    candidate : str
        Its short name.

    Returns
    -------
    tuple of Case
        A clause that fails is a failure, one that cannot be told is skipped. The verdict is
        a failure unless it accepts, so that a suite fails exactly where the command exits
        with 5.
    """
    is_accepted = verdict.outcome == "accept"
    last = Case(
        name=f"verdict on {candidate}",
        result="passed" if is_accepted else "failed",
        sentence=f"{verdict.outcome}: {verdict.reason}. Next: {verdict.next_action}",
        kind=verdict.outcome,
        facts={"n_rows": verdict.n_rows, "n_blocks": verdict.n_blocks, "e_value": verdict.e_value},
    )
    return (*map(_clause_case, verdict.clauses), last)


@contextmanager
def junit_suite(path: Path | None, suite: str) -> Iterator[list[Case]]:
    """Yield a list for the tests of a suite, and write it as a JUnit file at the end.

    Parameters
    ----------
    path : Path or None
        Folders on the way are made, a file that is there is replaced; None: nothing is
        written.
    suite : str
        Name of the suite, such as ``renewal.gate.flights``.

    Notes
    -----
    What ends in an error is written, too, as a test that errored: the file of an earlier run
    must not be taken for the answer to this one.
    """
    at, begun = datetime.now(UTC), time.perf_counter()
    cases: list[Case] = []
    try:
        yield cases
    except RenewalError as error:
        cases.append(Case("ran to its end", "errored", str(error), kind=type(error).__name__))
        raise
    finally:
        if path is not None:
            if not cases:
                cases.append(Case("ran to its end", "errored", "it did not", kind="interrupted"))
            path.parent.mkdir(parents=True, exist_ok=True)
            seconds = time.perf_counter() - begun
            path.write_bytes(to_junit(suite, cases, at=at, seconds=seconds))


def to_junit(suite: str, cases: Sequence[Case], *, at: datetime, seconds: float) -> bytes:
    """Return a suite of tests as JUnit XML: ``testsuites``, ``testsuite``, ``testcase``.

    Parameters
    ----------
    suite : str
        Its name.
    cases : sequence of Case
        Its tests.
    at : datetime
        When it ran.
    seconds : float
        How long all of it took; tests have no time of their own.

    Examples
    --------
    >>> from datetime import UTC
    >>> cases = [Case("superior", "skipped", "3 of at least 7 days")]
    >>> at = datetime(2013, 3, 1, tzinfo=UTC)
    >>> text = to_junit("renewal.gate.flights", cases, at=at, seconds=0.5).decode()
    >>> '<skipped message="3 of at least 7 days" />' in text, 'skipped="1"' in text
    (True, True)
    """
    counts = {
        "tests": f"{len(cases)}",
        "failures": f"{sum(each.result == 'failed' for each in cases)}",
        "errors": f"{sum(each.result == 'errored' for each in cases)}",
        "skipped": f"{sum(each.result == 'skipped' for each in cases)}",
        "time": f"{seconds:.3f}",
    }
    root = ET.Element("testsuites", {"name": "renewal", **counts})
    named = _writable(suite)
    stamp = at.replace(tzinfo=None).isoformat(timespec="seconds")
    inner = ET.SubElement(root, "testsuite", {"name": named, "timestamp": stamp, **counts})
    for each in cases:
        _write_case(inner, named, each)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _clause_case(clause: Clause) -> Case:
    return Case(
        name=clause.name,
        result=_RESULTS[clause.state],
        sentence=clause.sentence,
        kind=clause.kind,
        facts={
            name: getattr(clause, name)
            for name in ("value", "lower", "upper", "bound", "n_rows", "n_blocks", "alpha")
        },
    )


def _write_case(suite: ET.Element, class_name: str, case: Case) -> None:
    attributes = {"classname": class_name, "name": _writable(case.name), "time": "0"}
    element = ET.SubElement(suite, "testcase", attributes)
    if case.facts:
        properties = ET.SubElement(element, "properties")
        for name, value in case.facts.items():
            ET.SubElement(properties, "property", {"name": name, "value": f"{value:g}"})
    sentence = _writable(case.sentence)
    if case.result in {"failed", "errored"}:
        tag = "failure" if case.result == "failed" else "error"
        kind = _writable(case.kind)
        ET.SubElement(element, tag, {"message": sentence, "type": kind}).text = sentence
    elif case.result == "skipped":
        ET.SubElement(element, "skipped", {"message": sentence})
    else:
        ET.SubElement(element, "system-out").text = sentence


def _writable(text: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
