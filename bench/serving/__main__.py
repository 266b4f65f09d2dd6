"""Runs the parts of the benchmark of serving, one after the other.

``python -m bench.serving`` runs all of them, ``--only NAME`` one, ``--quick`` the small forms.
Each part can be run by itself, too: ``python -m bench.serving.swaps``. A part that fails says
so, and the others still run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bench.serving import batches, log_cost, peers, rollback, swaps, throughput
from bench.serving.process import NotStartedError

PARTS: dict[str, Callable[[bool], None]] = {
    "throughput": throughput.run,
    "batches": batches.run,
    "log": log_cost.run,
    "swaps": swaps.run,
    "rollback": rollback.run,
    "peers": peers.run,
}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="bench.serving", description="Benchmark serving.")
    parser.add_argument("--quick", action="store_true", help="small forms of all parts")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part")
    asked = parser.parse_args()
    failed = []
    for name, run in PARTS.items():
        if asked.only in {None, name}:
            print(f"== bench.serving.{name}", flush=True)
            try:
                run(asked.quick)
            except (NotStartedError, SystemExit) as error:
                print(f"FAILED: {name}: {error}", flush=True)
                failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
