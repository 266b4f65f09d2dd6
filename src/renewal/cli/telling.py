"""Telling happenings as they come: a line each, under a live spinner on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from renewal.loop.happening import Happening, Tell

STYLES: Mapping[str, str] = {
    "alarm": "bold yellow",
    "trigger": "cyan",
    "race": "dim",
    "accept": "bold green",
    "reject": "red",
    "undecided": "yellow",
    "three_way": "cyan",
    "rollout": "blue",
    "rolled_back": "bold red",
}
"""How each kind of happening looks; a kind that is not here is plain."""


@contextmanager
def teller(*, as_json: bool) -> Iterator[Tell]:
    """Yield what prints each happening: to standard error, or as JSON lines to it.

    Standard output stays free for the answer of the command.
    """
    if as_json:
        yield _tell_json
        return
    out = Console(stderr=True)
    with out.status("working") as spinner:

        def tell(happening: Happening) -> None:
            spinner.update(happening.kind)
            out.print(line(happening), highlight=False)

        yield tell


def line(happening: Happening) -> str:
    """Return one line of rich markup: day, kind and sentence."""
    style = STYLES.get(happening.kind, "default")
    sentence = happening.sentence.replace("[", "\\[")
    return f"{happening.at:%Y-%m-%d}  [{style}]{happening.kind:<12}[/] {sentence}"


def _tell_json(happening: Happening) -> None:
    body = {
        "at": happening.at.isoformat(),
        "kind": happening.kind,
        "sentence": happening.sentence,
        "facts": dict(happening.facts),
    }
    sys.stderr.write(json.dumps(body, default=str) + "\n")
