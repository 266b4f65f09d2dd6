"""A card as Markdown that reads at 80 columns, in a terminal as well as in a merge request."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from renewal.gate.card.record import READING_ALPHA, Card
from renewal.gate.card.words import (
    Table,
    calibration_line,
    clause_evidence,
    clause_line,
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

_WIDTH = 80
_MOST_VERSIONS = 5
_NARROWEST = 8
# A "<" that begins nothing, as in a slice named distance<=4, stays as it is.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


def to_markdown(card: Card) -> str:
    """Write a card as Markdown.

    Parameters
    ----------
    card : Card
        Of any verdict.

    Returns
    -------
    str
        Lines of at most 80 columns. A name that would not fit is cut, and spelled out below
        its table.
    """
    verdict = card.verdict
    title = f"{card.model}: {card.name(verdict.candidate)}" if card.model else "Verdict"
    parts = [
        f"# {_plain(title)}, {verdict.outcome}",
        _wrapped(f"**{_plain(card.headline)}**"),
        _wrapped(f"Next: {_plain(verdict.next_action)}"),
        _wrapped(_plain(card.budget)),
        *_notes(card),
        *_clauses(card),
        *_versions(card),
        *_ranking(card),
        *_curves(card),
        *_said(card),
        *_slices(card),
        *_flips(card),
        *_errors(card),
        *_trails(card),
        *(f"## {each.title}\n\n```text\n{each.text}\n```" for each in card.exhibits),
    ]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table, *, n_text: int = 1) -> str:
    r"""Return a table of at most 80 columns, numbers to the right.

    Parameters
    ----------
    table : tuple of (columns, rows)
        Text.
    n_text : int, default 1
        Columns after so many hold numbers.

    Examples
    --------
    >>> print(markdown_table((("slice", "gain"), [("a|b", "+0.1")])))
    | slice | gain |
    | ----- | ---: |
    | a\|b  | +0.1 |
    """
    columns, rows = table
    cells = [[_cell(text) for text in row] for row in rows]
    widths = [
        max(len(name), *(len(row[at]) for row in cells), 3) if cells else max(len(name), 3)
        for at, name in enumerate(columns)
    ]
    excess = sum(widths) + 3 * len(widths) + 1 - _WIDTH
    footnotes: list[str] = []
    if excess > 0:
        widths[0] = max(_NARROWEST, widths[0] - excess)
        for row in cells:
            row[0] = _cut(row[0], widths[0], footnotes)
    lines = [
        _line(columns, widths, n_text),
        _line(
            ["-" * w if at < n_text else "-" * (w - 1) + ":" for at, w in enumerate(widths)],
            widths,
            n_text,
        ),
        *(_line(row, widths, n_text) for row in cells),
    ]
    spelled = [_bullet(f"[{at}] {text}") for at, text in enumerate(footnotes, 1)]
    return "\n".join([*lines, *(["", *spelled] if spelled else [])])


def _cut(text: str, width: int, footnotes: list[str]) -> str:
    if len(text) <= width:
        return text
    if text not in footnotes:
        footnotes.append(text)
    mark = f"..[{footnotes.index(text) + 1}]"
    return text[: max(width - len(mark), 1)].rstrip("\\") + mark


def _line(cells: Sequence[str], widths: Sequence[int], n_text: int) -> str:
    inner = " | ".join(
        text.ljust(width) if at < n_text else text.rjust(width)
        for at, (text, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {inner} |"


def _notes(card: Card) -> list[str]:
    if not card.notes:
        return []
    return ["\n".join(_bullet(_plain(note)) for note in card.notes)]


def _clauses(card: Card) -> list[str]:
    clauses = card.verdict.clauses
    if not clauses:
        return ["## Clauses", "None could be asked: cannot tell."]
    told = "\n".join(
        _bullet(_plain(clause_line(each)), f"{at}. ") for at, each in enumerate(clauses, 1)
    )
    return [
        "## Clauses",
        told,
        markdown_table(clause_values(card), n_text=2),
        markdown_table(clause_evidence(card)),
    ]


def _versions(card: Card) -> list[str]:
    if not card.metrics:
        return []
    columns, rows = metric_values(card)
    tables = [
        markdown_table(
            (
                (columns[0], *columns[at : at + _MOST_VERSIONS]),
                [(row[0], *row[at : at + _MOST_VERSIONS]) for row in rows],
            )
        )
        for at in range(1, len(columns), _MOST_VERSIONS)
    ]
    evidence = f"{card.n_rows:,} rows in {counted(card.n_blocks, card.unit)}"
    return ["## Versions side by side", f"On {evidence} that none has trained on.", *tables]


def _ranking(card: Card) -> list[str]:
    if card.ranking is None:
        return []
    return [
        "## Who wins",
        _wrapped(_plain(card.ranking.sentence)),
        markdown_table(standings(card)),
    ]


def _curves(card: Card) -> list[str]:
    if not card.curves:
        return []
    said = f"True positive rate at some false positive rates; {card.curves[0].of}."
    return ["## ROC", _wrapped(_plain(said)), markdown_table(curve_heights(card))]


def _said(card: Card) -> list[str]:
    if not card.said:
        return []
    line = calibration_line(card)
    return [
        "## Said and happened",
        *([_wrapped(_plain(line))] if line else []),
        markdown_table(said_bins(card)),
    ]


def _slices(card: Card) -> list[str]:
    if not card.slices:
        return []
    said = (
        f"Positive where {card.name(card.verdict.candidate)} is better. Each bound holds by "
        f"itself at {level(READING_ALPHA)}: for reading, the clauses decide."
    )
    return ["## Gain by slice", _wrapped(_plain(said)), markdown_table(slice_rows(card))]


def _flips(card: Card) -> list[str]:
    if not card.flips:
        return []
    said = (
        f"Lost: only {card.name(card.verdict.baseline)} has the row right. Won: only "
        f"{card.name(card.verdict.candidate)} has."
    )
    return ["## Flips", _wrapped(_plain(said)), markdown_table(flip_rows(card))]


def _errors(card: Card) -> list[str]:
    if not card.errors:
        return []
    return ["## Predicted and true by slice", markdown_table(error_rows(card), n_text=2)]


def _trails(card: Card) -> list[str]:
    found = ["## Evidence over time"] if card.trails else []
    for each in card.trails:
        found += [_wrapped(_plain(trail_line(each))), markdown_table(trail_rows(each), n_text=0)]
    return found


def _plain(text: str) -> str:
    """Return text that no reader of Markdown takes for markup or a tag."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("*", "\\*")
    return _TAG.sub("&lt;", flat)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False)


def _bullet(text: str, mark: str = "- ") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_on_hyphens=False,
    )
