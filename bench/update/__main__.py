"""All that is measured about updates: ``python -m bench.update``; ``--quick`` in short form."""

from __future__ import annotations

import argparse

from bench.update import cifar, going_on, how_often, lora, overhead, policies

PARTS = (policies, how_often, going_on, overhead, cifar, lora)


def main() -> None:
    """Run every part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the short form of every part")
    quick = parser.parse_args().quick
    for part in PARTS:
        part.run(quick)


if __name__ == "__main__":
    main()
