"""kill -9 in the middle of a training: N steps in one go == k, killed, N - k, bit for bit.

What would break this: an optimizer that starts afresh, an order of rows or a dropout that is
drawn anew, a best state that is forgotten, a checkpoint taken between two halves of a step.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("torch_training.py")
CASES = ("dropout", "unfreezing", "lora", "bfloat16")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("resume")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *CASES],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RENEWAL_DEVICE": "cpu"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["case"]: each for each in found}


@pytest.mark.parametrize("case", CASES)
def test_a_killed_training_goes_on_bit_for_bit(
    outcomes: dict[str, dict[str, Any]], case: str
) -> None:
    found = outcomes[case]
    assert found["killed"] == -signal.SIGKILL
    assert found["files"] == ["training.safetensors"]
    assert found["resumed"]["digest"] == found["whole"]["digest"]


@pytest.mark.parametrize("case", CASES)
def test_it_does_not_begin_at_the_beginning(outcomes: dict[str, dict[str, Any]], case: str) -> None:
    """Breaks when a checkpoint is written and never taken up: the bytes would be equal, too."""
    found = outcomes[case]
    assert found["resumed"]["said"][0].startswith("went on after step ")
    assert not any("went on" in word for word in found["whole"]["said"])
    first = found["whole"]["said"][0]
    assert first.startswith("epoch 0")
    assert first not in found["resumed"]["said"]
