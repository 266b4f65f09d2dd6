"""The demo's report: one HTML file that needs no network, no server and no other file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final

from renewal.cli.demo_charts import (
    WAYS,
    decision_name,
    gains_chart,
    mean_scores,
    months_chart,
    serving_chart,
)
from renewal.cli.demo_story import Decision, Story, UpdateLine
from renewal.gate.card.page import Charts, Html, figure, page, table
from renewal.gate.card.writing import replace_file

_UNKNOWN: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"


def write_report(path: Path, story: Story) -> Path:
    """Write the report of a demo as one self-contained HTML file.

    Parameters
    ----------
    path : Path
        Where to; a file that is there is replaced, whole or not at all.
    story : Story
        What was measured.

    Returns
    -------
    Path
        `path`, absolute.

    Notes
    -----
    About 2 s and 1.1 MB, most of it the bundled chart library.
    """
    charts = _charts(story)
    parts = [
        _head(story),
        _months(story, charts),
        _serving(story, charts),
        _decisions(story, charts),
        _alarms(story),
        _updates(story),
        _requests(story),
    ]
    return replace_file(path, page(_title(story), "\n".join(parts), charts))


def _charts(story: Story) -> Charts:
    """Draw the charts that have something to show, by the id of their place in the page."""
    has_claims = any(
        math.isfinite(each.claimed_gain) or math.isfinite(each.true_gain_30d)
        for each in story.decisions
    )
    drawn: Mapping[str, tuple[bool, Callable[[Story], dict[str, Any]]]] = {
        "chart-months": (bool(story.months), months_chart),
        "chart-serving": (bool(story.serving), serving_chart),
        "chart-gains": (has_claims, gains_chart),
    }
    return {name: draw(story) for name, (is_worth, draw) in drawn.items() if is_worth}


def _title(story: Story) -> str:
    return f"Renewal: {story.model}, {_day(story.from_at)} to {_day(story.until_at)}"


def _head(story: Story) -> str:
    seconds = sum(update.training_s for update in story.updates)
    n_accepted = sum(decision.outcome == "accepted" for decision in story.decisions)
    facts = [(f"log-loss, {WAYS[way]}", f"{mean_scores(story.months, way)[1]:.4f}") for way in WAYS]
    facts += [
        ("updates", f"{len(story.updates)}"),
        ("accepted", f"{n_accepted} of {len(story.decisions)}"),
        ("training", f"{seconds:.1f} s"),
        ("requests", f"{story.n_requests:,}"),
        ("failed requests", f"{story.failed_requests:,}"),
    ]
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    form = "The quick form: part of the flights. " if story.is_quick else ""
    return f"""<h1>{escape(_title(story))}</h1>
<p class="soft">{form}{story.n_rows:,} rows were asked about over HTTP in the order of their
events, {story.n_labels:,} labels came back when they were due. The whole took
{story.wall_s:.0f} s.</p>
<dl class="facts">{cells}</dl>"""


def _months(story: Story, charts: Charts) -> str:
    rows = [
        [month.month, f"{month.n_rows:,}"]
        + [f"{getattr(month, way).auc:.3f}" for way in WAYS]
        + [f"{getattr(month, way).log_loss:.4f}" for way in WAYS]
        for month in story.months
    ]
    means = [mean_scores(story.months, way) for way in WAYS]
    total = [
        "mean, by rows",
        f"{sum(month.n_rows for month in story.months):,}",
        *(f"{auc:.3f}" for auc, _loss in means),
        *(f"{loss:.4f}" for _auc, loss in means),
    ]
    columns = ["month", "rows"]
    columns += [f"{what}, {way}" for what in ("AUC", "log-loss") for way in WAYS.values()]
    return f"""<h2>Month by month</h2>
<p>The same rows for all three. "Live" is whatever answered the requests; the other two never
served.</p>
{figure("chart-months", charts, "AUC and log-loss per month of three models; numbers below.")}
{table(columns, rows, n_text=1, total=total if rows else None)}"""


def _serving(story: Story, charts: Charts) -> str:
    rows = [
        [
            span.version,
            span.stage,
            f"{span.from_at:%Y-%m-%d %H:%M}",
            f"{span.until_at:%Y-%m-%d %H:%M}",
        ]
        for span in story.serving
    ]
    return f"""<h2>What was serving</h2>
{figure("chart-serving", charts, "Versions in service over time; the table below says the same.")}
<details><summary>As a table</summary>{table(["version", "as", "from", "until"], rows, n_text=4)}
</details>"""


def _decisions(story: Story, charts: Charts) -> str:
    rows = [
        [
            decision_name(number, each),
            Html(
                f'<span class="tag {each.outcome.replace(" ", "-")}">{escape(each.outcome)}</span>'
            ),
            Html(f'{escape(each.strategy)}<div class="why">{escape(each.reason)}</div>'),
            _gain(each.claimed_gain),
            _bounds(each),
            _gain(each.true_gain_30d),
            f"{each.n_rows:,}",
            f"{each.n_blocks:,}",
        ]
        for number, each in enumerate(story.decisions, 1)
    ]
    columns = ["decision", "outcome", "strategy, and why", "claimed gain", "bounds"]
    columns += ["true gain, 30 days", "rows", "blocks"]
    return f"""<h2>What the gate claimed, and what came true</h2>
<p>A gain is the log-loss of the baseline less that of the candidate, mean per row. The line is
the gate's interval; the true gain was measured on the 30 days after the decision, which the
gate had not seen.</p>
{figure("chart-gains", charts, "Claimed and true gain of each decision; numbers below.")}
{table(columns, rows, n_text=3)}"""


def _alarms(story: Story) -> str:
    rows = [
        [
            f"{alarm.at:%Y-%m-%d}",
            alarm.kind,
            alarm.version,
            Html(escape(alarm.sentence) + _evidence(alarm.evidence)),
        ]
        for alarm in story.alarms
    ]
    columns = ["day", "kind", "version", "what the monitor said, and its evidence"]
    return f"<h2>Alarms</h2>\n{table(columns, rows, n_text=4)}"


def _updates(story: Story) -> str:
    parts = [_update(update) for update in story.updates]
    body = "\n".join(parts) or table([], [], n_text=0)
    return f"<h2>Updates and their training</h2>\n{body}"


def _update(update: UpdateLine) -> str:
    """Write one update: its reasons once, then the race."""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in update.reasons)
    rows = [
        [
            entry.strategy,
            entry.outcome.replace("_", " "),
            entry.reason,
            f"{entry.seconds:.2f}" if entry.outcome == "made" else _UNKNOWN,
        ]
        for entry in update.entries
    ]
    columns = ["strategy", "outcome", "why", "training s"]
    return f"""<h3>{_day(update.at)}, {update.training_s:.1f} s of training</h3>
<ul class="reasons">{reasons}</ul>
{table(columns, rows, n_text=3)}"""


def _requests(story: Story) -> str:
    return f"""<h2>Requests</h2>
<p>{story.n_requests:,} requests with {story.n_rows:,} rows, <strong>failed requests:
{story.failed_requests:,}</strong>. The client had no retries.</p>"""


def _evidence(evidence: Mapping[str, Any]) -> str:
    items = "; ".join(
        f"{escape(str(name).replace('_', ' '))}: {escape(_plain(value))}"
        for name, value in evidence.items()
    )
    return f'<div class="why">{items}</div>' if items else ""


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(each) for each in value)
    return str(value)


def _day(at: datetime) -> str:
    return f"{at.day} {at:%B %Y}"


def _bounds(decision: Decision) -> str:
    if math.isnan(decision.lower) and math.isnan(decision.upper):
        return _UNKNOWN
    return Html(f"{_gain(decision.lower)}<br>to {_gain(decision.upper)}")


def _gain(value: float) -> str:
    return f"{value:+.4f}".replace("-", _MINUS) if math.isfinite(value) else _UNKNOWN
