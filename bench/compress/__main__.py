"""Runs the parts of the benchmark of compression, one after the other.

``python -m bench.compress`` runs all of them, ``--only NAME`` one, ``--quick`` the small forms.
Each part can be run by itself, too: ``python -m bench.compress.truth``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from bench.compress import compiled, networks, tables, truth

PARTS: dict[str, Callable[[bool], None]] = {
    "truth": truth.run,
    "compiled": compiled.run,
    "networks": networks.run,
    "tables": tables.run,
}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(prog="bench.compress", description="Benchmark compression.")
    parser.add_argument("--quick", action="store_true", help="small forms of all parts")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part")
    asked = parser.parse_args()
    for name, run in PARTS.items():
        if asked.only in {None, name}:
            print(f"== bench.compress.{name}", flush=True)
            run(asked.quick)


if __name__ == "__main__":
    main()
