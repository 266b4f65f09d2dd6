"""How the live view of ``renewal serve`` is drawn; it reads well at 80 columns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from renewal.cli.live_numbers import (
    WINDOW_S,
    Change,
    Seen,
    duration_text,
    number_text,
    quantile,
)

if TYPE_CHECKING:
    from renewal.serve.status import ArmStatus, Event, Labels, ModelStatus, WorkerStatus

_COLUMNS = ("arm", "share", "form", "req/s", "rows/s", "p50 ms", "p99 ms", "failed", "queue")
_RIGHT = frozenset(_COLUMNS) - {"arm", "form"}
# Under ten columns of numbers this is what 80 characters leave for a name.
_ARM_LETTERS = 15
_N_EVENTS = 4
# Lines that are no models: title, workers, head, replies, log, shadow, labels, events, space.
_OTHER_LINES = 13
_SHADOW = "shadow"
_PAGE = "page"
_BAD, _FAILED = 400, 500


def draw(
    before: Seen, now: Seen, at: float, height: int = 50, *, has_stopped: bool = False
) -> RenderableType:
    """Draw what a server does.

    Parameters
    ----------
    before, now : Seen
        Rates are taken between the two.
    at : float, seconds since 1970
        For how long workers have been up.
    height : int, lines
        Of the terminal; models that do not fit are counted only, the idle ones first.
    has_stopped : bool, default False
        Whether this is the last there is to say.
    """
    served: list[RenderableType] = []
    if not has_stopped:
        models = _models(Change(before, now), max(3, height - _OTHER_LINES))
        served = [_workers(now, at), Text(""), *models]
    return Group(
        _title(now, at, has_stopped=has_stopped),
        *served,
        Text(""),
        _replies(now),
        *_log_and_shadow(now, has_stopped=has_stopped),
        *_events(now),
    )


def _title(now: Seen, at: float, *, has_stopped: bool) -> Text:
    urls = [each.url for each in now.workers if each.url]
    since = min((each.started_at for each in now.workers), default=at)
    title = Text("renewal serve", style="bold")
    title.append(f"  {urls[0] if urls else 'starting'}", style="cyan")
    if has_stopped:
        return title.append("  stopped", style="yellow")
    title.append(f"  up {duration_text(at - since)}  Ctrl+C stops", style="dim")
    return title


def _workers(now: Seen, at: float) -> Text:
    line = Text("workers ")
    for each in now.workers:
        word, style = _state(each, at)
        line.append(f" {each.pid} ")
        line.append(word, style=style)
    if not now.workers:
        line.append(" none yet", style="yellow")
    return line


def _state(worker: WorkerStatus, at: float) -> tuple[str, str]:
    if at - worker.at > WINDOW_S:
        return f"silent for {duration_text(at - worker.at)}", "bold red"
    if worker.is_draining:
        return "stopping", "yellow"
    if worker.is_ready:
        return "ready", "green"
    return ("not ready", "bold red") if worker.has_started else ("loading", "yellow")


def _models(change: Change, n_lines: int) -> list[RenderableType]:
    """Draw the models that fit, by name."""
    newest: dict[str, ModelStatus] = {}
    for worker in change.now.workers:
        for name, model in worker.models.items():
            if name not in newest or newest[name].plan_seq < model.plan_seq:
                newest[name] = model
    blocks = {name: _rows(change, name, model) for name, model in newest.items()}
    busy = {name: sum(each.rows_s for each in rows) for name, rows in blocks.items()}
    shown: list[str] = []
    for name in sorted(blocks, key=lambda name: (-busy[name], name)):
        n_lines -= 1 + len(blocks[name])
        if n_lines < 0 and shown:
            break
        shown.append(name)
    return _table(blocks, newest, sorted(shown), change.now, len(blocks) - len(shown))


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table: an arm of a model."""

    cells: tuple[str, ...]
    rows_s: float
    n_failed: float


def _rows(change: Change, name: str, model: ModelStatus) -> list[_Row]:
    planned = {(each.arm, each.version) for each in model.arms}
    rows = [_row(change, name, each) for each in model.arms]
    # What came past the plan: versions that URLs name, requests that several arms share.
    for labels in sorted(change.now.of("request_seconds")):
        if labels[0] == name and (labels[2], labels[1]) not in planned:
            arm = import_module("renewal.serve.status").ArmStatus(labels[2], labels[1], -1.0)
            row = _row(change, name, arm)
            if sum(change.between("request_seconds", labels)[:-1]):
                rows.append(row)
    return rows


def _row(change: Change, name: str, arm: ArmStatus) -> _Row:
    is_shadow = arm.arm == _SHADOW
    labels: Labels = (name, arm.version, arm.arm)
    key = labels[:2] if is_shadow else labels
    grown = change.between("shadow_rows" if is_shadow else "rows", key)
    rows_s = change.rate(grown[0] if grown else 0.0)
    failed = change.now.of("failed_shadow_rows" if is_shadow else "failed_rows").get(key, (0.0,))
    times = [] if is_shadow else change.between("request_seconds", labels)
    n_requests = sum(times[:-1])
    waiting = [worker.models[name] for worker in change.now.workers if name in worker.models]
    queue = sum(each.queue_rows.get(arm.version, 0) for each in waiting)
    cells = (
        _shortened(f" {arm.arm} {arm.version}"),
        "" if is_shadow or arm.weight < 0 else f"{100 * arm.weight:.3g}%",
        arm.form,
        "" if is_shadow else number_text(change.rate(n_requests)),
        number_text(rows_s),
        quantile(times, 0.5),
        quantile(times, 0.99),
        number_text(failed[0]),
        "" if arm.weight < 0 else number_text(float(queue)),
    )
    return _Row(cells, rows_s, failed[0])


def _table(
    blocks: Mapping[str, Sequence[_Row]],
    models: Mapping[str, ModelStatus],
    shown: Sequence[str],
    now: Seen,
    n_hidden: int,
) -> list[RenderableType]:
    widths = [
        max([len(column), *(len(row.cells[at]) for name in shown for row in blocks[name])])
        for at, column in enumerate(_COLUMNS)
    ]
    drawn: list[RenderableType] = [Text(_line(_COLUMNS, widths), style="dim", no_wrap=True)]
    for name in shown:
        drawn.append(_heading(name, models[name], now))
        for row in blocks[name]:
            style = "red" if row.n_failed else ""
            drawn.append(Text(_line(row.cells, widths), style=style, no_wrap=True))
    if not shown:
        drawn.append(Text("  no model yet", style="yellow"))
    if n_hidden:
        drawn.append(Text(f"  and {n_hidden:,} models that have less to do", style="dim"))
    return drawn


def _shortened(text: str) -> str:
    return text if len(text) <= _ARM_LETTERS else f"{text[: _ARM_LETTERS - 1]}…"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.rjust(width) if column in _RIGHT else cell.ljust(width)
        for column, cell, width in zip(_COLUMNS, cells, widths, strict=True)
    ]
    return "  ".join(aligned).rstrip()


def _heading(name: str, model: ModelStatus, now: Seen) -> Text:
    line = Text(name, style="bold", no_wrap=True, overflow="ellipsis")
    if model.is_unloaded:
        return line.append("  unloaded", style="yellow")
    if model.plan_seq < 0:
        line.append("  nothing loaded", style="yellow")
    else:
        line.append(f"  {model.stage}, plan {model.plan_seq}", style="dim")
    behind = [
        each.worker
        for each in now.workers
        if name in each.models and each.models[name].plan_seq < model.plan_seq
    ]
    if behind:
        line.append(f"  {len(behind)} of {len(now.workers)} workers to follow", style="yellow")
    if model.failure:
        line.append(f"  cannot follow the newest plan: {model.failure}", style="red")
    return line


def _replies(now: Seen) -> Text:
    total = refused = failed = 0.0
    for labels, values in now.of("replies").items():
        if labels[3] == _PAGE:
            continue
        status = int(labels[4])
        total += values[0]
        refused += values[0] if _BAD <= status < _FAILED else 0.0
        failed += values[0] if status >= _FAILED else 0.0
    line = Text(f"replies {total:,.0f}  refused {refused:,.0f}  ")
    return line.append(f"failed {failed:,.0f}", style="red" if failed else "")


def _log_and_shadow(now: Seen, *, has_stopped: bool) -> list[Text]:
    def count(family: str) -> float:
        return sum(values[0] for values in now.of(family).values())

    def waiting(name: str) -> str:
        n_rows = sum(each.gauges.get(name, 0.0) for each in now.workers)
        return "" if has_stopped else f"  waiting {n_rows:,.0f}"

    dropped, unscored = count("log_rows_dropped"), count("shadow_rows_dropped")
    log = Text(f"log     {count('log_rows'):,.0f} rows{waiting('log_rows_waiting')}  ")
    log.append(f"dropped {dropped:,.0f}", style="bold red" if dropped else "")
    shadow = Text(f"shadow  {count('shadow_rows'):,.0f} rows{waiting('shadow_rows_waiting')}  ")
    shadow.append(f"dropped {unscored:,.0f}", style="yellow" if unscored else "")
    n_labels = count("labels")
    return [log, shadow, *([Text(f"labels  {n_labels:,.0f}")] if n_labels else [])]


def _events(now: Seen) -> list[Text]:
    """Draw the last swaps, each once: every worker makes the same."""
    last: dict[tuple[str, str], Event] = {}
    for worker in now.workers:
        for event in worker.events:
            known = last.get((event.model, event.what))
            if known is None or known.at < event.at:
                last[event.model, event.what] = event
    lines = []
    for event in sorted(last.values(), key=lambda event: event.at)[-_N_EVENTS:]:
        line = Text(f"{time.strftime('%H:%M:%S', time.localtime(event.at))}  ", style="dim")
        line.no_wrap, line.overflow = True, "ellipsis"
        line.append(f"{event.model} ", style="default")
        word = "swap failed: " if event.is_failure else ""
        line.append(f"{word}{event.what}", style="red" if event.is_failure else "green")
        lines.append(line)
    return lines
