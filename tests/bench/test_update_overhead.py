"""A tiny form of the benchmark of an update's overhead: a real home, few rows.

Breaks when a fit inside an update is not noted, when a process that was started is not counted,
or when a figure's line cannot be split.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.update import overhead, timed

SIZE = overhead.Size(n_rows=2400, rounds=8)


def test_it_prints_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overhead.data(SIZE).to_parquet(tmp_path / "rows.parquet")
    overhead.prepare(SIZE, "inline", "boosting", tmp_path)
    found = {}
    for what, work in (("inline", overhead.update), ("bare", overhead.bare)):
        notes = tmp_path / f"fits-{what}-boosting"
        monkeypatch.setenv(timed.NOTES, str(notes))
        one = work(SIZE, what, "boosting", tmp_path)
        found[what, "boosting"] = one | {"fits": timed.fits_noted(notes)}
    largest = max(each["rows"] for each in found["inline", "boosting"]["fits"])
    assert [each["rows"] for each in found["bare", "boosting"]["fits"]] == [largest]
    assert len(found["inline", "boosting"]["fits"]) == 3
    overhead.report(SIZE, found)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FIGURE")]
    names = {line.split()[1] for line in lines if len(line.split()) == 5}
    assert names == {
        "overhead.boosting_inline_s",
        "overhead.boosting_inline_processor_s",
        "overhead.boosting_inline_peak",
    }


def test_a_process_that_was_started_counts() -> None:
    before_s = overhead.processor_s()
    with overhead.watched() as peaks:
        script = (
            "import time\nkept = bytes(range(256)) * 400_000\nwhile time.process_time() < 0.5: pass"
        )
        subprocess.run([sys.executable, "-c", script], check=True)
    assert overhead.processor_s() - before_s >= 0.5
    # 102 MB of its own, beside what this process holds.
    assert max(peaks) > 102e6
