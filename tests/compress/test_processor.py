"""Breaks when a processor without VNNI is taken for one with it: its sums would be clipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from renewal.compress import processor


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2", True), ("fpu avx512_vnni avx2", False), ("avx_vnni", False)],
)
def test_flags_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, *, expected: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"model name : x\nflags : {flags}\n", encoding="utf-8")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert processor.saturates(tmp_path / "cpuinfo") is expected


def test_who_cannot_be_asked_is_taken_carefully(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    assert processor.saturates(tmp_path / "none")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not processor.saturates(tmp_path / "none")
