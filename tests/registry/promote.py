"""Promote once the file `go` exists, and print the name of what came of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from renewal.core.clock import SystemClock
from renewal.core.errors import RenewalError
from renewal.core.plan import Arm, Plan
from renewal.registry.db import Database
from renewal.registry.registry import Move, Registry


def main(url: str, go: str, champion: str, candidate: str, verdict_id: str) -> None:
    """Wait, move, tell."""
    db = Database(url)
    registry = Registry(db, SystemClock())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not Path(go).exists():
        time.sleep(0.001)
    try:
        registry.move(
            "flights",
            Move("champion", champion, candidate),
            who=candidate,
            why="race",
            verdict_id=verdict_id,
            plan=Plan("flights", "steady", (Arm("champion", candidate, 1.0),)),
        )
    except RenewalError as error:
        sys.stdout.write(f"{type(error).__name__} {error.fields.get('who_moved')}\n")
    else:
        sys.stdout.write(f"won {candidate}\n")
    db.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
