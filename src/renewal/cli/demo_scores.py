"""What the demo measures at its end: months, decisions beside the truth, updates, alarms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from sklearn.metrics import log_loss, roc_auc_score

from renewal.assemble.home import Home
from renewal.assemble.model import Model
from renewal.cli.demo_data import FEATURES, TARGET, between, known_by
from renewal.cli.demo_model import pipeline
from renewal.cli.demo_story import (
    AlarmLine,
    Decision,
    DecisionOutcome,
    EntryLine,
    MonthScore,
    Score,
    Serving,
    UpdateLine,
)
from renewal.core.clock import from_us, to_us
from renewal.core.errors import Refused
from renewal.core.verdict import Verdict
from renewal.core.version import Version
from renewal.loop.happening import Happening
from renewal.loop.journal import last_runs
from renewal.rollout.machine import Rollout

Stage = Literal["champion", "canary", "shadow"]

_MONTH = timedelta(days=30)
_WORDS: dict[str, DecisionOutcome] = {
    "accept": "accepted",
    "reject": "rejected",
    "undecided": "undecided",
}


def months(
    model: Model, year: pa.Table, first: Version, since: datetime, until: datetime
) -> tuple[MonthScore, ...]:
    """Score three ways to keep a model on each month's labelled rows.

    ``never`` is the first version, ``live`` what answered the requests, ``monthly`` a fresh
    fit on everything that was known at the start of the month, unjudged.
    """
    live = _live(model)
    found = []
    for start, end in _month_bounds(since, until):
        rows = between(year, start, end)
        rows = rows.filter(rows[TARGET].is_valid())
        truth = rows[TARGET].to_numpy()
        past = known_by(between(year, from_us(0), start), start)
        past = past.filter(past[TARGET].is_valid())
        fresh = pipeline().fit(past.select(FEATURES).to_pandas(), past[TARGET].to_numpy())
        answered = np.array([live.get(key, math.nan) for key in rows["flight_id"].to_pylist()])
        has = ~np.isnan(answered)
        found.append(
            MonthScore(
                month=f"{start:%Y-%m}",
                n_rows=int(has.sum()),
                never=_score(truth[has], model.predict(first.id, rows)[has, 1]),
                live=_score(truth[has], answered[has]),
                monthly=_score(
                    truth[has], fresh.predict_proba(rows.select(FEATURES).to_pandas())[has, 1]
                ),
            )
        )
    return tuple(found)


def decisions(home: Home, model: Model) -> tuple[Decision, ...]:
    """Return every verdict and rollback, with the gain of the 30 days that followed."""
    found = []
    for event in model.log(limit=None):
        if event.kind == "verdict":
            verdict = home.registry.verdict(event.details["verdict_id"])
            found.append(_decision(model, event.at, _WORDS[verdict.outcome], verdict))
    found += [
        _rolled_back(model, rollout)
        for rollout in model.rollouts()
        if rollout.stage == "rolled_back"
    ]
    return tuple(sorted(found, key=lambda each: each.at))


def serving(model: Model, since: datetime, until: datetime) -> tuple[Serving, ...]:
    """Return which version was champion, canary or shadow when, from the log."""
    found: list[Serving] = []
    opened: dict[tuple[str, Stage], datetime] = {}

    def now_are(at: datetime, names: set[tuple[str, Stage]]) -> None:
        for gone in set(opened) - names:
            start = max(opened.pop(gone), since)
            if at > start:
                found.append(Serving(*gone, start, at))
        for new in names - set(opened):
            opened[new] = at

    champion = candidate = ""
    for event in model.log(limit=None):
        for alias, to in _moved(event.details):
            named = "" if to is None else model.version(to).name
            champion, candidate = (named, candidate) if alias == "champion" else (champion, named)
        stage = event.why.partition(":")[0]
        beside: Stage = "canary" if stage == "canary" else "shadow"
        if event.kind in {"first", "promoted", "rollout", "rolled_back"}:
            names: set[tuple[str, Stage]] = {(champion, "champion")}
            if candidate and candidate != champion:
                names.add((candidate, beside))
            now_are(event.at, names)
    now_are(until, set())
    return tuple(sorted(found, key=lambda each: each.from_at))


def alarms(happenings: Iterable[Happening], model: Model) -> tuple[AlarmLine, ...]:
    """Return the alarms that were told."""
    return tuple(
        AlarmLine(
            each.at,
            str(each.facts.get("alarm", "")),
            model.version(str(each.facts["version"])).name,
            each.sentence,
            each.facts.get("evidence", {}),
        )
        for each in happenings
        if each.kind == "alarm"
    )


def updates(home: Home, name: str) -> tuple[UpdateLine, ...]:
    """Return every update with its reasons and the seconds of its race."""
    return tuple(
        UpdateLine(
            run.started_at,
            tuple(run.spec["reasons"]),
            tuple(_entries(run.outcome or {})),
        )
        for run in reversed(last_runs(home.db, name, limit=1000))
    )


def _moved(details: Mapping[str, Any]) -> Iterable[tuple[str, str | None]]:
    for move in details.get("moves", ()):
        yield move["alias"], move["to"]


def _entries(outcome: Any) -> Iterable[EntryLine]:
    for each in outcome.get("entries", ()):
        yield EntryLine(
            each["recipe"], each["outcome"], each["reason"], float(each.get("seconds") or 0.0)
        )
    if outcome.get("fit_s") is not None:
        yield EntryLine("the winner, up to the cut", "made", "", float(outcome["fit_s"]))


def _decision(model: Model, at: datetime, outcome: DecisionOutcome, verdict: Verdict) -> Decision:
    candidate, baseline = model.version(verdict.candidate), model.version(verdict.baseline)
    return Decision(
        at=at,
        outcome=outcome,
        candidate=candidate.name,
        baseline=baseline.name,
        strategy=str(candidate.facts.get("recipe", candidate.manifest.strategy)),
        claimed_gain=verdict.gain,
        lower=verdict.lower,
        upper=verdict.upper,
        true_gain_30d=_true_gain(model, verdict),
        n_rows=verdict.n_rows,
        n_blocks=verdict.n_blocks,
        reason=verdict.reason,
    )


def _rolled_back(model: Model, rollout: Rollout) -> Decision:
    nothing = math.nan
    candidate = model.version(rollout.candidate)
    forced = f", forced by {rollout.forced_by}" if rollout.forced_by else ""
    return Decision(
        at=rollout.entered_at,
        outcome="rolled back",
        candidate=candidate.name,
        baseline=model.version(rollout.champion).name,
        strategy=f"{candidate.manifest.strategy}{forced}",
        claimed_gain=nothing,
        lower=nothing,
        upper=nothing,
        true_gain_30d=nothing,
        n_rows=0,
        n_blocks=0,
        reason=rollout.reason,
    )


def _true_gain(model: Model, verdict: Verdict) -> float:
    """Measure the gain on the 30 days after the judged rows; NaN where they are not over."""
    since = from_us(verdict.judged_until_us)
    try:
        report = model.evaluate(
            verdict.baseline, verdict.candidate, since=since, until=since + _MONTH
        )
    except Refused:
        return math.nan
    baseline, candidate = report.versions
    newest_us = int(report.rows.event_us.max())
    is_over = newest_us >= to_us(since + _MONTH - timedelta(days=2))
    return baseline.mean_loss - candidate.mean_loss if is_over else math.nan


def _live(model: Model) -> dict[str, float]:
    """Return the probability that each row was answered with."""
    answered = model.feed.predictions()
    primary = ~answered.shadow
    return dict(zip(answered.key[primary], answered.scores[primary][:, 1], strict=True))


def _score(truth: np.ndarray, probability: np.ndarray) -> Score:
    return Score(float(roc_auc_score(truth, probability)), float(log_loss(truth, probability)))


def _month_bounds(since: datetime, until: datetime) -> Sequence[tuple[datetime, datetime]]:
    starts = [
        datetime(since.year, month, 1, tzinfo=UTC)
        for month in range(since.month, 13)
        if datetime(since.year, month, 1, tzinfo=UTC) < until
    ]
    return list(zip(starts, [*starts[1:], until], strict=True))
