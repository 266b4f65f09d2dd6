"""A tiny form of the benchmark of LoRA updates: every step the real one.

Breaks when the two loops no longer train the same number of weights, when a version is more
than its addition, or when a figure's line cannot be split.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.update import lora


# PEFT's own wrapper, of the bare loop, asks transformers by a name that is going away.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_it_prints_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = lora.Size(params=1.0, steps=2, batch=8, tokens=8)
    lora.make_base(size, tmp_path)
    ours, bare = (run(size, tmp_path, 0) for run in (lora.ours, lora.bare))
    assert ours["trained"] == bare["trained"]
    lora.report(size, ours, bare)
    printed = capsys.readouterr().out
    found = {}
    for line in printed.splitlines():
        if line.startswith("FIGURE"):
            _word, name, value, target, word = line.split()
            found[name] = (value, target, word)
    assert found["lora.parameters"][2] == "short"
    assert found["lora.version_bytes_over_trained_bytes"][2] == "ok"
    assert found["lora.scores_after_attaching_differ"] == ("0", "==0", "ok")
    assert len(found) == 7
