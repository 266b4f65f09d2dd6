"""Which rows count as evidence: whole blocks whose labels have had time to come."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from renewal.assemble.home import Home, open_home
from renewal.core.clock import ReplayClock, to_us
from renewal.loop.evidence import forward, matured_until_us
from renewal.loop.workshop import Workshop

NOW = datetime(2020, 3, 1, 15, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with open_home(tmp_path, clock=ReplayClock(NOW)) as opened:
        yield opened


def shop(home: Home, newest: datetime) -> Workshop:
    model = home.model(
        "m", task="binary", target="y", key="id", time="at", block="1d", label_delay="2d"
    )
    at = [newest - i * DAY for i in range(40)]
    y = np.arange(40) % 2
    model.feed.append({"id": [str(i) for i in range(40)], "at": at, "x": y * 1.0, "y": y})
    return home.workshop(model.spec)


def test_a_block_counts_when_its_labels_have_had_time(home: Home) -> None:
    """Judged a day too early, only the quickest labels would be in, and they are not typical."""
    found = matured_until_us(shop(home, NOW), NOW)
    assert found == to_us(datetime(2020, 2, 28, tzinfo=UTC))


def test_window_ends_with_the_matured_blocks_and_keeps_the_embargo(home: Home) -> None:
    window = forward(shop(home, NOW), NOW)
    assert window is not None
    assert window.judge_until_us == to_us(datetime(2020, 2, 28, tzinfo=UTC))
    assert window.judge_from_us - window.fit_until_us == 2 * DAY // timedelta(microseconds=1)


def test_feed_that_stood_still_is_judged_on_its_own_newest_stretch(home: Home) -> None:
    """A file of last year must not be refused for want of rows of today."""
    window = forward(shop(home, datetime(2019, 6, 30, 9, tzinfo=UTC)), NOW)
    assert window is not None
    assert window.judge_until_us == to_us(datetime(2019, 7, 1, tzinfo=UTC))


def test_what_was_judged_before_is_not_judged_again(home: Home) -> None:
    after_us = to_us(datetime(2020, 2, 20, tzinfo=UTC))
    window = forward(shop(home, NOW), NOW, after_us)
    assert window is not None
    assert window.judge_from_us == after_us


def test_timeless_models_have_no_window(home: Home) -> None:
    spec = home.model("n", task="binary", target="y").spec
    assert forward(home.workshop(spec), NOW) is None
