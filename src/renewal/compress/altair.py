"""The Pareto chart of a compression, as a Vega-Lite specification drawn with Altair.

Marks differ in shape and not by color alone, and their colors are told apart by readers who do
not see red and green.
"""

from __future__ import annotations

import math
from typing import Any, Final

import altair as alt

from renewal.compress.report import UNITS, CompressionReport, Mark

_KINDS: Final = ["certified", "tested", "on the front", "other", "parent"]
_COLORS: Final = ["#0072b2", "#d55e00", "#566069", "#b8c4cc", "#1d2429"]
_SHAPES: Final = ["circle", "triangle-down", "square", "cross", "diamond"]
_WIDE: Final = 700
_HIGH: Final = 320
# From here on a linear axis would press the small ones into one another.
_LOG_FROM: Final = 10.0

Spec = dict[str, Any]


def pareto_chart(report: CompressionReport) -> Spec | None:
    """Draw the objective against the gain over the parent, with the line that had to hold.

    Parameters
    ----------
    report : CompressionReport
        Trials of unknown size are left out.

    Returns
    -------
    dict or None
        None where no trial has come to a model. Every number in it is finite.
    """
    marks = [each for each in report.marks if math.isfinite(each.value + each.gain)]
    if not marks:
        return None
    points = [_point(each) for each in marks]
    if report.parent_value is not None and math.isfinite(report.parent_value):
        nothing = {"chain": "nothing", "value": report.parent_value, "gain": 0.0}
        points.append({**nothing, "kind": "parent", "bound": None})
    x, y = _x(report, [float(each["value"]) for each in points]), _y(report)
    bounded = [each for each in points if each["bound"] is not None]
    rules = (
        alt.Chart(alt.InlineData(values=bounded))
        .mark_rule(strokeWidth=2, color="#9cc3dd")
        .encode(x=x, y=alt.Y("bound:Q"), y2="gain:Q")
    )
    present = [kind for kind in _KINDS if any(each["kind"] == kind for each in points)]
    at = [_KINDS.index(kind) for kind in present]
    colors = alt.Scale(domain=present, range=[_COLORS[each] for each in at])
    shapes = alt.Scale(domain=present, range=[_SHAPES[each] for each in at])
    dots = (
        alt.Chart(alt.InlineData(values=points))
        .mark_point(size=80, filled=True, opacity=1)
        .encode(
            x=x,
            y=y,
            color=alt.Color("kind:N", scale=colors, title=None),
            shape=alt.Shape("kind:N", scale=shapes, title=None),
            tooltip=[
                "chain:N",
                "kind:N",
                alt.Tooltip("value:Q", format=",.4~g"),
                alt.Tooltip("gain:Q", format="+.4f"),
                alt.Tooltip("bound:Q", format="+.4f"),
            ],
        )
    )
    line = (
        alt.Chart(alt.InlineData(values=[{"gain": -report.margin}]))
        .mark_rule(color="#6f6f6f", strokeDash=[4, 3])
        .encode(y="gain:Q")
    )
    return _spec((line + rules + dots).properties(width=_WIDE, height=_HIGH))


def _point(mark: Mark) -> dict[str, Any]:
    bound = mark.lower if mark.lower is not None and math.isfinite(mark.lower) else None
    found = {"chain": mark.chain, "value": mark.value, "gain": mark.gain}
    return {**found, "kind": mark.kind, "bound": bound}


def _x(report: CompressionReport, values: list[float]) -> alt.X:
    low, high = min(values), max(values)
    is_wide = low > 0.0 and high / low >= _LOG_FROM
    scale = alt.Scale(type="log") if is_wide else alt.Scale(zero=False)
    return alt.X("value:Q", title=f"{UNITS[report.objective]} (left: smaller)", scale=scale)


def _y(report: CompressionReport) -> alt.Y:
    title = f"gain in {report.metric} over the parent; dashed: the line"
    return alt.Y("gain:Q", title=title, scale=alt.Scale(zero=False))


def _spec(chart: Any) -> Spec:
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
    configured = (
        chart.configure(font=font, background="transparent")
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal")
        .configure_legend(orient="top", labelFontSize=12, titleFontSize=12, symbolSize=90)
    )
    spec: Spec = configured.to_dict()
    return spec
