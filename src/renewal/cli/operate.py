"""Commands that change what is live: ``gate watch promote rollback alias``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from renewal.cli.evaluating import JunitOption, working
from renewal.cli.junit import junit_suite, verdict_cases
from renewal.cli.opening import open_existing
from renewal.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    ModelArgument,
    WhoOption,
    WhyOption,
)
from renewal.cli.show import answer
from renewal.cli.telling import teller
from renewal.core.errors import Refused


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (gate, watch, promote, rollback, alias):
        app.command()(command)


def gate(
    model: ModelArgument,
    candidate: Annotated[str, typer.Argument(help="A version, such as v3.")],
    junit: JunitOption = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a version beside the champion on rows that neither has trained on.

    Exits with 0 when it is accepted and with 5 when it is rejected or undecided.
    """
    with (
        junit_suite(junit, f"renewal.gate.{model}") as cases,
        open_existing(home, database) as opened,
        working(as_json=as_json) as step,
    ):
        step("judging")
        found = opened.model(model)
        verdict = found.gate(candidate)
        cases.extend(verdict_cases(verdict, found.version(candidate).name))
    text = [f"{verdict.outcome}: {verdict.reason}", f"next: {verdict.next_action}"]
    answer(verdict, as_json=as_json, text=text)
    if verdict.outcome != "accept":
        raise typer.Exit(5)


def watch(
    model: Annotated[list[str] | None, typer.Argument(help="Which; default: all.")] = None,
    every: Annotated[float, typer.Option(help="Seconds between two rounds.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="One round, then stop.")] = False,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the circuit: monitor, update, gate, roll out; finish what a crash left open."""
    with open_existing(home, database) as opened, teller(as_json=as_json) as tell:
        opened.watch(model or None, every_s=every, once=once, stop=_sleep, tell=tell)


def promote(
    model: ModelArgument,
    version: Annotated[str, typer.Argument(help="A version with an accept verdict.")],
    expected: Annotated[
        str | None, typer.Option(help="The champion you saw; another one is a conflict.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Past the gate; --who and --why go into the log.")
    ] = False,
    who: WhoOption = None,
    why: WhyOption = "",
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a version the champion at once, with its accept verdict or by force."""
    if force and not (who and why):
        raise Refused(
            "renewal promote --force",
            needs="--who and --why",
            came="only one of them" if who or why else "neither",
            todo="A forced promotion carries a name and a reason for ever.",
        )
    with open_existing(home, database) as opened:
        found = opened.model(model)
        now = found.promote(version, expected=expected, force=force, who=who, why=why)
        value = found.describe(now)
    answer(value, as_json=as_json, text=[f"{model}: champion is {now.name}"])


def rollback(
    model: ModelArgument,
    to: Annotated[
        str | None, typer.Option(help="A former champion; default: the one before.")
    ] = None,
    who: WhoOption = None,
    why: WhyOption = "",
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a model back to a former champion, and stop a rollout that is under way."""
    with open_existing(home, database) as opened:
        found = opened.model(model)
        now = found.rollback(to, who=who, why=why)
        value = found.describe(now)
    answer(value, as_json=as_json, text=[f"{model}: champion is {now.name}"])


def alias(
    model: ModelArgument,
    name: Annotated[str, typer.Argument(help="An alias of your own, such as eu.")],
    version: Annotated[
        str | None, typer.Argument(help="What it names; nothing removes the alias.")
    ] = None,
    who: WhoOption = None,
    why: WhyOption = "",
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Point an alias at a version: servers load it, and URLs can name it."""
    with open_existing(home, database) as opened:
        now = opened.model(model).alias(name, version, who=who, why=why)
    shown = now.name if now is not None else None
    text = [f"{model}: {name} is {shown}" if shown else f"{model}: {name} is gone"]
    answer({"alias": name, "version": shown}, as_json=as_json, text=text)


def _sleep(seconds: float) -> bool:
    """Wait; never ask to stop: Ctrl+C does."""
    time.sleep(seconds)
    return False
