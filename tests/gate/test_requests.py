"""What labels that were asked for say: weights, blocks, what did not come, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import insert

from renewal.core.errors import Corrupt
from renewal.gate.claims import parse_proof
from renewal.gate.judge import Evidence
from renewal.gate.label_plan import plan_labels
from renewal.gate.requests import (
    Answer,
    Frame,
    LabelRequest,
    add_request,
    evidence_of,
    request_for,
    requests_of,
)
from renewal.registry.db import Database
from renewal.registry.tables import models, versions
from renewal.stats.mcnemar import mcnemar
from renewal.stats.sampling import draw, inclusion_probabilities

AT = datetime(2026, 3, 1, tzinfo=UTC)
REQUEST = LabelRequest("1", "m", "c" * 64, "b" * 64, "loss", 600, 60, "f" * 64, AT)
DAY_US = 86_400_000_000


def frame_of(
    at: NDArray[np.intp], chance: NDArray[np.float64], *, n_rows: int = 600, single: bool = False
) -> Frame:
    """Return a frame of 20 days, or of single rows without order, asked for at some places."""
    number = np.arange(n_rows)
    return Frame(
        key_hash=number.astype(np.uint64),
        group_hash=number.astype(np.uint64),
        event_us=number * (20 * DAY_US // n_rows),
        blocks=number if single else np.arange(20),
        block_at=number if single else number * 20 // n_rows,
        at=at.astype(np.int64),
        chance=chance,
        is_asked=np.ones(len(at), np.bool_),
        baseline_scores=np.zeros((len(at), 2)),
        candidate_scores=np.ones((len(at), 2)),
        unit="row" if single else "day",
        is_ordered=not single,
        n_seen=3,
        expected=0.5,
    )


def judged(frame: Frame, y: NDArray[np.float64], came: NDArray[np.bool_] | None = None) -> Evidence:
    """Return the evidence when the candidate loses `y` less on the rows whose label came."""
    here = np.ones(len(frame.at), np.bool_) if came is None else came
    answer = Answer("log_loss", here, 1.0 + y[here], np.ones(here.sum()), False, 6.9)
    return evidence_of(parse_proof("superior"), REQUEST, frame, answer)


def test_every_row_labeled_is_the_plain_comparison() -> None:
    """With all chances 1 the means of the blocks are those of the rows, and nothing else."""
    y = np.random.default_rng(0).normal(size=600)
    found = judged(frame_of(np.arange(600), np.ones(600)), y)
    assert found.series.gains == pytest.approx(y.reshape(20, 30).mean(axis=1))
    assert found.series.baseline_value == pytest.approx(1.0 + y.mean())
    assert (found.series.n_rows, found.series.n_seen, found.series.unit) == (600, 3, "day")


def test_the_gain_is_unbiased_however_rows_were_drawn() -> None:
    """The mean of 400 draws lies within 4 of its standard errors (1 in 15,000; seed 0)."""
    rng = np.random.default_rng(0)
    size = rng.gamma(0.5, size=600) * (rng.random(600) < 0.7)
    y = size * rng.normal(0.2, 1.0, size=600)
    chance = inclusion_probabilities(size, 60)
    gains = []
    for seed in range(400):
        at = draw(chance, seed=seed)
        gains.append(judged(frame_of(at, chance[at]), y[at]).estimate.gain)
    se = np.std(gains) / np.sqrt(400)
    assert abs(np.mean(gains) - y.mean()) < 4 * se
    assert se > 0


def test_labels_that_did_not_come_do_not_shrink_the_gain() -> None:
    """Counted as 0 they would: a candidate that is better everywhere would look half as good."""
    frame = frame_of(np.arange(0, 600, 10), np.full(60, 0.1))
    y = np.full(60, 0.3)
    came = np.arange(60) % 10 != 9
    assert judged(frame, y, came).estimate.gain == pytest.approx(0.3)
    half = replace(frame, is_asked=np.arange(60) < 30)
    assert judged(half, y, came).estimate.gain == pytest.approx(0.3 * 0.5 + 0.3 * 0.5 * 0.9)


def test_disagreements_of_single_rows_are_tested_exactly() -> None:
    """The mid-p McNemar test on the rows asked for, whatever share of them was drawn."""
    at = np.arange(40)
    frame = frame_of(at, np.full(40, 0.25), single=True)
    won = (at < 29).astype(np.float64)
    answer = Answer("accuracy", np.ones(40, np.bool_), 1.0 - won, won, True, 1.0)
    request = replace(REQUEST, metric="accuracy")
    found = evidence_of(parse_proof("superior(accuracy)"), request, frame, answer)
    assert found.estimate.bounds.p_value() == pytest.approx(mcnemar(29, 11).p_value)
    # 40 of 160 disagreeing rows: the difference is 160 / 600 of (29 - 11) / 40.
    assert found.estimate.gain == pytest.approx(160 / 600 * 18 / 40)
    assert found.estimate.bounds.lower(0.05) < found.estimate.gain
    assert found.series.baseline_value == pytest.approx(1 - 29 * 4 / 600)
    assert found.series.reach == 4.0


def test_nothing_to_label_is_a_difference_of_nothing() -> None:
    nothing = np.empty(0)
    found = judged(frame_of(nothing.astype(np.intp), nothing), nothing)
    assert (found.series.gains == 0.0).all()
    assert found.estimate.bounds.upper(0.05) == 0.0
    assert found.series.baseline_value == 0.5


def test_frames_come_back_whole() -> None:
    """A verdict is replayed from these bytes; what is damaged must not be read."""
    frame = frame_of(np.array([1, 5]), np.array([0.5, 1.0]))
    again = Frame.from_bytes(frame.to_bytes())
    for name in Frame.__dataclass_fields__:
        assert np.array_equal(getattr(again, name), getattr(frame, name)), name
    assert frame.asked.tolist() == [1, 5]
    with pytest.raises(Corrupt):
        Frame.from_bytes(frame.to_bytes()[:-30])


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Return a database with a model and two versions."""
    found = Database(f"sqlite:///{tmp_path / 'registry.db'}")
    with found.transaction() as connection:
        connection.execute(insert(models).values(name="m", spec={}, created_at=AT))
        for number, version_id in enumerate((REQUEST.baseline, REQUEST.candidate), 1):
            connection.execute(
                insert(versions).values(
                    id=version_id,
                    model="m",
                    number=number,
                    manifest={},
                    facts={},
                    created_at=AT,
                    created_by="test",
                )
            )
    yield found
    found.close()


def test_the_newest_request_of_a_pair_counts(db: Database) -> None:
    """Breaks when labels for one champion would decide against another."""
    later = replace(REQUEST, id="2", n_asked=7, made_at=AT + timedelta(hours=1))
    other = replace(REQUEST, id="3", baseline=REQUEST.candidate, candidate=REQUEST.baseline)
    with db.transaction() as connection:
        for each in (REQUEST, later, other):
            add_request(connection, each)
    assert requests_of(db, "m") == (REQUEST, later, other)
    assert request_for(db, "m", (REQUEST.candidate, REQUEST.baseline)) == later
    assert request_for(db, "m", (REQUEST.candidate, "x" * 64)) is None
    assert requests_of(db, "others") == ()


def test_few_blocks_take_more_labels() -> None:
    """Planned as independent rows, seven days of labels would find too little."""
    size = np.repeat([1.0, 0.0], [500, 9_500])
    known = np.zeros(10_000, np.bool_)
    many, few = (plan_labels(size, known, n_blocks=n, effect=0.01, alpha=0.05) for n in (10_000, 7))
    assert many is not None
    assert few is not None
    assert many.n_labels == 155
    assert few.n_labels is not None
    assert 155 < few.n_labels < 250


def test_a_plan_says_when_no_number_of_labels_does() -> None:
    size = np.repeat([1.0, 0.0], [50, 950])
    known = np.zeros(1_000, np.bool_)
    found = plan_labels(size, known, n_blocks=1_000, effect=0.01, alpha=0.05)
    assert found is not None
    assert found.n_labels is None
    assert 3_000 < found.n_rows < 3_200
    assert plan_labels(0 * size, known, n_blocks=1_000, effect=0.01, alpha=0.05) is None


def test_labels_that_are_there_need_not_be_asked_for() -> None:
    size = np.repeat([1.0, 0.0], [500, 9_500])
    known = np.arange(10_000) % 2 == 0
    found = plan_labels(size, known, n_blocks=10_000, effect=0.01, alpha=0.05)
    assert found is not None
    assert found.n_labels is not None
    assert found.n_labels < 80
