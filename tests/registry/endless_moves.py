"""Move the champion back and forth until killed, and print a line after each commit."""

from __future__ import annotations

import sys

from renewal.core.clock import SystemClock
from renewal.core.plan import Arm, Plan
from renewal.registry.db import Database
from renewal.registry.registry import Move, Registry


def main(url: str, *ids: str) -> None:
    """Force the champion from where it is to the other one, for ever."""
    registry = Registry(Database(url), SystemClock())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        now = registry.aliases("flights")["champion"]
        (to,) = set(ids) - {now}
        registry.move(
            "flights",
            Move("champion", now, to),
            who="a test",
            why="back and forth",
            forced=True,
            plan=Plan("flights", "steady", (Arm("champion", to, 1.0),)),
        )
        sys.stdout.write("moved\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
