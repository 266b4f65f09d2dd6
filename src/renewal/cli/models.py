"""Commands that make things: ``init``, ``train``, ``register``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from renewal.cli.opening import open_existing, open_new, read_data, read_estimator
from renewal.cli.options import (
    DEFAULT_HOME,
    DatabaseOption,
    HomeOption,
    JsonOption,
    ModelArgument,
    WhoOption,
)
from renewal.cli.show import answer

_POLICY = """\
# The policy of this home: when to update, how, what proves it and how it rolls out.
# Every key may be left out; what differs for one model goes under [models.NAME.update] etc.

[update]
# recipes = ["recalibrate", "incremental", "retrain", "retrain:window=8w"]
# every = "4w"          # the schedule trigger
# new_labels = 10000    # the amount trigger
# on_alarm = ["performance"]
# cooldown = "1w"

[engine]
kind = "processes"      # fits run in workers of this machine; "inline": in the command itself
# workers = 2           # as many as there are cores, where it is left out
# memory_bytes = 4000000000   # what one worker may take; its candidate alone fails above it

[gate]
# alpha = 0.05
# holdout = "2w"        # timed data is judged on its newest stretch, forward

[rollout]
# shadow_for = "2d"
# canary = [0.1, 0.5]
# canary_for = "2d"
# watch_for = "2w"

[monitor]
[serve]
"""


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(init)
    app.command()(train)
    app.command()(register)


def init(
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a home: a folder with a registry, an object store and a policy file."""
    with open_new(home, database) as opened:
        policy = opened.root / "renewal.toml"
        made = not policy.exists()
        if made:
            policy.write_text(_POLICY, encoding="utf-8")
        value = {"home": str(opened.root), "policy": str(policy), "policy_made": made}
    answer(
        value,
        as_json=as_json,
        text=[f"home    {value['home']}", f"policy  {value['policy']}"],
    )


def train(
    model: ModelArgument,
    estimator: Annotated[str, typer.Option(help="module:name of an unfitted estimator.")],
    rows: Annotated[Path, typer.Option("--data", help="Parquet, CSV or JSON lines.")],
    task: Annotated[
        str | None, typer.Option(help="binary, multiclass or regression (first time).")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The label column (first time).")] = None,
    key: Annotated[str | None, typer.Option(help="The column that names a row.")] = None,
    time: Annotated[str | None, typer.Option(help="The event-time column.")] = None,
    group: Annotated[str | None, typer.Option(help="The column that fixes a row's role.")] = None,
    block: Annotated[str | None, typer.Option(help="Unit of evidence: 1d, or a column.")] = None,
    sticky: Annotated[str | None, typer.Option(help="The column that splits traffic.")] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="A column for slices and groups that is no input; repeat it."),
    ] = None,
    label_delay: Annotated[str, typer.Option(help="How late labels usually are.")] = "0s",
    seed: Annotated[int, typer.Option(help="Of the fit.")] = 0,
    who: WhoOption = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit an estimator on a file; the first version of a model becomes its champion."""
    declared = {
        name: value
        for name, value in {
            "task": task,
            "target": target,
            "key": key,
            "time": time,
            "group": group,
            "block": block,
            "sticky": sticky,
            "attributes": tuple(attribute or ()) or None,
        }.items()
        if value is not None
    }
    if declared:
        declared["label_delay"] = label_delay
    with open_existing(home, database) as opened:
        found = opened.model(model, **declared)
        version = found.train(read_estimator(estimator), read_data(rows), seed=seed, who=who)
        value = found.describe(version)
    answer(value, as_json=as_json, text=[_line(value)])


def register(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(help="A skops file of a fitted estimator.")],
    trained_on: Annotated[
        Path | None, typer.Option(help="The rows it saw. Left out: nobody knows.")
    ] = None,
    who: WhoOption = None,
    home: HomeOption = DEFAULT_HOME,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a model that was trained elsewhere, with the rows that it saw."""
    with open_existing(home, database) as opened:
        found = opened.model(model)
        version = found.register_file(
            file, trained_on=None if trained_on is None else read_data(trained_on), who=who
        )
        value = found.describe(version)
    answer(value, as_json=as_json, text=[_line(value)])


def _line(value: dict[str, object]) -> str:
    role = "champion" if value["is_champion"] else "candidate"
    return (
        f"{value['model']} {value['version']} ({role}), made by {value['strategy']} "
        f"from {value['n_trained_rows']:,} rows, {value['artifact_bytes']:,} bytes"
    )
