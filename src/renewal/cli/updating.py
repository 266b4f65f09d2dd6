"""The commands ``update`` (a race with live progress and its leaderboard) and ``sweep``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from renewal.cli.opening import open_existing
from renewal.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    ModelArgument,
)
from renewal.cli.show import answer, table
from renewal.cli.telling import line, teller
from renewal.core.duration import parse_duration

if TYPE_CHECKING:
    from renewal.assemble.model import Model
    from renewal.assemble.updating import Update
    from renewal.core.progress import Progress as Said
    from renewal.loop.happening import Happening, HearRecipe, Tell

_SHOWN_FORMER = "version:"
_SHOWN_ID = 12


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(update)
    app.command()(sweep)


def update(
    model: ModelArgument,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", "-s", help="Such as retrain:window=8w; repeat it."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="For the race: 10m, '20 trials' or '1.50 usd'.")
    ] = None,
    roll_out: Annotated[
        bool, typer.Option("--rollout/--no-rollout", help="Roll an accepted one out.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be tried and what it would take.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Race strategies, judge the winner on unseen rows, and say what the gate says."""
    with open_existing(home, database) as opened:
        found = opened.model(model)
        if dry_run:
            _foresee(found, strategy, as_json=as_json)
            return
        with following(as_json=as_json) as (tell, hear):
            done = found.update(
                strategy or None, budget=budget, roll_out=roll_out, tell=tell, hear=hear
            )
        names = {each.id: each.name for each in found.versions()}
    candidate = done.candidate.name if done.candidate else "no candidate"
    value = {
        "run": done.run_id,
        "entries": done.entries,
        "candidate": done.candidate.name if done.candidate else None,
        "verdict": done.verdict,
        "three_way": done.three_way,
    }
    text = [_leaderboard(done, names), *_three_ways(done), f"{candidate}: {done.sentence}"]
    answer(value, as_json=as_json, text=text)


def sweep(
    model: Annotated[list[str] | None, typer.Argument(help="Which; default: all.")] = None,
    older: Annotated[str, typer.Option(help="Made so long ago, at least.")] = "30d",
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the bytes of candidates that lost their race; their records stay."""
    age = parse_duration(older, who="renewal sweep --older")
    with open_existing(home, database) as opened:
        models = opened.models() if not model else tuple(map(opened.model, model))
        swept = {each.name: each.sweep(age) for each in models}
    rows = [(name, len(each.versions), f"{each.n_bytes:,}") for name, each in swept.items()]
    answer(swept, as_json=as_json, text=[table(["model", "versions", "bytes"], rows)])


def _foresee(model: Model, strategy: Sequence[str] | None, *, as_json: bool) -> None:
    names = {each.id: each.name for each in model.versions()}
    foreseen = model.foresee(strategy)
    priced = any(each.cost is not None for each in foreseen)
    rows = []
    for each in foreseen:
        row: list[object] = [
            _named(each.starter.label, names),
            f"{each.n_rows:,}",
            _seconds(each.starter.expected_s),
            "a ninth first" if each.starter.is_dear else "all rows",
            each.starter.rests or each.why_not or "",
        ]
        if priced:
            row.insert(3, each.cost)
        rows.append(row)
    columns = ["recipe", "rows", "about", "on", "why not"]
    if priced:
        columns.insert(3, "cost")
    going = [each for each in foreseen if each.starter.rests is None and each.why_not is None]
    known = [each.starter.expected_s for each in going]
    total = sum(each for each in known if each is not None)
    unknown = sum(each is None for each in known)
    tail = f", and {unknown} that never ran here" if unknown else ""
    value = [
        {
            "recipe": each.starter.label,
            "n_rows": each.n_rows,
            "expected_s": each.starter.expected_s,
            "cost": each.cost,
            "is_dear": each.starter.is_dear,
            "rests": each.starter.rests,
            "why_not": each.why_not,
        }
        for each in foreseen
    ]
    told = f"nothing was fitted; the race would take about {total:.1f} s of fitting{tail}"
    answer(value, as_json=as_json, text=[table(columns, rows), told])


def _leaderboard(done: Update, names: Mapping[str, str]) -> Any:
    ranked = sorted(
        done.entries,
        key=lambda each: (
            each["outcome"] != "made",
            each["loss"] is None,
            each["loss"] if each["loss"] is not None else 0.0,
        ),
    )
    priced = any(each.get("cost") is not None for each in ranked)
    columns = ["recipe", "loss", "ahead", "s", *(["cost"] if priced else []), "what came of it"]
    rows = []
    for each in ranked:
        came = "" if each["outcome"] == "made" else f"{each['outcome'].replace('_', ' ')}: "
        rows.append(
            (
                _named(each["recipe"], names),
                each["loss"],
                _ahead(each),
                f"{each['seconds']:.1f}",
                *([each["cost"]] if priced else []),
                f"{came}{each['reason']}",
            )
        )
    return table(columns, rows)


def _ahead(entry: Mapping[str, Any]) -> str:
    if entry.get("ahead") is None:
        return ""
    error = entry.get("ahead_se")
    return f"{entry['ahead']:+.4f}" + ("" if error is None else f" ±{error:.4f}")


def _three_ways(done: Update) -> list[Any]:
    found = done.three_way
    if not found:
        return []
    if "why_not" in found:
        return [f"no three-way comparison: {found['why_not']}"]
    names = list(next(iter(found["metrics"].values())))[:4]
    rows = [
        (f"{what} {found['names'][what]}", loss, *(found["metrics"][what].get(n) for n in names))
        for what, loss in found["loss"].items()
    ]
    title = f"three ways, on the same {found['n_rows']:,} unseen rows"
    return [table(["version", "loss", *names], rows, title=title)]


def _named(label: str, names: Mapping[str, str]) -> str:
    if not label.startswith(_SHOWN_FORMER):
        return label
    version_id = label.removeprefix(_SHOWN_FORMER)
    return f"{_SHOWN_FORMER}{names.get(version_id, version_id[:_SHOWN_ID])}"


def _seconds(expected_s: float | None) -> str:
    return "unknown" if expected_s is None else f"{expected_s:.1f} s"


@contextmanager
def following(*, as_json: bool) -> Iterator[tuple[Tell, HearRecipe]]:
    """Yield who prints happenings, and who draws a bar for each recipe that is at work."""
    if as_json:
        with teller(as_json=True) as tell_json:
            yield tell_json, _hear_nothing
        return
    out = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[recipe]}"),
        BarColumn(bar_width=20),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def hear(label: str, said: Said) -> None:
            if label not in bars:
                bars[label] = progress.add_task("", total=None, recipe=label)
            total = None if said.share is None else 1.0
            progress.update(bars[label], description=said.text, total=total, completed=said.share)

        def tell(happening: Happening) -> None:
            progress.console.print(line(happening), highlight=False)

        yield tell, hear


def _hear_nothing(_label: str, _said: Said) -> None:
    """Draw nothing: the answer is for a program."""
