"""Put fresh objects until killed, and print each digest once its put has returned."""

from __future__ import annotations

import random
import sys

from renewal.store.local import LocalStore


def main(folder: str, seed: str) -> None:
    """Put objects of 0 to 300,000 bytes for ever."""
    source = random.Random(int(seed))
    store = LocalStore(folder)
    while True:
        name = store.put(source.randbytes(source.randrange(300_000)))
        sys.stdout.write(name + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
