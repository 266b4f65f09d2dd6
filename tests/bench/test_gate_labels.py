"""The small form of `bench.gate.labels`: fewer runs, every step the real one.

Breaks when labels on disagreements lose their power or their level, or when drawing by size
stops paying.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.gate import labels


def test_disagreements_decide_with_a_twentieth_of_the_labels() -> None:
    """100 runs: power within 4 deviations (0.17) of 80%, false proofs at most 16%."""
    found, random = labels.on_disagreements(100), labels.at_random(100)
    assert (found.n_labels, random.n_labels) == (155, 3090)
    assert min(found.power, random.power) > 0.63
    assert max(found.null, random.null) < 0.16


def test_drawing_by_size_pays_on_real_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the digits, without the data sets: 60 draws, the ratio known to about 13%."""
    monkeypatch.setattr(labels, "FOLDER", Path("no-such-folder"))
    name, truth, errors = labels.loss_errors(60)
    assert name == "digits"
    assert abs(truth) < 0.1
    assert errors[0].drawn < 0.9 * errors[0].uniform
    assert abs(errors[0].bias) < 4
