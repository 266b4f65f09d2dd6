"""Open a database once the file `go` exists, and say at which migration it stands."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from renewal.registry.db import Database, revision


def main(url: str, go: str) -> None:
    """Wait, open, tell."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not Path(go).exists():
        time.sleep(0.001)
    db = Database(url)
    with db.read() as connection:
        sys.stdout.write(f"{revision(connection)}\n")
    db.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
