"""A self-contained HTML page: style, tables and charts, with nothing loaded from anywhere.

Cards and the demo's report are both such pages. Each chart is drawn twice: as an SVG picture
in the page, which is all that a reader without scripts needs, and as a live chart that
replaces it. The page forbids itself, by its content-security policy, to load anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

import vl_convert

Charts = Mapping[str, Mapping[str, Any]]
"""Vega-Lite specifications by the id of their place in the page."""


class Html(str):
    """Text that is markup already; any other text is escaped before it enters a page."""

    __slots__ = ()


_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    # Vega compiles its expressions.
    "script-src 'unsafe-inline' 'unsafe-eval'"
)

_STYLE: Final = """
:root { color-scheme: light; --ink: #1d2429; --soft: #566069; --line: #dde3e7; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 32px 24px 64px; max-width: 1000px; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 44px 0 6px; }
h3 { font-size: 16px; margin: 24px 0 2px; }
p { margin: 4px 0 12px; max-width: 75ch; }
.soft { color: var(--soft); }
dl.facts { display: grid; grid-template-columns: repeat(4, 1fr);
  gap: 12px; margin: 24px 0 0; }
dl.facts div { border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; }
dl.facts dt { color: var(--soft); font-size: 13px; }
dl.facts dd { margin: 0; font-size: 21px; font-variant-numeric: tabular-nums; }
figure { margin: 12px 0 4px; }
figure svg { max-width: 100%; height: auto; }
@media (max-width: 640px) { dl.facts { grid-template-columns: repeat(2, 1fr); } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 8px 0 4px; font-size: 14px; }
caption { text-align: left; color: var(--soft); padding-bottom: 6px; }
th, td { text-align: left; vertical-align: top; padding: 6px 10px 6px 0;
  border-bottom: 1px solid var(--line); }
thead th { font-weight: 600; color: var(--soft); border-bottom: 2px solid var(--line); }
tbody th { font-weight: 600; min-width: 12ch; }
.num { text-align: right; font-variant-numeric: tabular-nums; }
td.num { white-space: nowrap; }
.why { color: var(--soft); font-size: 13px; font-weight: 400; }
tr.all th, tr.all td { font-weight: 600; border-top: 2px solid var(--line); }
.tag { display: inline-block; padding: 0 8px; border-radius: 10px; white-space: nowrap;
  font-size: 13px; border: 1px solid currentColor; }
.accepted { color: #00664b; } .rejected { color: #b3261e; }
.undecided { color: #705800; } .rolled-back { color: #7b1fa2; }
ul.reasons { margin: 2px 0 6px; padding-left: 20px; max-width: 95ch; }
"""

_DRAW: Final = """
for (const [id, spec] of Object.entries(JSON.parse(document.getElementById("specs").textContent)))
  vegaEmbed("#" + id, spec, {actions: false, renderer: "svg"}).then(
    () => { document.getElementById(id).dataset.drawn = "yes"; },
    (error) => { document.getElementById(id).dataset.drawn = String(error); });
"""


def page(title: str, body: str, charts: Charts) -> str:
    """Return a whole HTML document.

    Parameters
    ----------
    title : str
        Plain text.
    body : str
        Markup; `figure` puts the places of the charts into it.
    charts : mapping of str to dict
        What is drawn there.
    """
    # A "<" inside JSON could end the script element that holds it.
    specs = json.dumps(charts, allow_nan=False).replace("<", "\\u003c")
    versions = [_vega_lite(spec) for spec in charts.values()]
    bundle = vl_convert.javascript_bundle(_DRAW, vl_version=versions[0]) if charts else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="specs">{specs}</script>
<script type="module">{bundle}</script>
</body>
</html>
"""


def figure(name: str, charts: Charts, description: str) -> str:
    """Return the picture of a chart, or nothing where there is no such chart.

    Parameters
    ----------
    name : str
        Its id.
    charts : mapping
        All charts of the page.
    description : str
        What it shows, for readers who do not see it.
    """
    if name not in charts:
        return ""
    picture = vl_convert.vegalite_to_svg(dict(charts[name]), vl_version=_vega_lite(charts[name]))
    label = escape(description)
    return f'<figure><div id="{name}" role="img" aria-label="{label}">{picture}</div></figure>'


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    n_text: int,
    total: Sequence[str] | None = None,
) -> str:
    """Return a table whose first cell in each row is the row's name.

    Parameters
    ----------
    columns : sequence of str
        Names.
    rows : iterable of sequences
        Cells; text is escaped unless it is `Html`.
    n_text : int
        Columns after so many hold numbers and stand to the right.
    total : sequence of str or None
        A last row that sums up.

    Examples
    --------
    >>> table(["a"], [], n_text=1)
    '<p class="soft">None.</p>'
    >>> "&lt;b&gt;" in table(["a", "n"], [("<b>", "1")], n_text=1)
    True
    """
    lines = [_line(cells, n_text, "") for cells in rows]
    if not lines:
        return '<p class="soft">None.</p>'
    if total is not None:
        lines.append(_line(total, n_text, ' class="all"'))
    heads = "".join(
        f'<th scope="col"{_kind(at, n_text)}>{escape(name)}</th>' for at, name in enumerate(columns)
    )
    inner = f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="scroll"><table>{inner}</table></div>'


def _line(cells: Sequence[str], n_text: int, row_kind: str) -> str:
    name, *others = (text if isinstance(text, Html) else escape(text) for text in cells)
    inner = f'<th scope="row">{name}</th>' + "".join(
        f"<td{_kind(at, n_text)}>{text}</td>" for at, text in enumerate(others, 1)
    )
    return f"<tr{row_kind}>{inner}</tr>"


def _kind(at: int, n_text: int) -> str:
    return ' class="num"' if at >= n_text else ""


def _vega_lite(spec: Mapping[str, Any]) -> str:
    """Return the version of Vega-Lite that a specification names, as vl-convert writes it."""
    release = str(spec["$schema"]).rsplit("/v", 1)[1].removesuffix(".json")
    return ".".join(release.split(".")[:2])
