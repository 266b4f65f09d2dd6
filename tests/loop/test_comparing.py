"""Breaks when a version that cannot be scored looks fine, or is blamed for another's trouble."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from renewal.assemble.home import Home, open_home
from renewal.core.clock import ReplayClock
from renewal.core.errors import Refused, Unavailable
from renewal.core.spec import ModelSpec
from renewal.data.keyset import KeySet
from renewal.evaluate.report import Scored
from renewal.loop.comparing import (
    Unscorable,
    block_us,
    evaluate_versions,
    keyset_of,
    report_of,
    runtime_of,
    scores_of,
    unseen_by,
)

DAY_US = 86_400_000_000
NOW = datetime(2020, 3, 1, tzinfo=UTC)
Stage = Any


def boom(_x: Any) -> NoReturn:
    """Fail as a model may."""
    message = "no such category: 'x'"
    raise ValueError(message)


def leave(_x: Any) -> NoReturn:
    """Fail as a model must not."""
    raise SystemExit(3)


def test_versions_are_scored_on_the_same_unseen_rows(stage: Stage) -> None:
    rows = stage.days(0, 14)
    report = evaluate_versions(stage.shop, (stage.champion, stage.candidate), rows)
    assert [each.version_id for each in report.versions] == [stage.champion.id, stage.candidate.id]
    assert [each.scored.name for each in report.versions] == ["v1", "v2"]
    assert (report.n_rows, report.n_seen) == (14 * 60, 0)
    assert (report.blocks.unit, len(report.blocks.ids), report.blocks.is_ordered) == (
        "day",
        14,
        True,
    )
    x = rows.features.column("x").to_numpy()
    assert (
        report.of(stage.candidate.id).scored.scores.tolist()
        == stage.answers[stage.candidate.id](x).tolist()
    )
    assert report.of(stage.candidate.id).mean_loss < report.of(stage.champion.id).mean_loss
    assert report.notes == ()


def test_a_version_is_loaded_once_for_the_same_rows_and_closed(stage: Stage) -> None:
    rows = stage.days(0, 2)
    first = scores_of(stage.shop, stage.candidate, rows)
    again = scores_of(stage.shop, stage.candidate, rows)
    assert first.tobytes() == again.tobytes()
    assert (stage.loaded, len(stage.closed)) == (["v2"], 1)
    scores_of(stage.shop, stage.candidate, stage.days(0, 3))
    scores_of(stage.shop, stage.champion, rows)
    assert stage.loaded == ["v2", "v2", "v1"]


@pytest.mark.parametrize(
    ("answer", "why"), [(boom, "ValueError: no such category"), (leave, "SystemExit: 3")]
)
def test_whatever_a_version_raises_is_its_reason(
    stage: Stage, caplog: pytest.LogCaptureFixture, answer: Any, why: str
) -> None:
    stage.answers[stage.candidate.id] = answer
    with caplog.at_level(logging.ERROR), pytest.raises(Unscorable, match=why) as caught:
        scores_of(stage.shop, stage.candidate, stage.days(0, 1))
    assert caught.value.fields["version_id"] == stage.candidate.id
    assert caught.value.who == "scoring v2"
    assert stage.candidate.id in caplog.text
    assert stage.closed == ["closed"]


def test_a_version_whose_bytes_are_gone_cannot_be_scored(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("renewal.loop.comparing.runtime_of", runtime_of)
    gone = replace(stage.candidate, manifest=replace(stage.candidate.manifest, artifact="0" * 64))
    with pytest.raises(Unscorable) as caught:
        scores_of(stage.shop, gone, stage.days(0, 1))
    assert caught.value.fields["version_id"] == stage.candidate.id
    assert "0000" in caught.value.came


def test_nobody_waits_for_a_version_that_hangs(stage: Stage) -> None:
    ends = threading.Event()

    def hang(x: Any) -> Any:
        ends.wait(20)
        return np.full((len(x), 2), 0.5)

    stage.answers[stage.candidate.id] = hang
    shop = stage.gate(timeout=timedelta(milliseconds=150))
    try:
        with pytest.raises(Unscorable, match=r"scores within 0\.15 s"):
            scores_of(shop, stage.candidate, stage.days(0, 1))
    finally:
        ends.set()
    # Given time, it is asked again: nothing of the failure is kept.
    assert len(scores_of(stage.shop, stage.candidate, stage.days(0, 1))) == 60


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda x: np.where(np.arange(len(x)) == 7, np.nan, 0.5)[:, None] * [1, 1], "1 of 60 rows"),
        (lambda x: np.full((len(x), 2), np.inf), "60 of 60 rows"),
        (lambda x: np.full((len(x), 3), 1 / 3), r"shape \(60, 3\)"),
        (lambda x: np.full(len(x), 0.5), r"shape \(60,\)"),
        (lambda x: np.full((len(x) - 1, 2), 0.5), r"shape \(59, 2\)"),
    ],
)
def test_answers_that_are_no_scores_name_the_version(stage: Stage, answer: Any, why: str) -> None:
    stage.answers[stage.candidate.id] = answer
    for _ in range(2):  # from the cache too
        with pytest.raises(Unscorable, match=why) as caught:
            evaluate_versions(stage.shop, (stage.champion, stage.candidate), stage.days(0, 1))
        assert caught.value.fields["version_id"] == stage.candidate.id


def test_trouble_beside_a_version_is_not_held_against_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must stop the update, not reject a candidate for good."""

    def full(_data: bytes) -> NoReturn:
        raise Unavailable("Store.put", needs="space", came="none", todo="Make room.")

    rows = stage.days(0, 1)
    monkeypatch.setattr(type(stage.shop.store), "put", lambda _self, data: full(data))
    with pytest.raises(Unavailable, match="Make room"):
        scores_of(stage.shop, stage.candidate, rows)


def test_rows_of_earlier_verdicts_and_of_training_are_set_aside(stage: Stage) -> None:
    rows, used = stage.days(0, 14), stage.days(0, 5)
    digest = stage.shop.store.put(KeySet.of(used).to_bytes())
    trained = stage.shop.store.put(KeySet.of(stage.days(10, 14)).to_bytes())
    seen = replace(
        stage.candidate, manifest=replace(stage.candidate.manifest, trained_keys=trained)
    )
    report = evaluate_versions(stage.shop, (stage.champion, stage.candidate), rows, used=[digest])
    assert (report.n_rows, report.n_seen) == (9 * 60, 5 * 60)
    keys = set(report.rows.key_hash.tolist())
    assert keys.isdisjoint(used.key_hash.tolist())
    assert keyset_of(stage.shop, seen) is not None
    assert len(keyset_of(stage.shop, stage.candidate) or ()) == 60
    both = evaluate_versions(stage.shop, (stage.champion,), rows, used=[digest, digest])
    assert both.n_rows == 9 * 60


def test_when_every_row_is_used_that_is_said(stage: Stage) -> None:
    rows = stage.days(0, 2)
    digest = stage.shop.store.put(KeySet.of(rows).to_bytes())
    with pytest.raises(Refused, match="120 rows, all of them used by earlier verdicts") as caught:
        evaluate_versions(stage.shop, (stage.champion, stage.candidate), rows, used=[digest])
    assert caught.value.fields["n_rows"] == 120
    with pytest.raises(Refused, match="no labelled row at all"):
        evaluate_versions(stage.shop, (stage.champion,), stage.days(50, 60), used=[digest])


def test_rows_that_a_version_trained_on_are_seen(stage: Stage) -> None:
    rows, n_seen = unseen_by(stage.shop, stage.days(0, 1), stage.champion, stage.candidate)
    assert (len(rows), n_seen) == (60, 0)


@pytest.mark.parametrize(
    ("declared", "delay", "days"),
    [("1d", "0s", 1), ("6h", "0s", 1), ("1d", "36h", 2), ("7d", "2d", 7), ("1d", "3d", 3)],
)
def test_a_block_is_a_day_or_the_label_delay_at_least(
    stage: Stage, declared: str, delay: str, days: int
) -> None:
    """Labels that come together are wrong together."""
    model = stage.home.model(
        "n",
        task="binary",
        target="y",
        key="id",
        time="at",
        block=declared,
        label_delay=delay,
    )
    assert block_us(stage.home.workshop(model.spec)) == days * DAY_US


def test_rows_without_time_have_no_length_of_block(stage: Stage) -> None:
    spec = ModelSpec("m", "binary", "y", key="id")
    assert block_us(replace(stage.shop, spec=spec)) is None


def test_classes_that_only_one_version_knows_are_noted(tmp_path: Any) -> None:
    """A third label came with the candidate; both are compared, and the reader is told."""
    with open_home(tmp_path, clock=ReplayClock(NOW)) as home:
        found = _of_three_classes(home)
    assert found == (
        "v1 does not know the class 'c'",
        "the versions tell different sets of classes apart",
    )


def _of_three_classes(home: Home) -> tuple[str, ...]:
    rng = np.random.default_rng(1)
    model = home.model("m", task="multiclass", target="y", key="id")
    x = rng.normal(size=300)
    y = np.where(x < -0.5, "a", np.where(x < 0.5, "b", "c"))
    ids = [str(k) for k in range(300)]
    for classes, part in ((("a", "b"), slice(0, 50)), (("a", "b", "c"), slice(50, 100))):
        mine = np.flatnonzero(np.isin(y[part], classes)) + part.start
        fitted = LogisticRegression().fit(x[mine][:, None], y[mine])
        fitted.feature_names_in_ = np.array(["x"], dtype=object)
        kept = {"id": [ids[k] for k in mine], "x": x[mine].tolist(), "y": y[mine].tolist()}
        model.register(fitted, trained_on=kept)
    model.feed.append({"id": ids, "x": x.tolist(), "y": y.tolist()})
    shop = home.workshop(model.spec)
    versions = [home.registry.version("m", each) for each in ("v1", "v2")]
    report = evaluate_versions(shop, versions, shop.feed.rows(labelled=True))
    assert report.n_seen >= 60
    assert report.of(versions[1].id).mean_loss < report.of(versions[0].id).mean_loss
    return report.notes


def test_scores_that_are_there_are_reported_in_the_models_blocks(stage: Stage) -> None:
    rows = stage.days(0, 3)
    scored = [Scored(stage.champion.id, np.full((180, 2), 0.5), (0, 1))]
    report = report_of(stage.shop, rows, scored, (stage.champion,), n_seen=4)
    assert (report.n_seen, report.blocks.n_rows.tolist()) == (4, [60, 60, 60])
