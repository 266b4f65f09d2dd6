"""The ``renewal`` command: its commands, and the one place that turns errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from renewal.cli import (
    approving,
    compiling,
    compressing,
    data,
    demo,
    evaluating,
    labelling,
    models,
    operate,
    proving,
    read,
    recipes,
    serving,
    tokens,
    updating,
)
from renewal.cli.show import failure
from renewal.core.errors import RenewalError

app = typer.Typer(
    name="renewal",
    help="Keep deployed machine-learning models up to date.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    models,
    data,
    labelling,
    read,
    evaluating,
    proving,
    recipes,
    approving,
    compiling,
    serving,
    operate,
    tokens,
    compressing,
    updating,
    demo,
):
    module.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    Parameters
    ----------
    arguments : sequence of str or None
        Default: those of the process.

    Notes
    -----
    0 done; 2 invalid input; 3 not found; 4 somebody was first; 5 refused by a gate or a
    rollout; 6 corrupt bytes; 7 not now; 8 a package is missing; 130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="renewal")
    except RenewalError as error:
        sys.exit(failure(error, as_json="--json" in given))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
