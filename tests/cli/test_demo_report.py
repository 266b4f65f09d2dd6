"""The demo's report: self-contained, readable without scripts, and true to its story."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from renewal.cli.demo_charts import gains_chart, mean_scores, serving_chart
from renewal.cli.demo_report import write_report
from renewal.cli.demo_story import (
    AlarmLine,
    Decision,
    EntryLine,
    MonthScore,
    Score,
    Serving,
    Story,
    UpdateLine,
)

NAN = float("nan")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHARTS = {"chart-months", "chart-serving", "chart-gains"}


def day(month: int, day_: int) -> datetime:
    return datetime(2013, month, day_, tzinfo=UTC)


def decision(**changes: Any) -> Decision:
    usual = Decision(
        at=day(3, 1),
        outcome="accepted",
        candidate="v2",
        baseline="v1",
        strategy="retrain(window=8w)",
        claimed_gain=0.0312,
        lower=0.0145,
        upper=0.0479,
        true_gain_30d=0.0203,
        n_rows=5_580,
        n_blocks=14,
        reason="at least .0145 better at 95%",
    )
    return replace(usual, **changes)


@pytest.fixture(scope="module")
def story() -> Story:
    return Story(
        model="flights",
        from_at=day(2, 1),
        until_at=day(12, 31),
        months=(
            MonthScore("2013-02", 1_000, Score(0.61, 0.55), Score(0.62, 0.54), Score(0.63, 0.53)),
            MonthScore("2013-03", 3_000, Score(0.65, 0.51), Score(0.70, 0.46), Score(0.71, 0.45)),
        ),
        serving=(
            Serving("v1", "champion", day(2, 1), day(3, 8)),
            Serving("v2", "canary", day(3, 4), day(3, 8)),
            Serving("v10", "champion", day(3, 8), day(12, 31)),
        ),
        decisions=(
            decision(),
            decision(outcome="rejected", candidate="v3", reason="<script>alert(1)</script> & more"),
            decision(outcome="undecided", candidate="v4", true_gain_30d=NAN),
            decision(
                outcome="rolled back",
                candidate="v10",
                claimed_gain=NAN,
                lower=NAN,
                upper=NAN,
                true_gain_30d=NAN,
                reason="harm shown after 2 blocks",
            ),
        ),
        alarms=(
            AlarmLine(
                day(2, 20), "performance", "v1", "log-loss .61 against .42", {"e_value": 812.25}
            ),
        ),
        updates=(
            UpdateLine(
                day(3, 1),
                ("schedule: 28 days",),
                (
                    EntryLine("incremental", "not_possible", "trees cannot go on", 0.0),
                    EntryLine("retrain", "made", "", 1.23),
                ),
            ),
        ),
        n_requests=1_340,
        n_rows=310_000,
        n_labels=301_000,
        failed_requests=0,
        wall_s=231.4,
    )


@pytest.fixture(scope="module")
def written(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("report") / "deep" / "report.html", story)


class Reader(HTMLParser):
    """Collects what a browser would load, and what a reader without scripts would read."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text: list[str] = []
        self.specs = ""
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag would load."""
        named = dict(attrs)
        self._inside.append("specs" if named.get("id") == "specs" else tag)
        if tag in {"meta", "link", "br"}:
            self._inside.pop()
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            if named.get(name):
                self.loads.append(str(named[name]))

    def handle_endtag(self, tag: str) -> None:
        """Leave the element."""
        if self._inside and tag not in {"meta", "link", "br"}:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        """Keep text that is read, and the charts' JSON."""
        where = self._inside[-1] if self._inside else ""
        if where == "specs":
            self.specs += data
        elif where not in {"script", "style"} and "svg" not in self._inside:
            self.text.append(data)


@pytest.fixture(scope="module")
def page(written: Path) -> Reader:
    reader = Reader()
    reader.feed(written.read_text(encoding="utf-8"))
    return reader


def test_nothing_is_loaded_from_anywhere(written: Path, page: Reader) -> None:
    """A script, style, font or picture by address would be gone without a network."""
    assert page.loads == ["data:,"]
    markup = re.sub(
        r"<script.*?</script>", "", written.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    assert "@import" not in markup
    assert not re.search(r"url\(\s*['\"]?(?!#)", markup)
    assert "default-src 'none'" in markup


def test_the_tables_say_everything_without_scripts(page: Reader) -> None:
    text = " ".join(" ".join(page.text).split())
    for wanted in (
        *("2013-02", "1,000", "0.610", "0.5400", "mean, by rows"),
        *("accepted", "rejected", "undecided", "rolled back"),
        *("+0.0312", "+0.0145", "to +0.0479", "+0.0203", "5,580"),
        *("retrain(window=8w)", "harm shown after 2 blocks"),
        *("log-loss .61 against .42", "e value: 812.2"),
        *("not possible", "trees cannot go on", "1.23"),
        "failed requests: 0",
    ):
        assert wanted in text, wanted


def test_text_from_outside_is_escaped(written: Path, page: Reader) -> None:
    """A reason that holds markup must not become markup, in the tables or in the JSON."""
    assert "<script>alert" not in written.read_text(encoding="utf-8")
    assert "<script>alert(1)</script> & more" in " ".join(page.text)
    assert "<script>alert(1)</script> & more" in page.specs.replace("\\u003c", "<")


def test_each_chart_is_there_as_a_picture_and_as_a_specification(
    written: Path, page: Reader
) -> None:
    assert set(json.loads(page.specs)) == CHARTS
    html = written.read_text(encoding="utf-8")
    for name in CHARTS:
        assert re.search(rf'id="{name}" role="img" aria-label="[^"]+"><svg', html)


def test_what_is_not_known_is_not_drawn(story: Story) -> None:
    """NaN is no number in JSON: one of them would make a page without charts."""
    drawn = gains_chart(story)
    assert "v2 over v1" in json.dumps(drawn, allow_nan=False)
    points = [row for rows in drawn["datasets"].values() for row in rows if "what" in row]
    assert len(points) == 5  # two for each of two decisions, one where the truth is open
    unscored = replace(
        story, months=(MonthScore("2013-02", 0, *[Score(NAN, NAN) for _ in range(3)]),)
    )
    assert mean_scores(unscored.months, "live")[0] != mean_scores(unscored.months, "live")[0]


def test_versions_stand_in_the_order_of_their_numbers(story: Story) -> None:
    spec = serving_chart(story)
    assert spec["layer"][0]["encoding"]["y"]["sort"] == ["v1", "v2", "v3", "v4", "v10"]


def test_means_weigh_months_by_their_rows(story: Story) -> None:
    auc, loss = mean_scores(story.months, "live")
    assert auc == pytest.approx((0.62 + 3 * 0.70) / 4)
    assert loss == pytest.approx((0.54 + 3 * 0.46) / 4)


def test_an_empty_story_is_a_page_too(story: Story, tmp_path: Path) -> None:
    empty = replace(story, months=(), serving=(), decisions=(), alarms=(), updates=())
    html = write_report(tmp_path / "report.html", empty).read_text(encoding="utf-8")
    assert html.count("None.") == 5
    assert "vegaEmbed" not in html


def test_a_report_is_replaced_whole(story: Story, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    write_report(target, story)
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to draw the page")
def test_a_browser_without_a_network_draws_every_chart(written: Path, tmp_path: Path) -> None:
    """Whatever the page needs and does not hold, or its policy forbids, breaks this."""
    assert CHROMIUM is not None
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *(f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *("--virtual-time-budget=10000", written.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert re.findall(r'data-drawn="([^"]*)"', done.stdout) == ["yes"] * len(CHARTS)
