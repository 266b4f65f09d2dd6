"""Commands that measure and change nothing: ``evaluate``, ``report``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from renewal.cli.junit import junit_suite
from renewal.cli.opening import open_existing
from renewal.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    ModelArgument,
)
from renewal.cli.show import answer, table
from renewal.core.errors import Invalid

if TYPE_CHECKING:
    from renewal.cli.evaluated import Evaluated

Form = Literal["native", "onnx"]
JunitOption = Annotated[
    Path | None, typer.Option("--junit", help="Write JUnit XML for a build server.")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(evaluate)
    app.command()(report)


def evaluate(
    model: ModelArgument,
    version: Annotated[list[str], typer.Argument(help="Such as v3 or champion; several.")],
    since: Annotated[
        str | None, typer.Option(help="Event times from here on, such as 2013-03-01.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Event times before this.")] = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="Such as origin or distance:4; repeat it.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Beside the task's: average_precision, module:function; repeat it."),
    ] = None,
    form: Annotated[Form, typer.Option(help="In which the versions run.")] = "native",
    cost: Annotated[
        bool, typer.Option("--cost", help="Measure latency, memory and bytes, too.")
    ] = False,
    junit: JunitOption = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure versions on the same rows, none of which any of them trained on.

    It decides nothing. Of several versions it says which is best, and whether that is more
    than the luck of many, beside the champion if it is among them, else beside the first.
    """
    from_at, until_at = instant(since, "--since"), instant(until, "--until")
    with (
        junit_suite(junit, f"renewal.evaluate.{model}") as cases,
        open_existing(home, database) as opened,
        working(as_json=as_json) as step,
    ):
        found = opened.model(model)
        gate = opened.policy(model).gate
        step(f"scoring {len(version)} version{'s' if len(version) > 1 else ''}")
        measured = found.evaluate(
            *version, since=from_at, until=until_at, form=form, metrics=metric or (), has_cost=cost
        )
        step("comparing")
        shown = import_module("renewal.cli.evaluated").evaluated(
            measured,
            champion=found.version("champion").id,
            slices=slices or (),
            alpha=gate.alpha,
            min_blocks=gate.least(is_ordered=found.spec.time is not None),
        )
        cases.extend(shown.cases())
    answer(shown.as_json(model), as_json=as_json, text=_told(shown))


def _told(shown: Evaluated) -> Iterator[Any]:
    """Yield the tables and lines for people."""
    found = shown.report
    yield table(["metric", *shown.names], shown.metric_rows())
    if shown.slices:
        heads = [f"{name}, {found.task.loss_name}" for name in shown.names]
        yield ""
        yield table(["slice", "rows", "blocks", *heads], shown.slice_rows())
    yield ""
    yield (
        f"{found.n_rows:,} rows in {len(found.blocks.ids):,} {found.blocks.unit}s; "
        f"{found.n_seen:,} rows set aside because a version had trained on them"
    )
    yield from found.notes
    if shown.ranking is not None:
        yield shown.ranking.sentence


def report(
    model: ModelArgument,
    candidate: Annotated[
        str | None, typer.Argument(help="Whose newest verdict; default: of any version.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="card.html or card.md; default: print it.")
    ] = None,
    verdict: Annotated[
        str | None, typer.Option("--verdict", help="This one and no other, by its id.")
    ] = None,
    beside: Annotated[
        list[str] | None, typer.Option("--beside", help="Show this version, too; repeat it.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the card of a verdict: every clause, curve, slice, flip and the evidence over time.

    Everything is measured again on exactly the rows that the verdict used.
    """
    writing = import_module("renewal.gate.card.writing")
    if out is not None:
        writing.check_card_path(out)
    with open_existing(home, database) as opened, working(as_json=as_json) as step:
        step("measuring again")
        card = opened.model(model).report(candidate, verdict=verdict, beside=beside or ())
        step("drawing")
        path = None if out is None else writing.write_card(card, out)
        text = writing.to_markdown(card) if path is None else f"wrote {path}"
    value = {
        "model": model,
        "verdict_id": card.verdict_id,
        "headline": card.headline,
        "verdict": card.verdict,
        "metrics": {
            name: dict(zip(map(card.name, card.versions), values, strict=True))
            for name, values in card.metrics.items()
        },
        "n_rows": card.n_rows,
        "notes": card.notes,
        "out": None if path is None else str(path),
    }
    if as_json:
        answer(value, as_json=True)
    else:
        # A card is 80 columns wide already, and its brackets are no markup of ours.
        typer.echo(text.rstrip("\n"))


@contextmanager
def working(*, as_json: bool) -> Iterator[_Step]:
    """Yield what names the step at work, beside a running clock on standard error."""
    if as_json:
        yield _Step(None)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Step(progress)


class _Step:
    """Names the step that is at work."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task = None if progress is None else progress.add_task("reading", total=None)

    def __call__(self, text: str) -> None:
        """Show it."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=text)


def instant(text: str | None, option: str) -> datetime | None:
    """Read an ISO instant; without an offset it is in UTC.

    Parameters
    ----------
    text : str or None
        Such as ``2013-03-01`` or ``2013-03-01T06:00+01:00``; None stays None.
    option : str
        Which option it came with, for the message.

    Raises
    ------
    Invalid
        When it is no instant.

    Examples
    --------
    >>> instant("2013-03-01", "--since").isoformat()
    '2013-03-01T00:00:00+00:00'
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(
            f"renewal evaluate {option}",
            needs="an ISO date or instant",
            came=repr(text),
            todo="Write, for example, 2013-03-01 or 2013-03-01T06:00+01:00.",
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
