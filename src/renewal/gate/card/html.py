"""A card as one HTML page that loads nothing: tables for reading, charts for seeing."""

from __future__ import annotations

from html import escape

from renewal.core.verdict import Clause
from renewal.gate.card.altair import card_charts
from renewal.gate.card.page import Charts, Html, figure, page, table
from renewal.gate.card.record import READING_ALPHA, Card
from renewal.gate.card.words import (
    STATES,
    Table,
    calibration_line,
    clause_evidence,
    clause_values,
    curve_heights,
    error_rows,
    flip_rows,
    metric_values,
    said_bins,
    slice_rows,
    standings,
    trail_line,
    trail_rows,
)
from renewal.gate.wording import counted, level

_TAGS = {"accept": "accepted", "reject": "rejected", "undecided": "undecided"}
_STATE_TAGS = {"holds": "accepted", "fails": "rejected", "cannot_tell": "undecided"}


def to_html(card: Card) -> str:
    """Write a card as one self-contained page.

    Parameters
    ----------
    card : Card
        Of any verdict.

    Returns
    -------
    str
        A whole document; every number of a chart stands in a table, too.

    Notes
    -----
    About 2 s and 1.1 MB, most of it the bundled chart library.
    """
    charts = card_charts(card)
    parts = [
        _head(card),
        _clauses(card),
        _versions(card),
        _ranking(card),
        _trails(card, charts),
        _curves(card, charts),
        _said(card, charts),
        _slices(card, charts),
        _flips(card),
        _errors(card, charts),
        *_exhibits(card, charts),
    ]
    name = card.name(card.verdict.candidate)
    title = f"{card.model}: {name}" if card.model else f"Verdict on {name}"
    return page(title, "\n".join(each for each in parts if each), charts)


def _head(card: Card) -> str:
    verdict = card.verdict
    facts = [
        ("candidate", card.name(verdict.candidate)),
        ("beside", card.name(verdict.baseline)),
        ("unseen rows", f"{verdict.n_rows:,}"),
        ("evidence", counted(verdict.n_blocks, card.unit)),
    ]
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
    notes = "".join(f"<li>{escape(note)}</li>" for note in card.notes)
    of = f" of {escape(card.model)}" if card.model else ""
    return f"""<h1>{escape(card.headline)}</h1>
<p>{_tag(verdict.outcome, _TAGS[verdict.outcome])} <strong>Next:
{escape(verdict.next_action)}</strong></p>
<p class="soft">{escape(card.budget)} Verdict {escape(card.verdict_id)}{of}.</p>
<dl class="facts">{cells}</dl>
{f'<ul class="reasons">{notes}</ul>' if notes else ""}"""


def _exhibits(card: Card, charts: Charts) -> list[str]:
    return [
        f"""<h2>{escape(each.title)}</h2>
{figure(f"chart-exhibit-{at}", charts, f"{each.title}, as the text below says")}
<pre>{escape(each.text)}</pre>"""
        for at, each in enumerate(card.exhibits, 1)
    ]


def _tag(text: str, kind: str) -> Html:
    return Html(f'<span class="tag {kind}">{escape(text)}</span>')


def _clauses(card: Card) -> str:
    columns, values = clause_values(card)
    _columns, evidence = clause_evidence(card)
    rows = [
        [
            Html(f'{escape(clause.name)}<div class="why">{escape(_told(clause))}</div>'),
            _tag(STATES[clause.state], _STATE_TAGS[clause.state]),
            *value[2:],
            *proof[1:],
        ]
        for clause, value, proof in zip(card.verdict.clauses, values, evidence, strict=True)
    ]
    return f"""<h2>Clauses</h2>
{table(["clause", *columns[1:], *_columns[1:]], rows, n_text=2)}"""


def _told(clause: Clause) -> str:
    kind = "must be proved" if clause.kind == "must_prove" else "vetoes if shown"
    return f"{kind}; {clause.method}. {clause.sentence}"


def _versions(card: Card) -> str:
    if not card.metrics:
        return ""
    evidence = f"{card.n_rows:,} rows in {counted(card.n_blocks, card.unit)}"
    return f"""<h2>Versions side by side</h2>
<p>On {escape(evidence)} that none has trained on.</p>
{_table(metric_values(card))}"""


def _ranking(card: Card) -> str:
    if card.ranking is None:
        return ""
    return f"""<h2>Who wins</h2>
<p>{escape(card.ranking.sentence)}</p>
{_table(standings(card))}"""


def _trails(card: Card, charts: Charts) -> str:
    parts = [
        f"""<p>{escape(trail_line(each))}</p>
{figure(f"chart-evidence-{at}", charts, f"Evidence for {each.claim} over time; numbers below.")}
<details><summary>As a table</summary>{_table(trail_rows(each), n_text=0)}</details>"""
        for at, each in enumerate(card.trails, 1)
    ]
    return "\n".join(["<h2>Evidence over time</h2>", *parts]) if parts else ""


def _curves(card: Card, charts: Charts) -> str:
    if not card.curves:
        return ""
    return f"""<h2>ROC</h2>
<p>True positive rate at false positive rates; {escape(card.curves[0].of)}.</p>
{figure("chart-roc", charts, "ROC curve of each version; heights below.")}
{_table(curve_heights(card))}"""


def _said(card: Card, charts: Charts) -> str:
    if not card.said:
        return ""
    return f"""<h2>Said and happened</h2>
<p>{escape(calibration_line(card))}</p>
{figure("chart-said", charts, "What each version said beside what happened; numbers below.")}
<details><summary>As a table</summary>{_table(said_bins(card))}</details>"""


def _slices(card: Card, charts: Charts) -> str:
    if not card.slices:
        return ""
    return f"""<h2>Gain by slice</h2>
<p>Positive where {escape(card.name(card.verdict.candidate))} is better. Each bound holds by itself
at {level(READING_ALPHA)}: for reading, the clauses decide.</p>
{figure("chart-slices", charts, "Gain of each slice with its bounds; numbers below.")}
{_table(slice_rows(card))}"""


def _flips(card: Card) -> str:
    if not card.flips:
        return ""
    names = [escape(card.name(each)) for each in (card.verdict.baseline, card.verdict.candidate)]
    return f"""<h2>Flips</h2>
<p>Lost: only {names[0]} has the row right. Won: only {names[1]} has.</p>
{_table(flip_rows(card))}"""


def _errors(card: Card, charts: Charts) -> str:
    if not card.errors:
        return ""
    return f"""<h2>Predicted and true by slice</h2>
{figure("chart-errors", charts, "Bias of each version by slice; numbers below.")}
{_table(error_rows(card), n_text=2)}"""


def _table(found: Table, *, n_text: int = 1) -> str:
    columns, rows = found
    return table(columns, rows, n_text=n_text)
