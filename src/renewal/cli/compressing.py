"""The command ``compress``: a search with live progress, and what it can certify."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer

from renewal.cli.opening import open_existing
from renewal.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    ModelArgument,
)
from renewal.cli.show import answer, table
from renewal.cli.updating import following

if TYPE_CHECKING:
    from renewal.assemble.compressing import Compression


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(compress)


def compress(
    model: ModelArgument,
    tau: Annotated[
        str | None,
        typer.Option(help="-0.01: largest drop; -1%: a share of it; 0.93: the line itself."),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="That must hold, such as auc.")] = None,
    objective: Annotated[
        str | None, typer.Option(help="bytes, parameters, l1, macs or latency.")
    ] = None,
    chain: Annotated[
        list[str] | None,
        typer.Option("--chain", "-c", help="Such as 'prune.forest:*'; repeat it."),
    ] = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="That must hold, too; repeat it.")
    ] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Largest artifact.")] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Largest 99th percentile of the time of a row.")
    ] = None,
    max_memory_bytes: Annotated[
        int | None, typer.Option(help="Largest growth of a process that loads it.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Time of the search, such as 5m.")] = None,
    roll_out: Annotated[
        bool, typer.Option("--rollout/--no-rollout", help="Roll a certified one out.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search the smallest version that holds the line, and certify it on unseen rows."""
    with open_existing(home, database) as opened:
        found = opened.model(model)
        with following(as_json=as_json) as (tell, hear):
            done = found.compress(
                chain or None,
                budget=budget,
                roll_out=roll_out,
                tell=tell,
                hear=hear,
                tau=tau,
                metric=metric,
                objective=objective,
                slices=tuple(slices) if slices else None,
                max_bytes=max_bytes,
                max_latency_ms=max_latency_ms,
                max_memory_bytes=max_memory_bytes,
            )
    _answer(done, as_json=as_json)


def _answer(done: Compression, *, as_json: bool) -> None:
    """Print what came of a compression."""
    # What it is made of takes its time to load, and help must not wait for it.
    report = import_module("renewal.compress.report")
    told = None if done.certificate is None else done.certificate.report
    candidate = done.candidate.name if done.candidate else None
    value = {
        "run": done.run_id,
        "status": done.status,
        "candidate": candidate,
        "verdict": done.verdict,
        "report": None if told is None else report.plain(told),
        "trials": done.trials,
    }
    text: list[Any] = [_trials(done.trials)]
    text.append(done.sentence if told is None else report.to_text(told))
    if candidate is not None:
        said = "" if done.verdict is None else f", the gate says {done.verdict.outcome}"
        text.append(f"\n{candidate} is registered{said}")
    answer(value, as_json=as_json, text=text)


def _trials(trials: Sequence[Any]) -> Any:
    """Return the trials as a table, the smallest first; what failed stands last with its reason."""
    ranked = sorted(
        trials,
        key=lambda each: (
            each["failed"] is not None,
            0 if each["size"] is None else each["size"]["bytes"],
        ),
    )
    rows = []
    for each in ranked:
        if each["failed"] is not None:
            rows.append((each["chain"], "", "", f"{each['seconds']:.1f}", each["failed"]))
            continue
        effort = "" if each["effort"] == 1.0 else f"{each['effort']:.0%} of the effort"
        told = "; ".join(part for part in (effort, each["note"]) if part)
        size = f"{each['size']['bytes']:,}"
        rows.append((each["chain"], size, f"{each['gain']:+.4f}", f"{each['seconds']:.1f}", told))
    return table(["chain", "bytes", "gain", "s", ""], rows)
