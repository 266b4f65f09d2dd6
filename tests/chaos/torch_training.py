"""Trainings that are killed and gone on with; every one in a process of its own.

``python torch_training.py FOLDER CASE...`` prints, for each case, what became of it as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from renewal.core.plugin import load_plugin
from renewal.core.progress import Progress, hearing
from renewal.models.layers import Lesson, Tuning
from renewal.models.torch import TorchAdapter
from renewal.models.torch_model import TorchModel
from renewal.store.digest import digest
from renewal.testing.torch_nets import Dense

N_ROWS = 70
# 7 or 4 steps an epoch, and a checkpoint in the middle of them.
HOW: dict[str, Tuning] = {
    "dropout": Tuning(epochs=4, batch=10, lr=1e-2, distil=0.3, patience=None, checkpoint_every=3),
    "unfreezing": Tuning(
        epochs=4,
        batch=10,
        accumulate=2,
        train="last:1",
        unfreeze_every=1,
        lr_decay=0.5,
        weight_decay=0.1,
        lr=1e-2,
        patience=3,
        checkpoint_every=5,
    ),
    "lora": Tuning(epochs=3, batch=10, lora_rank=2, lr=1e-2, checkpoint_every=4),
    "bfloat16": Tuning(epochs=2, batch=10, precision="bfloat16", lr=1e-2, checkpoint_every=2),
}
KILLED_AT = {"dropout": 14, "unfreezing": 8, "lora": 14, "bfloat16": 7}


def lesson() -> tuple[pa.Table, Any]:
    rng = np.random.default_rng(3)
    rows = pa.table({"a": rng.normal(size=N_ROWS), "b": rng.normal(size=N_ROWS)})
    return rows, np.array(["yes" if x > 0 else "no" for x in rows["a"].to_pylist()], dtype=object)


def train(case: str, scratch: Path | None, hear: Callable[[Progress], None]) -> bytes:
    adapter, (rows, labels) = TorchAdapter(), lesson()
    recipe = TorchModel(Dense, {"n_inputs": 2, "dropout": 0.5}, Tuning(epochs=1, batch=16))
    parent = adapter.fit(recipe, rows, labels, seed=1)
    teacher = adapter.predict(parent, rows)
    with hearing(hear):
        tuned = adapter.fine_tune(
            parent,
            Lesson(rows, labels, weights=np.linspace(0.5, 2.0, N_ROWS), teacher=teacher),
            Lesson(rows.slice(0, 20), labels[:20]),
            HOW[case],
            seed=11,
            scratch=scratch,
        )
    return adapter.dump(tuned)


def apart(work: Callable[[], dict[str, Any]], told: Path) -> int:
    """Run work in a process of its own; return how that ended."""
    pid = os.fork()
    if pid == 0:
        told.write_text(json.dumps(work()))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(folder: Path, cases: list[str]) -> None:
    torch.set_num_threads(1)
    # Imported once and not in every process.
    load_plugin("additions", "lora")
    torch.optim.AdamW([torch.zeros(1)]).zero_grad()
    for case in cases:
        scratch = folder / case

        def killing(word: Progress, case: str = case) -> None:
            if f"step {KILLED_AT[case]} of" in word.text:
                os.kill(os.getpid(), signal.SIGKILL)

        def once(scratch: Path | None, case: str = case) -> dict[str, Any]:
            words: list[str] = []
            data = train(case, scratch, lambda word: words.append(word.text))
            return {"digest": digest(data), "said": words}

        killed = apart(lambda c=case, s=scratch: {"": len(train(c, s, killing))}, folder / "k")  # type: ignore[misc]  # defaults in a lambda
        files = sorted(each.name for each in scratch.iterdir())
        apart(lambda s=scratch: once(s), folder / "resumed")  # type: ignore[misc]  # as above
        apart(lambda: once(None), folder / "whole")
        found = {each: json.loads((folder / each).read_text()) for each in ("resumed", "whole")}
        print(json.dumps({"case": case, "killed": killed, "files": files, **found}))  # noqa: T201  # the parent reads it


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
