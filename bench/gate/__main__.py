"""Runs the parts of the benchmark of the gate, one after the other.

``python -m bench.gate`` runs all of them, ``--only NAME`` one, ``--quick`` the small forms.
Each part can be run by itself, too: ``python -m bench.gate.power``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bench.gate import dependence, fairness, labels, nulls, power, speed, truth

PARTS: dict[str, Callable[[bool], None]] = {
    "nulls": nulls.run,
    "power": power.run,
    "dependence": dependence.run,
    "truth": truth.run,
    "fairness": fairness.run,
    "labels": labels.run,
    "speed": speed.run,
}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="bench.gate", description="Benchmark the gate.")
    parser.add_argument("--quick", action="store_true", help="small forms of all parts")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part")
    asked = parser.parse_args()
    for name, run in PARTS.items():
        if asked.only in {None, name}:
            print(f"== bench.gate.{name}", flush=True)
            run(asked.quick)


if __name__ == "__main__":
    main()
