"""Commands by which a person decides: ``approve``, ``decline``."""

from __future__ import annotations

from typing import Annotated

import typer

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

_Candidate = Annotated[str, typer.Argument(help="A version that the gate accepted.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(approve)
    app.command()(decline)


def approve(
    model: ModelArgument,
    candidate: _Candidate,
    who: WhoOption = None,
    why: WhyOption = "",
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve an accepted version that waits for a person; its rollout begins at once."""
    with open_existing(home, database) as opened:
        rollout = opened.model(model).approve(candidate, who=who or "", why=why)
    stage = None if rollout is None else rollout.stage
    value = {"model": model, "candidate": candidate, "decision": "approved", "stage": stage}
    answer(value, as_json=as_json, text=[f"{model}: {candidate} is approved, now in {stage}"])


def decline(
    model: ModelArgument,
    candidate: _Candidate,
    who: WhoOption = None,
    why: WhyOption = "",
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decline an accepted version that waits for a person; it goes nowhere."""
    with open_existing(home, database) as opened:
        rollout = opened.model(model).decline(candidate, who=who or "", why=why)
    stage = None if rollout is None else rollout.stage
    value = {"model": model, "candidate": candidate, "decision": "declined", "stage": stage}
    answer(value, as_json=as_json, text=[f"{model}: {candidate} is declined"])
