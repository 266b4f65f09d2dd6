"""The demo's story, told in order, each line with its numbers."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.cli.demo_data import FEATURES, KEY, LABEL_AT, TARGET, TIME, between, flights, known_by
from renewal.cli.demo_ending import figures, print_ending
from renewal.cli.demo_model import overfit, pipeline
from renewal.cli.demo_replay import Replay, Traffic
from renewal.cli.demo_report import write_report
from renewal.cli.demo_scores import alarms, decisions, months, serving, updates
from renewal.cli.demo_story import Story
from renewal.cli.telling import line
from renewal.core.clock import ReplayClock, from_us, to_us
from renewal.core.errors import Invalid
from renewal.core.version import Version
from renewal.loop.happening import Happening
from renewal.serve.server import Server

MODEL = "flights"
START = datetime(2013, 2, 1, tzinfo=UTC)

_MARK = ".demo"
_POLICY = """\
# The policy of the demo: flights of 2013, judged forward in blocks of a day.
[update]
recipes = ["recalibrate", "incremental", "retrain", "retrain:window=8w"]
every = "4w"
new_labels = 24000
cooldown = "3w"
budget = "1m"

[gate]
holdout = "2w"

[rollout]
shadow_for = "2d"
canary = [0.1, 0.5]
canary_for = "3d"
watch_for = "1w"

[serve]
# Half a year passes in minutes: no version serves long enough to be worth its compilation.
compiled = "never"
"""


@dataclass(frozen=True, slots=True)
class Plot:
    """How long the story is and where its villain enters.

    Parameters
    ----------
    until : datetime
        End of the replay.
    harm_from : datetime
        From here on, as soon as no rollout is under way, the harmful candidate comes.
    every_nth : int
        Every so-manieth flight is taken.
    new_labels : int
        The amount trigger.
    """

    until: datetime
    harm_from: datetime
    every_nth: int
    new_labels: int


FULL = Plot(datetime(2014, 1, 1, tzinfo=UTC), datetime(2013, 10, 20, tzinfo=UTC), 1, 24_000)
QUICK = Plot(datetime(2013, 5, 22, tzinfo=UTC), datetime(2013, 5, 1, tzinfo=UTC), 2, 12_000)


@dataclass
class Tale:
    """The teller: prints lines and happenings, and remembers them."""

    console: Console
    happenings: list[Happening] = field(default_factory=list)

    def tell(self, happening: Happening) -> None:
        """Print a happening and remember it."""
        self.happenings.append(happening)
        self.console.print(line(happening), highlight=False)

    def say(self, text: str) -> None:
        """Print a line of the story."""
        self.console.print(text, highlight=False)


def run(where: Path, *, quick: bool = False, quiet: bool = False) -> dict[str, Any]:
    """Keep the flights' model up to date for a year, and leave the home in place.

    Parameters
    ----------
    where : Path
        The home; made afresh. A folder that the demo did not make is left alone.
    quick : bool
        February to late May and every second flight, instead of the whole year.
    quiet : bool
        Print nothing but what the caller prints.

    Returns
    -------
    dict
        The figures of the story, JSON values.

    Raises
    ------
    Invalid
        When `where` is a folder that the demo did not make.
    """
    started = time.perf_counter()
    plot = QUICK if quick else FULL
    tale = Tale(Console(file=sys.stderr if quiet else sys.stdout, quiet=quiet, soft_wrap=True))
    _fresh(where, _POLICY.replace("24000", str(plot.new_labels)))
    year = flights()
    year = year.take(np.arange(0, year.num_rows, plot.every_nth))
    clock = ReplayClock(START)
    with open_home(where, clock=clock) as home:
        story = _Year(home, clock, year, plot, tale).story()
        story = replace(story, wall_s=time.perf_counter() - started, is_quick=quick)
        report = write_report(where / "report.html", story)
    print_ending(tale.console, story, report)
    return figures(story, report)


class _Year:
    """The year of one model."""

    def __init__(
        self, home: Home, clock: ReplayClock, year: pa.Table, plot: Plot, tale: Tale
    ) -> None:
        self.home = home
        self.clock = clock
        self.year = year
        self.plot = plot
        self.tale = tale
        self.harmful: Version | None = None
        self.model: Model = home.model(
            MODEL,
            task="binary",
            target=TARGET,
            key=KEY,
            time=TIME,
            block="1d",
            label_delay="1d",
        )

    def story(self) -> Story:
        """Tell all of it."""
        first = self._train()
        server = self.home.serve(port=0)
        self.tale.say(f"serving {first.name} on {server.url} (Open Inference Protocol V2)")
        try:
            replay = Replay(server.url, MODEL, _traffic(self.year, self.plot.until), self.clock)
            try:
                self._replay(replay, server)
            finally:
                replay.close()
        finally:
            server.stop()
        self.tale.say("scoring never updated, live, and retrained on everything every month ...")
        return Story(
            model=MODEL,
            from_at=START,
            until_at=self.plot.until,
            months=months(self.model, self.year, first, START, self.plot.until),
            serving=serving(self.model, START, self.plot.until),
            decisions=decisions(self.home, self.model),
            alarms=alarms(self.tale.happenings, self.model),
            updates=updates(self.home, MODEL),
            n_requests=replay.n_requests,
            n_rows=replay.n_rows,
            n_labels=replay.n_labels,
            failed_requests=replay.n_failed,
            wall_s=0.0,
        )

    def _train(self) -> Version:
        january = known_by(between(self.year, from_us(0), START), START)
        first = self.model.train(pipeline(), january)
        self.tale.say(
            f"trained {first.name} on January: {first.manifest.n_trained_rows:,} flights in "
            f"{first.facts['fit_s']:.1f} s"
        )
        return first

    def _replay(self, replay: Replay, server: Server) -> None:
        """Replay day by day: requests, labels, and one round of the circuit."""
        first, last = to_us(START), to_us(self.plot.until)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.tale.console, transient=True) as progress:
            task = progress.add_task("replaying", total=last - first)
            for end_us in replay.days(first, last):
                server.flush()
                self.model.tick(tell=self.tale.tell)
                self._harm(from_us(end_us))
                progress.update(
                    task,
                    completed=end_us - first,
                    description=f"{from_us(end_us):%Y-%m-%d}  {replay.n_rows:,} flights, "
                    f"{replay.n_failed} failed",
                )

    def _harm(self, now: datetime) -> None:
        """Bring the harmful candidate once: the gate refuses it, and somebody forces it."""
        rollout = self.model.open_rollout()
        is_busy = rollout is not None and rollout.stage != "probation"
        if self.harmful is not None or now < self.plot.harm_from or is_busy:
            return
        until = now - timedelta(days=16)
        past = between(known_by(self.year, now), from_us(0), until)
        known = past.filter(past[TARGET].is_valid())
        shuffled = np.random.default_rng(0).permutation(known[TARGET].to_numpy())
        estimator = overfit().fit(known.select(FEATURES).to_pandas(), shuffled)
        self.harmful = self.model.register(estimator, trained_on=known)
        verdict = self.model.gate(self.harmful.id, tell=self.tale.tell)
        self.tale.say(
            f"{self.harmful.name} was trained on shuffled labels; the gate says "
            f"{verdict.outcome}. Somebody forces it past the gate by name:"
        )
        self.model.rollout(
            self.harmful.id,
            forced_by="a hurried colleague",
            why="the dashboard looked fine",
            tell=self.tale.tell,
        )


def _traffic(year: pa.Table, until: datetime) -> Traffic:
    rows = between(year, START, until)
    return Traffic(
        features=rows.select(FEATURES),
        key=rows[KEY].to_pylist(),
        event_us=rows[TIME].cast(pa.int64()).to_numpy(),
        label_us=rows[LABEL_AT].cast(pa.int64()).fill_null(0).to_numpy(),
        label=rows[TARGET].cast(pa.float64()).fill_null(float("nan")).to_numpy(),
    )


def _fresh(where: Path, policy: str) -> None:
    """Make the home's folder anew; leave alone what the demo did not make."""
    if where.exists():
        if not (where / _MARK).exists():
            raise Invalid(
                "renewal demo",
                needs="a new folder, or one that an earlier demo made",
                came=str(where),
                todo="Name another one with --home.",
            )
        shutil.rmtree(where)
    where.mkdir(parents=True)
    (where / _MARK).write_text("made by renewal demo\n", encoding="utf-8")
    (where / "renewal.toml").write_text(policy, encoding="utf-8")
