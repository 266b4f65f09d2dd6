"""The demo's charts, as Vega-Lite specifications drawn with Altair from a `Story`.

Colors are told apart by readers who do not see red and green, and no chart speaks by color
alone: lines differ in their dashes, decisions in the shapes of their marks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import altair as alt

from renewal.cli.demo_story import Decision, MonthScore, Story

WAYS: Final[Mapping[str, str]] = {
    "never": "never updated",
    "live": "live (Renewal)",
    "monthly": "retrained monthly",
}
_WAY_COLORS: Final = ["#6f6f6f", "#0072b2", "#d55e00"]
_WAY_DASHES: Final = [[2, 3], [1, 0], [7, 3]]
_STAGES: Final = ["champion", "canary", "shadow"]
_STAGE_COLORS: Final = ["#0072b2", "#e69f00", "#b8c4cc"]
_OUTCOMES: Final = ["accepted", "rejected", "undecided", "rolled back"]
_OUTCOME_COLORS: Final = ["#007a5a", "#b3261e", "#8a6d00", "#7b1fa2"]
_OUTCOME_SHAPES: Final = ["triangle-up", "cross", "circle", "triangle-down"]
_WIDE: Final = 800
_HALF: Final = 385
_STEP: Final = 26


def months_chart(story: Story) -> dict[str, Any]:
    """Draw AUC and log-loss per month for the three ways to keep a model."""
    values = [
        {
            "month": month.month,
            "way": label,
            "rows": month.n_rows,
            "auc": _number(getattr(month, way).auc),
            "log_loss": _number(getattr(month, way).log_loss),
        }
        for month in story.months
        for way, label in WAYS.items()
    ]
    lines = alt.hconcat(
        _lines(values, "auc", "AUC (higher is better)"),
        _lines(values, "log_loss", "log-loss (lower is better)"),
        spacing=40,
    )
    return _spec(lines)


def serving_chart(story: Story) -> dict[str, Any]:
    """Draw which version was serving when, with the decisions on each."""
    names = [span.version for span in story.serving]
    names += [decision.candidate for decision in story.decisions]
    order = sorted(dict.fromkeys(names), key=_version_order)
    spans = [
        {
            "version": span.version,
            "stage": span.stage,
            "from": span.from_at.isoformat(),
            "until": span.until_at.isoformat(),
        }
        for span in story.serving
    ]
    bars = (
        alt.Chart(_data(spans))
        .mark_bar(height=11, cornerRadius=2)
        .encode(
            x=_when("from"),
            x2="until:T",
            y=alt.Y("version:N", sort=order, title=None),
            color=alt.Color(
                "stage:N", scale=alt.Scale(domain=_STAGES, range=_STAGE_COLORS), title="serving as"
            ),
            tooltip=["version:N", "stage:N", _day("from"), _day("until")],
        )
    )
    marks = [
        {
            "version": decision.candidate,
            "outcome": decision.outcome,
            "at": decision.at.isoformat(),
            "reason": decision.reason,
        }
        for decision in story.decisions
    ]
    signs = (
        alt.Chart(_data(marks))
        .mark_point(size=110, filled=True, opacity=1, stroke="white", strokeWidth=1)
        .encode(
            x=_when("at"),
            y=alt.Y("version:N", sort=order, title=None),
            shape=alt.Shape(
                "outcome:N",
                scale=alt.Scale(domain=_OUTCOMES, range=_OUTCOME_SHAPES),
                title="decision",
            ),
            fill=alt.Fill(
                "outcome:N",
                scale=alt.Scale(domain=_OUTCOMES, range=_OUTCOME_COLORS),
                title="decision",
            ),
            tooltip=["version:N", "outcome:N", _day("at"), "reason:N"],
        )
    )
    layers = (bars + signs).properties(width=_WIDE, height=alt.Step(_STEP))
    return _spec(layers)


def gains_chart(story: Story) -> dict[str, Any]:
    """Draw each decision's claimed gain with its bounds beside the gain that came true."""
    order = [decision_name(n, each) for n, each in enumerate(story.decisions, 1)]
    bounds, points = [], []
    for name, decision in zip(order, story.decisions, strict=True):
        if math.isfinite(decision.lower) and math.isfinite(decision.upper):
            bounds.append({"name": name, "lower": decision.lower, "upper": decision.upper})
        for what, gain in (
            ("claimed by the gate", decision.claimed_gain),
            ("true, next 30 days", decision.true_gain_30d),
        ):
            if math.isfinite(gain):
                points.append({"name": name, "what": what, "gain": gain})
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=240))
    zero = alt.Chart(_data([{"gain": 0}])).mark_rule(color="#6f6f6f").encode(x="gain:Q")
    rules = (
        alt.Chart(_data(bounds))
        .mark_rule(strokeWidth=3, color="#9cc3dd")
        .encode(x=alt.X("lower:Q"), x2="upper:Q", y=y)
    )
    kinds = ["claimed by the gate", "true, next 30 days"]
    dots = (
        alt.Chart(_data(points))
        .mark_point(size=90, filled=True, opacity=1)
        .encode(
            x=alt.X("gain:Q", title="gain in log-loss per row (right: the candidate is better)"),
            y=y,
            shape=alt.Shape(
                "what:N", scale=alt.Scale(domain=kinds, range=["circle", "diamond"]), title=None
            ),
            fill=alt.Fill(
                "what:N", scale=alt.Scale(domain=kinds, range=["#0072b2", "#d55e00"]), title=None
            ),
            tooltip=["name:N", "what:N", alt.Tooltip("gain:Q", format="+.4f")],
        )
    )
    return _spec((zero + rules + dots).properties(width=_WIDE - 130, height=alt.Step(_STEP)))


def decision_name(number: int, decision: Decision) -> str:
    """Name a decision the same in chart and table."""
    pair = f"{decision.candidate} over {decision.baseline}"
    return f"{number}. {pair}, {decision.at.day} {decision.at:%b}"


def mean_scores(months: Iterable[MonthScore], way: str) -> tuple[float, float]:
    """Return AUC and log-loss of one way, monthly values weighted by rows; NaN without any."""
    seen = list(months)
    n_rows = sum(month.n_rows for month in seen)
    if n_rows == 0:
        return math.nan, math.nan
    auc = sum(month.n_rows * getattr(month, way).auc for month in seen) / n_rows
    loss = sum(month.n_rows * getattr(month, way).log_loss for month in seen) / n_rows
    return auc, loss


def _lines(values: list[dict[str, Any]], field: str, title: str) -> Any:
    ways = list(WAYS.values())
    return (
        alt.Chart(_data(values))
        .mark_line(point=alt.OverlayMarkDef(size=36, filled=True))
        .encode(
            x=alt.X("month:N", title=None, axis=alt.Axis(labelAngle=-45)),
            y=alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=False)),
            color=alt.Color("way:N", scale=alt.Scale(domain=ways, range=_WAY_COLORS), title=None),
            strokeDash=alt.StrokeDash(
                "way:N", scale=alt.Scale(domain=ways, range=_WAY_DASHES), title=None
            ),
            tooltip=["month:N", "way:N", alt.Tooltip(f"{field}:Q", format=".4f"), "rows:Q"],
        )
        .properties(width=_HALF, height=220)
    )


def _data(values: list[dict[str, Any]]) -> Any:
    return alt.InlineData(values=values)


def _when(field: str) -> alt.X:
    """Return a time axis in UTC: the same picture in every time zone."""
    axis = alt.Axis(format="%b", labelAngle=0, tickCount="month")
    return alt.X(f"{field}:T", title=None, scale=alt.Scale(type="utc"), axis=axis)


def _day(field: str) -> alt.Tooltip:
    return alt.Tooltip(f"utcyearmonthdate({field}):T", title=field)


def _number(value: float) -> float | None:
    """Return None for what JSON has no number for."""
    return value if math.isfinite(value) else None


def _version_order(name: str) -> tuple[int, str]:
    digits = name.lstrip("v")
    return (int(digits) if digits.isdigit() else 0, name)


def _spec(chart: Any) -> dict[str, Any]:
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
    configured = (
        chart.configure(font=font, background="transparent")
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=12, titleFontSize=12, titleFontWeight="normal")
        .configure_legend(orient="top", labelFontSize=12, titleFontSize=12, symbolSize=90)
    )
    spec: dict[str, Any] = configured.to_dict()
    return spec
