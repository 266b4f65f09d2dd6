"""A strategy that says where it works, and goes on when a file is there; of a real plug-in."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from renewal.update.contract import ALONE, Made, Means, Parent
from renewal.update.retrain import Retrain


class Waiting(Retrain):
    """Retrains once somebody says go; has started a process of its own meanwhile."""

    name = "waiting"
    can_thin = False

    def make(
        self, parent: Parent, rows: Any, options: Any, seed: int, means: Means = ALONE
    ) -> Made:
        place = Path(os.environ["WAITING_PLACE"])
        if not (place / "go").exists():
            with subprocess.Popen(["sleep", "600"]) as child:
                told = place / f"half {os.getpid()}"
                told.write_text(f"{os.getpid()} {os.getppid()} {child.pid}", encoding="ascii")
                told.rename(place / f"at work {options.min_rows}")
                while not (place / "go").exists():
                    time.sleep(0.02)
        return super().make(parent, rows, options, seed, means)
