"""The report of a compression: JSON values, text of 80 columns, and the chart of the front.

Breaks when a value is no JSON, a line too long, a certified point not told apart, or when what
was not measured is shown as a number.
"""

from __future__ import annotations

import json
import math

import numpy as np
import vl_convert

from renewal.compress.altair import pareto_chart
from renewal.compress.certify import Certified, Contender, Evidence, certify
from renewal.compress.front import Point
from renewal.compress.goal import Goal
from renewal.compress.report import (
    CompressionReport,
    Latency,
    Side,
    plain,
    report_of,
    to_text,
)
from renewal.compress.size import Size
from renewal.evaluate.cost import Cost
from renewal.stats.discordant import Discordant

GOAL = Goal(tau=-0.01, metric="accuracy")
LONG = "prune.channels(keep=0.5,round_to=8) > recover.distil(epochs=2) > quantize.static"


def certified(margin: float = 0.01) -> Certified:
    """Return two models, the second of them not certified."""
    found = []
    for key, label, value, lost in (("a", LONG, 900.0, 4), ("b", "quantize.dynamic", 300.0, 40)):
        table = Discordant(3, lost, n_rows=2_000)
        on = Evidence(table.mean, table, 2_000, lost=lost, gained=3)
        found.append(Contender(key, label, value, on, {"a slice with a rather long name": on}))
    return certify(found, margin=margin)


def report(result: Certified | None = None) -> CompressionReport:
    """Return a report with everything in it."""
    cost = Cost(np.array([0.5, 0.6]), np.array([4.0, 5.0]))
    points = [
        Point("a", LONG, "f", 900.0, -0.001),
        Point("b", "quantize.dynamic", "g", 300.0, -0.02),
        Point("c", "prune.magnitude", "h", 950.0, -0.05),
        Point("d", "factorize.svd", "i", 100.0, -0.4),
    ]
    return report_of(
        certified() if result is None else result,
        GOAL,
        parent=Side("v3", Size(4_400_000, 1_100_000, 1_100_000, 1e21, None), Latency.of(cost)),
        model=Side("v4", Size(900, 1_000, 900, 12.5, 4_000), Latency(0.1, 0.2), 123),
        points=points,
    )


def test_plain_values_are_json() -> None:
    found = json.loads(json.dumps(plain(report()), allow_nan=False))
    assert found["status"] == "certified"
    assert found["model"]["latency"]["p50_64"] is None
    assert [each["kind"] for each in found["marks"]] == [
        "other",
        "certified",
        "tested",
        "on the front",
    ]
    assert found["claims"][0]["lost"] == 4


def test_text_fits_and_says_what_matters() -> None:
    text = to_text(report())
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "CERTIFIED",
        "accuracy falls by at most 0.01",
        "4,400,000",
        "4.89e+03x",
        "all rows",
    ):
        assert words in text
    assert "nan" not in text


def test_text_of_what_is_not_certified() -> None:
    text = to_text(report(certified(margin=0.001)))
    assert "UNCERTIFIED" in text
    assert max(map(len, text.splitlines())) <= 80
    beyond = to_text(report(certified(margin=-0.1)))
    assert "INFEASIBLE" in beyond


def test_the_chart_is_drawn_with_finite_numbers() -> None:
    spec = pareto_chart(report())
    assert spec is not None
    text = json.dumps(spec, allow_nan=False)
    assert '"certified"' in text
    assert '"log"' in text
    svg = vl_convert.vegalite_to_svg(spec)
    assert "quantize.dynamic" in svg


def test_no_model_is_no_chart() -> None:
    empty = report_of(certify([], margin=0.01), GOAL, parent=Side("v3", None), model=None)
    assert pareto_chart(empty) is None
    assert math.isnan(empty.parent.latency.p50_1)
    assert to_text(empty).startswith("INFEASIBLE")
