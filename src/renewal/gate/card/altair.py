"""The charts of a card, as Vega-Lite specifications drawn with Altair.

Colors are told apart by readers who do not see red and green, and no chart speaks by color
alone: versions differ in their dashes and in the shapes of their marks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import altair as alt

from renewal.gate.card.record import Card, Exhibit
from renewal.gate.card.trail import Trail
from renewal.gate.wording import shown_metric

_COLORS: Final = ["#6f6f6f", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"]
_DASHES: Final = [[2, 3], [1, 0], [7, 3], [4, 2], [1, 2], [9, 2]]
_SHAPES: Final = ["circle", "diamond", "triangle-up", "square", "cross", "triangle-down"]
_WIDE: Final = 760
_SQUARE: Final = 340
_STEP: Final = 26
# More slices than that are a table, not a picture.
_MOST_SLICES: Final = 60

Spec = dict[str, Any]
Lines = list[dict[str, Any]]


def card_charts(card: Card) -> dict[str, Spec]:
    """Draw the charts that have something to show, by the id of their place in the page.

    Parameters
    ----------
    card : Card
        Of any verdict; parts that are empty, or hold nothing finite, are not drawn.

    Returns
    -------
    dict of str to dict
        Among ``chart-roc``, ``chart-said``, ``chart-slices``, ``chart-errors``,
        ``chart-evidence-1`` and on, one for each claim, and ``chart-exhibit-1`` and on. Every
        number in them is finite.
    """
    drawn = {
        "chart-roc": _roc(card),
        "chart-said": _said(card),
        "chart-slices": _slices(card),
        "chart-errors": _errors(card),
        **{f"chart-evidence-{at}": _evidence(each) for at, each in enumerate(card.trails, 1)},
        **{f"chart-exhibit-{at}": _given(each) for at, each in enumerate(card.exhibits, 1)},
    }
    return {name: spec for name, spec in drawn.items() if spec is not None}


def _given(exhibit: Exhibit) -> Spec | None:
    return None if exhibit.chart is None else dict(exhibit.chart)


def _roc(card: Card) -> Spec | None:
    if not card.curves:
        return None
    values = [
        {"version": card.name(each.version_id), "false": x, "true": y, "at": at}
        for each in card.curves
        for at, (x, y) in enumerate(
            zip(each.false_rate.tolist(), each.true_rate.tolist(), strict=True)
        )
    ]
    names = _names(card, (each.version_id for each in card.curves))
    lines = (
        alt.Chart(_data(values))
        .mark_line(interpolate="linear")
        .encode(
            x=alt.X("false:Q", title="false positive rate", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("true:Q", title="true positive rate", scale=alt.Scale(domain=[0, 1])),
            order="at:Q",
            **_of_version(names),
        )
    )
    diagonal = _diagonal(0.0, 1.0, "false", "true")
    return _spec((diagonal + lines).properties(width=_SQUARE, height=_SQUARE))


def _said(card: Card) -> Spec | None:
    values = [
        {"version": card.name(each.version_id), "said": said, "happened": happened, "rows": n}
        for each in card.said
        for n, said, happened in zip(
            each.reliability.n.tolist(),
            each.reliability.predicted.tolist(),
            each.reliability.observed.tolist(),
            strict=True,
        )
        if n and math.isfinite(said) and math.isfinite(happened)
    ]
    if not values:
        return None
    is_values = bool(card.errors)
    ends = [each[key] for each in values for key in ("said", "happened")] if is_values else [0, 1]
    names = _names(card, (each.version_id for each in card.said))
    titles = ("mean predicted", "mean true") if is_values else ("said", "happened")
    base = alt.Chart(_data(values)).encode(
        x=alt.X("said:Q", title=titles[0], scale=alt.Scale(zero=not is_values)),
        y=alt.Y("happened:Q", title=titles[1], scale=alt.Scale(zero=not is_values)),
        tooltip=["version:N", _four("said"), _four("happened"), "rows:Q"],
        **_of_version(names),
    )
    marks = base.mark_line() + base.mark_point(filled=True, opacity=1, size=50).encode(
        shape=_shape("version", names)
    )
    diagonal = _diagonal(min(ends), max(ends), "said", "happened")
    return _spec((diagonal + marks).properties(width=_SQUARE, height=_SQUARE))


def _slices(card: Card) -> Spec | None:
    shown = [each for each in card.slices if math.isfinite(each.gain)][:_MOST_SLICES]
    if not shown:
        return None
    order = [each.name for each in shown]
    points = [{"slice": each.name, "gain": each.gain, "rows": each.n_rows} for each in shown]
    bounds = [
        {"slice": each.name, "lower": each.lower, "upper": each.upper}
        for each in shown
        if math.isfinite(each.lower) and math.isfinite(each.upper)
    ]
    y = alt.Y("slice:N", sort=order, title=None, axis=alt.Axis(labelLimit=260))
    title = "gain in the loss per row (right: the candidate is better)"
    rules = (
        alt.Chart(_data(bounds))
        .mark_rule(strokeWidth=3, color="#9cc3dd")
        .encode(x=alt.X("lower:Q", title=title), x2="upper:Q", y=y)
    )
    dots = (
        alt.Chart(_data(points))
        .mark_point(size=80, filled=True, opacity=1, color="#0072b2")
        .encode(x=alt.X("gain:Q", title=title), y=y, tooltip=["slice:N", _four("gain"), "rows:Q"])
    )
    drawn = (_zero("gain") + rules + dots).properties(width=_WIDE - 200, height=alt.Step(_STEP))
    return _spec(drawn)


def _errors(card: Card) -> Spec | None:
    values = [
        {
            "slice": each.name,
            "version": card.name(each.version_id),
            "bias": each.bias,
            "off": each.absolute,
        }
        for each in card.errors[: _MOST_SLICES * len(card.versions)]
        if math.isfinite(each.bias)
    ]
    if not values:
        return None
    names = _names(card, (each.version_id for each in card.errors))
    order = list(dict.fromkeys(str(each["slice"]) for each in values))
    dots = (
        alt.Chart(_data(values))
        .mark_point(size=70, filled=True, opacity=1)
        .encode(
            x=alt.X("bias:Q", title="mean predicted less mean true"),
            y=alt.Y("slice:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)),
            color=_color("version", names),
            shape=_shape("version", names),
            tooltip=["slice:N", "version:N", _four("bias"), _four("off")],
        )
    )
    return _spec((_zero("bias") + dots).properties(width=_WIDE - 200, height=alt.Step(_STEP)))


def _evidence(trail: Trail) -> Spec | None:
    points = [
        {
            "blocks": each.n_blocks,
            "gain": _finite(each.gain),
            "lower": _finite(each.lower),
            "upper": _finite(each.upper),
            # A bet that has won everything has an infinite e-value; the line ends high.
            "log_e": _finite(min(each.log_e, 10.0 * trail.log_threshold)),
        }
        for each in trail.points
    ]
    if not points:
        return None
    x = alt.X("blocks:Q", title=f"{trail.unit}s so far", axis=alt.Axis(tickMinStep=1))
    bounded = [each for each in points if each["lower"] is not None and each["upper"] is not None]
    bounds = (
        alt.Chart(_data(bounded))
        .mark_rule(strokeWidth=4, color="#9cc3dd")
        .encode(x=x, y=alt.Y("lower:Q"), y2="upper:Q")
    )
    gain = (
        alt.Chart(_data(points))
        .mark_line(color="#0072b2", point=alt.OverlayMarkDef(size=18))
        .encode(
            x=x,
            y=alt.Y("gain:Q", title=f"gain so far, {shown_metric(trail.metric)}"),
            tooltip=["blocks:Q", _four("gain"), _four("lower"), _four("upper")],
        )
    )
    margin = _level("gain", trail.margin)
    log_e = (
        alt.Chart(_data(points))
        .mark_line(color="#d55e00", point=alt.OverlayMarkDef(size=18, color="#d55e00"))
        .encode(x=x, y=alt.Y("log_e:Q", title="log e-value"), tooltip=["blocks:Q", _four("log_e")])
    )
    size = {"width": _WIDE // 2 - 40, "height": 220}
    left = (bounds + margin + gain).properties(**size)
    right = (_level("log_e", trail.log_threshold) + log_e).properties(**size)
    return _spec(alt.hconcat(left, right, spacing=40))


def _names(card: Card, ids: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(card.name(each) for each in ids))


def _of_version(names: Sequence[str]) -> dict[str, Any]:
    dashes = _cycled(_DASHES, len(names))
    return {
        "color": _color("version", names),
        "strokeDash": alt.StrokeDash(
            "version:N", scale=alt.Scale(domain=names, range=dashes), title=None
        ),
    }


def _color(field: str, names: Sequence[str]) -> alt.Color:
    scale = alt.Scale(domain=names, range=_cycled(_COLORS, len(names)))
    return alt.Color(f"{field}:N", scale=scale, title=None)


def _shape(field: str, names: Sequence[str]) -> alt.Shape:
    scale = alt.Scale(domain=names, range=_cycled(_SHAPES, len(names)))
    return alt.Shape(f"{field}:N", scale=scale, title=None)


def _cycled(values: Sequence[Any], n: int) -> list[Any]:
    return [values[at % len(values)] for at in range(n)]


def _diagonal(low: float, high: float, x: str, y: str) -> Any:
    ends = [{x: low, y: low}, {x: high, y: high}]
    line = alt.Chart(_data(ends)).mark_line(color="#b8c4cc", strokeDash=[3, 3])
    return line.encode(x=f"{x}:Q", y=f"{y}:Q")


def _zero(field: str) -> Any:
    return alt.Chart(_data([{field: 0}])).mark_rule(color="#6f6f6f").encode(x=f"{field}:Q")


def _level(field: str, at: float) -> Any:
    rule = alt.Chart(_data([{field: at}])).mark_rule(color="#6f6f6f", strokeDash=[4, 3])
    return rule.encode(y=f"{field}:Q")


def _four(field: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", format=".4f")


def _data(values: Lines) -> Any:
    return alt.InlineData(values=values)


def _finite(value: float) -> float | None:
    """Return None for what JSON has no number for."""
    return value if math.isfinite(value) else None


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
