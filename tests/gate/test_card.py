"""Breaks when a card says what the evidence does not, or a page needs anything from outside."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from renewal.core.errors import Invalid
from renewal.core.ids import key_hash
from renewal.core.verdict import Verdict
from renewal.data.rows import Rows
from renewal.evaluate.metrics import metric
from renewal.evaluate.report import Report, Scored, evaluate
from renewal.gate.card.altair import card_charts
from renewal.gate.card.curves import curves_of, roc
from renewal.gate.card.html import to_html
from renewal.gate.card.markdown import to_markdown
from renewal.gate.card.record import Card, Exhibit, card
from renewal.gate.card.trail import trail
from renewal.gate.card.writing import write_card
from renewal.gate.gathering import gather
from renewal.gate.judge import Grant, judge, not_judged
from renewal.gate.options import GateOptions
from renewal.gate.proving import levels_of
from renewal.models.multilabel import Multilabel
from renewal.models.task import Binary, Multiclass, Regression

Floats = NDArray[np.float64]

DAY_US = 86_400_000_000
OLD, NEW = "b" * 64, "c" * 64
NAMES = {OLD: "v1", NEW: "v2"}
OPTIONS = GateOptions()
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def rows_of(label: Any, *, n_days: int = 14, seed: int = 0) -> Rows:
    """Return rows of some days, with a column of three values, one of them hostile."""
    n = len(label)
    rng = np.random.default_rng(seed)
    key = np.array([f"row{at}" for at in range(n)], dtype=object)
    hashes = np.array([key_hash(each) for each in key], dtype=np.uint64)
    event = (np.arange(n) * (n_days * DAY_US // max(n, 1))).astype(np.int64)
    return Rows(
        features=pa.table(
            {
                "origin": rng.choice(["JFK", "LGA", "<b>a|b</b>"], size=n),
                "distance": rng.random(n),
            }
        ),
        key=key,
        key_hash=hashes,
        group_hash=hashes,
        sticky=None,
        event_us=event,
        arrived_us=event,
        label=label,
        label_arrived_us=event,
        block=event // DAY_US,
    )


def binary(n: int = 700, *, n_days: int = 14, label: int | None = None) -> Report:
    """Return a report of a better version of two classes; a label may be that of every row."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=n)
    truth = (rng.random(n) < 1 / (1 + np.exp(-2 * x))).astype(int)
    if label is not None:
        truth[:] = label
    labels = np.array(truth.tolist(), dtype=object)
    scored = []
    for version, slope in ((OLD, 0.4), (NEW, 2.0)):
        positive = 1 / (1 + np.exp(-slope * x))
        scores = np.column_stack([1 - positive, positive])
        scored.append(Scored(version, scores, (0, 1), NAMES[version]))
    return evaluate(Binary(), rows_of(labels, n_days=n_days), scored, is_timed=True)


def multiclass() -> Report:
    rng = np.random.default_rng(2)
    names = ("a", "b", "c", "never")
    labels = np.array(names, dtype=object)[rng.integers(0, 3, 600)]
    hot = np.array([[each == name for name in names] for each in labels], dtype=float)
    scored = [
        Scored(version, _normed(hot * weight + rng.random(hot.shape)), names, NAMES[version])
        for version, weight in ((OLD, 0.5), (NEW, 2.0))
    ]
    return evaluate(Multiclass(), rows_of(labels), scored, is_timed=True)


def multilabel() -> Report:
    rng = np.random.default_rng(3)
    on = rng.random((500, 2)) < 0.4
    texts = np.array(["|".join(np.array(["x", "y"])[each]) for each in on], dtype=object)
    scored = [
        Scored(version, np.clip(on * weight + rng.random(on.shape) * 0.5, 0, 1), ("x", "y"))
        for version, weight in ((OLD, 0.1), (NEW, 0.4))
    ]
    return evaluate(Multilabel(), rows_of(texts), scored, is_timed=True)


def regression() -> Report:
    rng = np.random.default_rng(4)
    truth = rng.normal(10.0, 3.0, size=500)
    scored = [
        Scored(version, (truth + bias + rng.normal(0, 1, 500))[:, None], (), NAMES[version])
        for version, bias in ((OLD, 1.0), (NEW, 0.1))
    ]
    return evaluate(Regression(), rows_of(truth), scored, is_timed=True)


REPORTS: dict[str, Callable[[], Report]] = {
    "binary": binary,
    "multiclass": multiclass,
    "multilabel": multilabel,
    "regression": regression,
    "one class": lambda: binary(label=1),
    "one day": lambda: binary(60, n_days=1),
    "one row": lambda: binary(1, n_days=1),
}


def _normed(scores: Floats) -> Floats:
    return np.asarray(scores / scores.sum(axis=1, keepdims=True))


def verdict_of(report: Report, options: GateOptions = OPTIONS) -> tuple[Verdict, Any]:
    evidence = gather(report, NEW, OLD, options)
    found = judge(evidence, options, grant=Grant(0.02, 3), is_first=True, notes=report.notes)
    return found, [each.series for each in evidence]


def card_for(report: Report, slices: tuple[str, ...] = ("origin", "distance:2")) -> Card:
    verdict, series = verdict_of(report)
    return card(report, verdict, series, NAMES, slices=slices, model="flights", verdict_id="01V")


@pytest.fixture(scope="module")
def cards() -> dict[str, Card]:
    return {name: card_for(make()) for name, make in REPORTS.items()}


@pytest.mark.parametrize("name", REPORTS)
def test_markdown_fits_80_columns_and_lets_no_markup_in(cards: dict[str, Card], name: str) -> None:
    text = to_markdown(cards[name])
    assert max(map(len, text.splitlines())) <= 80
    assert "<b>" not in text
    assert "nan" not in text.replace("dominant", "")
    assert "inf" not in text
    for title in ("## Clauses", "## Versions side by side", "## Gain by slice"):
        assert title in text


@pytest.mark.parametrize("name", REPORTS)
def test_every_table_has_as_many_cells_in_each_line(cards: dict[str, Card], name: str) -> None:
    """A bar in a name, such as in a set of labels, must not open a column."""
    for block in to_markdown(cards[name]).split("\n\n"):
        lines = [each for each in block.splitlines() if each.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", each)) for each in lines}) <= 1


@pytest.mark.parametrize("name", REPORTS)
def test_no_number_of_a_chart_is_nan_or_infinite(cards: dict[str, Card], name: str) -> None:
    json.dumps(card_charts(cards[name]), allow_nan=False)


def test_the_card_says_what_the_verdict_says(cards: dict[str, Card]) -> None:
    found = cards["binary"]
    text = " ".join(to_markdown(found).split())
    assert found.headline == f"v2 is accepted over v1: {found.verdict.reason}"
    assert "Next: roll out" in text
    assert "Claim number 3 of this model's life, granted an error of 0.02 over all looks" in text
    assert f"{found.verdict.clauses[0].value:.4g}" in text
    assert (
        found.metrics["auc"][1]
        == found.curves[1].area
        == pytest.approx(
            metric("auc").value(binary().of(NEW).scored.scores, binary().labels, (0, 1))
        )
    )


def test_of_values_errors_by_slice_take_the_place_of_curves(cards: dict[str, Card]) -> None:
    found = cards["regression"]
    assert not found.curves
    assert not found.flips
    first = {each.version_id: each for each in found.errors if each.name == "all rows"}
    assert first[OLD].bias == pytest.approx(1.0, abs=0.2)
    assert first[NEW].bias == pytest.approx(0.1, abs=0.2)
    assert "chart-errors" in card_charts(found)
    assert "Predicted and true by slice" in to_markdown(found)


def test_a_class_without_rows_is_left_out_of_the_mean_curve(cards: dict[str, Card]) -> None:
    (old, new) = cards["multiclass"].curves
    assert old.of == new.of == "macro of 3 classes (1 without rows of both kinds)"
    report = multiclass()
    areas = [
        float(np.trapezoid(true, false))
        for false, true in (
            roc(report.labels == name, report.of(NEW).scored.scores[:, at])
            for at, name in enumerate("abc")
        )
    ]
    assert new.area == pytest.approx(np.mean(areas))


def test_what_cannot_be_told_is_a_note_and_no_number(cards: dict[str, Card]) -> None:
    assert (
        "cannot tell: no ROC curve, since these rows are of one class" in cards["one class"].notes
    )
    assert not cards["one class"].curves
    one_day = cards["one day"]
    assert all(math.isnan(each.lower) for each in one_day.slices)
    assert one_day.headline.startswith("Cannot tell yet whether v2 may replace v1")
    assert "cannot tell: too few blocks to bound the change of calibration" in one_day.notes


def test_a_verdict_without_rows_has_a_card_too() -> None:
    verdict = not_judged(
        NEW, OLD, OPTIONS, loss="log_loss", outcome="reject",
        reason="the candidate v2 cannot be scored: 3 rows with NaN", next_action="mend it",
    )  # fmt: skip
    found = card(None, verdict, [], NAMES)
    text = " ".join(to_markdown(found).split())
    assert "cannot tell: no row on which both versions could be compared" in text
    assert "No claim was opened, and no error was spent." in text
    assert "3 rows with NaN" in to_html(found)
    assert card_charts(found) == {}


def test_three_versions_are_ranked_on_the_card() -> None:
    report = binary()
    verdict, series = verdict_of(report)
    third = replace(report.versions[0].scored, version_id="d" * 64, name="v3")
    three = evaluate(
        Binary(), report.rows, [*(each.scored for each in report.versions), third], is_timed=True
    )
    found = card(three, verdict, series, {**NAMES, "d" * 64: "v3"})
    assert found.ranking is not None
    assert found.ranking.winner == NEW
    assert "## Who wins" in to_markdown(found)
    assert "v2 wins" in to_html(found)
    assert [each.version_id for each in found.curves] == [OLD, NEW, "d" * 64]


def test_the_trail_ends_where_the_verdict_stands() -> None:
    """The last point is the running test of the clause: same bounds, same e-value."""
    report = binary()
    for is_first in (True, False):
        evidence = gather(report, NEW, OLD, OPTIONS)
        level = 0.02
        verdict = judge(evidence, OPTIONS, grant=Grant(level, 3), is_first=is_first)
        clause = verdict.clauses[0]
        found = trail(evidence[0].series, clause, level=level, is_first=is_first)
        last = found.points[-1]
        spent = levels_of(OPTIONS, level, is_first=False).accept
        assert found.alpha == pytest.approx(spent)
        assert last.gain == pytest.approx(clause.value)
        assert last.lower == pytest.approx(evidence[0].estimate.running.lower(spent))
        assert (last.log_e >= found.log_threshold) == (last.lower > clause.bound)
        if not is_first:
            assert last.lower == pytest.approx(clause.lower)
            assert math.exp(last.log_e) == pytest.approx(clause.e_value)


def test_long_names_are_cut_and_spelled_out_below() -> None:
    report = binary()
    long = "a_column_whose_name_is_much_longer_than_any_table_of_eighty_columns_could_hold"
    table = report.rows.features.rename_columns(["origin", long])
    longer = replace(report, rows=replace(report.rows, features=table))
    text = to_markdown(card_for(longer, (f"{long}:2",)))
    cut = [each for each in text.splitlines() if "..[" in each]
    assert cut
    assert all(len(each) <= 80 for each in cut)
    assert f"[1]{long}<=" in "".join(text.split())


def test_an_unknown_slice_is_named_and_nothing_is_guessed() -> None:
    with pytest.raises(Invalid, match="origin"):
        card_for(binary(), ("orign",))


def test_what_another_room_knows_stands_on_the_card(cards: dict[str, Card]) -> None:
    """Breaks when it is left out, drawn without a picture, or lets markup in."""
    chart = {
        "$schema": card_charts(cards["binary"])["chart-roc"]["$schema"],
        "mark": "point",
        "data": {"values": [{"x": 1, "y": 2}]},
        "encoding": {"x": {"field": "x"}, "y": {"field": "y"}},
    }
    exhibit = Exhibit("Compression", "chain: <b>prune</b>\nbytes 10", chart)
    shown = replace(cards["binary"], exhibits=(exhibit, Exhibit("Other", "no picture")))
    assert "## Compression\n\n```text\nchain: <b>prune</b>\nbytes 10\n```" in to_markdown(shown)
    page = to_html(shown)
    assert '<div id="chart-exhibit-1"' in page
    assert "chart-exhibit-2" not in page
    assert "chain: &lt;b&gt;prune&lt;/b&gt;" in page


def test_cards_are_pure(cards: dict[str, Card]) -> None:
    assert to_markdown(card_for(binary())) == to_markdown(cards["binary"])


def test_a_file_is_written_as_its_name_says_and_whole(
    cards: dict[str, Card], tmp_path: Path
) -> None:
    target = tmp_path / "deep" / "card.md"
    assert write_card(cards["binary"], target) == target.resolve()
    assert target.read_text(encoding="utf-8") == to_markdown(cards["binary"])
    assert [each.name for each in target.parent.iterdir()] == ["card.md"]
    with pytest.raises(Invalid, match=r"\.html or \.md"):
        write_card(cards["binary"], tmp_path / "card.pdf")


@pytest.fixture(scope="module")
def page(cards: dict[str, Card], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_card(cards["binary"], tmp_path_factory.mktemp("card") / "card.html")


def test_a_page_loads_nothing_and_lets_no_markup_in(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="([^"#]*)"', markup) == ["data:,"]
    assert "@import" not in markup
    assert not re.search(r"url\(\s*['\"]?(?!#)", markup)
    assert "default-src 'none'" in markup
    assert "<b>a|b</b>" not in html
    assert "&lt;b&gt;a|b&lt;/b&gt;" in markup


def test_a_page_holds_each_chart_as_picture_and_as_specification(
    page: Path, cards: dict[str, Card]
) -> None:
    html = page.read_text(encoding="utf-8")
    charts = set(card_charts(cards["binary"]))
    assert charts == {"chart-roc", "chart-said", "chart-slices", "chart-evidence-1"}
    for name in charts:
        assert re.search(rf'id="{name}" role="img" aria-label="[^"]+"><svg', html)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to draw the page")
def test_a_browser_without_a_network_draws_every_chart(page: Path, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *(f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *("--virtual-time-budget=10000", page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert re.findall(r'data-drawn="([^"]*)"', done.stdout) == ["yes"] * 4


def test_a_curve_without_points_left_out_is_that_of_the_metric() -> None:
    """Random scores with ties, 30 draws of seed 5: the drawn area is the metric's."""
    rng = np.random.default_rng(5)
    for _ in range(30):
        truth = rng.random(60) < 0.4
        score = np.round(rng.random(60), 1)
        if truth.all() or not truth.any():
            continue
        false, true = roc(truth, score)
        both = np.column_stack([1 - score, score])
        labels = truth.astype(int).astype(object)
        assert np.trapezoid(true, false) == pytest.approx(metric("auc").value(both, labels, (0, 1)))


def test_drawn_curves_are_short_and_end_in_their_corners() -> None:
    for each in curves_of(binary(20_000)):
        assert len(each.false_rate) <= 101
        assert (each.false_rate[0], each.true_rate[0]) == (0.0, 0.0)
        assert (each.false_rate[-1], each.true_rate[-1]) == (1.0, 1.0)
        assert np.trapezoid(each.true_rate, each.false_rate) == pytest.approx(each.area, abs=0.01)
