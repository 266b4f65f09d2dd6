"""Asking for labels where they decide, from the draw to the verdict, on a real home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from renewal.assemble.asking import ASKED, LabelSheet
from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.core.clock import ReplayClock, to_us
from renewal.core.errors import Conflict, Invalid, NotFound, Refused
from renewal.data.keyset import KeySet
from renewal.gate.ledger import looks
from renewal.gate.requests import Frame, requests_of
from renewal.loop.sampled import frame_of, without_requested
from renewal.models.task import Binary

START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ACCURACY = '[gate]\nmust_prove = ["superior(accuracy)"]\n'
MakeHome = Callable[..., Home]


def people(n: int, seed: int) -> pd.DataFrame:
    """Draw rows whose truth needs both columns."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    rows["id"] = [f"{seed}-{i}" for i in range(n)]
    rows["at"] = START + pd.to_timedelta(np.arange(n) * 10, unit="min")
    noise = rng.normal(size=n)
    rows["y"] = (rows["a"] + 0.5 * rows["b"] + 0.5 * noise > 0).astype(int)
    return rows


@pytest.fixture
def make_home(tmp_path: Path) -> Iterator[MakeHome]:
    opened = []

    def make(policy: str = "") -> Home:
        (tmp_path / "renewal.toml").write_text(policy)
        (tmp_path / "salt").write_bytes(b"roles")  # the same rows are for judging every time
        opened.append(open_home(tmp_path, clock=ReplayClock(START + 30 * DAY)))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def versions_of(model: Model) -> None:
    """Register a champion that leaves a column out, and a candidate that sees it."""
    for weight, seed in ((0.0, 101), (1.0, 102)):
        seen = people(400, seed)
        seen["at"] -= 60 * DAY
        inputs = seen[["a", "b"]].assign(b=seen["b"] * weight)
        fitted = LogisticRegression().fit(inputs, seen["y"])
        columns = ["id", "a", "b", "y", *(["at"] if model.spec.time else [])]
        model.register(fitted, trained_on=seen[columns])


def timeless(home: Home, n: int = 8_000) -> tuple[Model, pd.DataFrame]:
    model = home.model("m", task="binary", target="y", key="id")
    versions_of(model)
    rows = people(n, 7)
    model.feed.append(rows[["id", "a", "b"]])
    return model, rows


def timed(home: Home, n: int = 4_000) -> tuple[Model, pd.DataFrame]:
    model = home.model("m", task="binary", target="y", key="id", time="at", block="1d")
    versions_of(model)
    rows = people(n, 7)
    model.feed.append(rows[["id", "a", "b", "at"]])
    return model, rows


def filled(sheet: LabelSheet, rows: pd.DataFrame, share: float = 1.0) -> pd.DataFrame:
    """Return the sheet as a person who knows the truth fills it in."""
    table = sheet.table().to_pandas()
    truth = dict(zip(rows["id"], rows["y"], strict=True))
    table["y"] = [truth[key] for key in table["id"]]
    return table.iloc[: round(share * len(table))]


def framed(model: Model, frame: Frame) -> set[str]:
    """Return the keys of a frame."""
    fed = model.feed.rows()
    return set(fed.key[np.isin(fed.key_hash, frame.key_hash)])


def test_labels_on_disagreements_decide_for_accuracy(make_home: MakeHome) -> None:
    """The whole way; breaks when agreeing rows are asked for or leave the denominator."""
    model, rows = timeless(make_home(ACCURACY))
    sheet = model.label_request(gain=0.04)
    table = sheet.table(show_predictions=True).to_pandas()
    assert (table["renewal_champion"] != table["renewal_candidate"]).all()
    assert sheet.request.metric == "accuracy"
    plan = sheet.asked.plan
    assert plan is not None
    assert sheet.request.n_asked == plan.n_labels
    assert plan.n_random > 3 * sheet.request.n_asked
    model.label(filled(sheet, rows))
    verdict = model.gate("v2")
    frame = frame_of(model._shop(), sheet.request)
    asked = rows[rows["id"].isin(table["id"])]
    known = dict(zip(table["id"], table["renewal_candidate"], strict=True))
    won = sum(known[key] == y for key, y in zip(asked["id"], asked["y"], strict=True))
    share = sheet.asked.n_decisive / len(frame.key_hash) if sheet.asked.n_decisive else 0.0
    assert verdict.gain == pytest.approx(share * (2 * won - len(asked)) / len(asked))
    assert verdict.outcome == "accept"
    assert verdict.n_rows == sheet.request.n_frame
    assert verdict.clauses[0].method.startswith("McNemar")
    assert "labels that were asked for" in verdict.reason


def test_losses_of_a_request_stay_unbiased_in_blocks(make_home: MakeHome) -> None:
    """Breaks when weights, blocks or the frame are mixed up: the truth is known here."""
    model, rows = timed(make_home())
    sheet = model.label_request("v2", labels=400, seed=3)
    assert sheet.request.metric == "loss"
    model.label(filled(sheet, rows))
    verdict = model.gate("v2")
    frame = frame_of(model._shop(), sheet.request)
    assert verdict.n_blocks == len(frame.blocks)
    mine = rows[rows["id"].isin(framed(model, frame))]
    losses = [
        Binary().loss(model.predict(name, mine[["a", "b"]]), mine["y"].to_numpy(object), (0, 1))
        for name in ("v1", "v2")
    ]
    truth = float((losses[0] - losses[1]).mean())
    clause = verdict.clauses[0]
    assert len(mine) == len(frame.key_hash)
    # Four standard errors: one in 15,000 draws; this one is seeded.
    assert abs(verdict.gain - truth) < 4 * (clause.value - clause.lower) / 2
    assert verdict.outcome == "accept"


def test_what_is_known_already_counts_and_is_not_asked(make_home: MakeHome) -> None:
    model, rows = timeless(make_home(ACCURACY))
    model.feed.label(pd.DataFrame({"id": rows["id"][:6000], "label": rows["y"][:6000]}))
    sheet = model.label_request(labels=50)
    assert not set(sheet.table()["id"].to_pylist()) & set(rows["id"][:6000])
    assert sheet.asked.n_known > 50
    model.label(filled(sheet, rows))
    assert f"and {sheet.asked.n_known:,} that were there" in model.gate("v2").reason


def test_until_nine_of_ten_labels_came_nothing_is_looked_at(make_home: MakeHome) -> None:
    """A verdict on the first labels would be a look; the error must not be spent by it."""
    model, rows = timeless(make_home(ACCURACY))
    sheet = model.label_request(labels=100)
    model.label(filled(sheet, rows, 0.5))
    verdict = model.gate("v2")
    assert (verdict.outcome, verdict.number) == ("undecided", 0)
    assert verdict.reason.startswith("50 of 100 asked labels came")
    assert "other 50 rows" in verdict.next_action
    again = model.label_request()
    found = (again.request.id, again.asked.n_came, len(again.asked.rows))
    assert found == (sheet.request.id, 50, 50)
    model.label(filled(again, rows, 0.9))
    verdict = model.gate("v2")
    assert verdict.number == 1
    assert "5 did not come" in verdict.reason
    with pytest.raises(Conflict, match="first looked at"):
        model.label_request()


def test_rows_of_a_request_are_used_up_for_others(make_home: MakeHome) -> None:
    """Breaks when rows that informed a verdict could be asked about for the next candidate."""
    home = make_home(ACCURACY)
    model, rows = timeless(home)
    sheet = model.label_request(labels=60)
    model.label(filled(sheet, rows))
    model.gate("v2")
    look = looks(home.db, "m")[-1]
    assert look.rows is not None
    assert len(KeySet.from_bytes(home.store.get(look.rows))) == sheet.request.n_frame
    seen = people(400, 103)
    fitted = LogisticRegression().fit(seen[["a", "b"]], seen["y"])
    model.register(fitted, trained_on=seen[["id", "a", "b", "y"]])
    with pytest.raises(Refused, match="all of them used"):
        model.label_request("v3")


def test_asked_labels_are_no_sample_of_all_rows(make_home: MakeHome) -> None:
    """The rows asked for are hard; a loss over them would call every model worse."""
    model, rows = timeless(make_home(ACCURACY))
    sheet = model.label_request(labels=80)
    asked = set(sheet.table()["id"].to_pylist())
    others = rows[~rows["id"].isin(asked)][:500]
    model.feed.label(pd.DataFrame({"id": others["id"], "label": others["y"]}))
    model.label(filled(sheet, rows))
    shop = model._shop()
    labelled = model.feed.rows(labelled=True)
    left = without_requested(shop, labelled)
    assert set(left.key) == set(others["id"])
    assert len(labelled) == len(left) + 80
    assert len(without_requested(shop, model.feed.rows())) == len(rows) - 80


def test_versions_that_answer_alike_need_no_label(make_home: MakeHome) -> None:
    """Breaks when nothing to label is an error, or a pass."""
    home = make_home(ACCURACY)
    model, _rows = timeless(home)
    seen = people(400, 101)
    inputs = seen[["a", "b"]].assign(b=0.0)
    twin = LogisticRegression(tol=1e-9).fit(inputs, seen["y"])
    model.register(twin, trained_on=seen[["id", "a", "b", "y"]])
    sheet = model.label_request("v3")
    assert sheet.request.n_asked == 0
    assert sheet.sentences[0].endswith("nothing to label, the gate judges them as they are")
    verdict = model.gate("v3")
    assert verdict.outcome == "reject"
    assert "answer alike on all" in verdict.reason


def test_alike_is_no_worse(make_home: MakeHome) -> None:
    home = make_home('[gate]\nmust_prove = ["no_worse(accuracy, 0.01)"]\n')
    model, _rows = timeless(home)
    seen = people(400, 101)
    twin = LogisticRegression(tol=1e-9).fit(seen[["a", "b"]].assign(b=0.0), seen["y"])
    model.register(twin, trained_on=seen[["id", "a", "b", "y"]])
    model.label_request("v3")
    assert model.gate("v3").outcome == "accept"


def test_guards_cannot_tell_from_labels_that_were_asked_for(make_home: MakeHome) -> None:
    model, rows = timeless(make_home(ACCURACY + "[gate.guards]\nmax_negative_flips = 0.5\n"))
    model.label(filled(model.label_request(labels=40), rows))
    clauses = model.gate("v2").clauses
    assert [(each.name, each.state) for each in clauses[1:]] == [("negative flips", "cannot_tell")]


def test_more_labels_than_rows_that_decide_asks_for_these(make_home: MakeHome) -> None:
    model, _rows = timeless(make_home(ACCURACY))
    sheet = model.label_request(labels=10**6)
    assert sheet.request.n_asked == sheet.asked.n_decisive
    assert (sheet.asked.chance == 1.0).all()


def test_a_request_of_a_former_champion_decides_nothing(make_home: MakeHome) -> None:
    """Its labels stay labels, but the pair that they were chosen for is no more."""
    home = make_home(ACCURACY)
    model, rows = timeless(home)
    seen = people(400, 103)
    fitted = LogisticRegression().fit(seen[["a", "b"]], seen["y"])
    model.register(fitted, trained_on=seen[["id", "a", "b", "y"]])
    sheet = model.label_request("v2", labels=50)
    model.promote("v3", force=True, who="you", why="a test")
    assert model.label(filled(sheet, rows)).n_labels == 50
    fresh = model.label_request("v2", labels=5)
    assert fresh.request.baseline == model.version("v3").id
    assert fresh.request.id != sheet.request.id


def test_a_sheet_survives_the_trip_through_csv(make_home: MakeHome, tmp_path: Path) -> None:
    """Ids of digits lose their zeros in CSV; the first column must not care."""
    home = make_home(ACCURACY)
    model = home.model("m", task="binary", target="y", key="id")
    versions_of(model)
    rows = people(12_000, 7)
    rows["id"] = [f"{i:07d}" for i in range(len(rows))]
    model.feed.append(rows[["id", "a", "b"]])
    sheet = model.label_request(labels=40)
    path = tmp_path / "sheet.csv"
    filled(sheet, rows).assign(note="seen").to_csv(path, index=False)
    back = pd.read_csv(path)
    back.loc[30:, "y"] = np.nan
    assert model.label(back).n_labels == 30
    assert model.label_request().asked.n_came == 30


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda table, _: table.drop(columns="y"), Invalid, "column 'y'"),
        (lambda table, _: pd.concat([table, table[:1]]), Invalid, "twice"),
        (lambda table, _: table.assign(**{ASKED: "01NONE-0"}).iloc[:1], NotFound, "01NONE"),
        (lambda table, i: table.assign(**{ASKED: f"{i}-999"}).iloc[:1], Invalid, "asked for"),
    ],
)
def test_wrong_sheets_are_refused_whole(
    make_home: MakeHome,
    change: Callable[[pd.DataFrame, str], pd.DataFrame],
    error: type[Exception],
    says: str,
) -> None:
    model, rows = timeless(make_home(ACCURACY))
    sheet = model.label_request(labels=20)
    with pytest.raises(error, match=says):
        model.label(change(filled(sheet, rows), sheet.request.id))
    assert model.feed.n_labels() == 0
    assert model.label(filled(sheet, rows, 0.0)).n_labels == 0


def test_what_cannot_be_asked_says_why(make_home: MakeHome) -> None:
    home = make_home()
    model = home.model("m", task="binary", target="y", key="id")
    with pytest.raises(NotFound):
        model.label_request()
    versions_of(model)
    with pytest.raises(Refused, match="got none"):
        model.label_request()
    rows = people(200, 7)
    model.feed.append(rows[["id", "a", "b"]])
    with pytest.raises(Conflict, match="the champion"):
        model.label_request("v1")
    with pytest.raises(Refused, match="too few even if each"):
        model.label_request()
    with pytest.raises(Invalid, match="accuracy or loss"):
        model.label_request(metric="auc")
    with pytest.raises(Invalid, match="the claim superior"):
        model.label_request(metric="accuracy")
    with pytest.raises(Invalid, match="at least one label"):
        model.label_request(labels=0)
    assert requests_of(home.db, "m") == ()
    model.label_request(labels=10)
    with pytest.raises(Conflict, match="--anew"):
        model.label_request(labels=20)
    assert model.label_request(labels=20, anew=True).request.n_asked == 20
    model.feed.label(pd.DataFrame({"id": rows["id"], "label": rows["y"]}))
    with pytest.raises(Refused, match="every one of them labelled"):
        model.label_request(anew=True)


def test_claims_that_such_labels_cannot_prove_are_refused(make_home: MakeHome) -> None:
    model, _rows = timeless(make_home('[gate]\nmust_prove = ["superior(auc)"]\n'))
    with pytest.raises(Invalid, match="mean over rows"):
        model.label_request()


def test_too_few_blocks_are_not_asked_about(make_home: MakeHome) -> None:
    model, _rows = timed(make_home(), n=500)
    with pytest.raises(Refused, match="4 days"):
        model.label_request()


def test_a_timed_frame_lies_after_both_cuts(make_home: MakeHome) -> None:
    """A row from before the candidate's cut says nothing about what comes."""
    model, rows = timed(make_home())
    sheet = model.label_request(labels=30)
    frame = frame_of(model._shop(), sheet.request)
    newest = rows["at"].max().to_pydatetime()
    assert frame.event_us.min() >= to_us(newest - 15 * DAY)
    seen = rows[rows["at"] < START + 18 * DAY]
    fitted = LogisticRegression().fit(seen[["a", "b"]], seen["y"])
    model.register(fitted, trained_on=seen[["id", "a", "b", "at", "y"]])
    later = frame_of(model._shop(), model.label_request("v3", labels=30).request)
    assert later.event_us.min() >= to_us(START + 18 * DAY)
