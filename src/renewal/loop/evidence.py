"""Evidence from live traffic: the pairs that champion and candidate both scored.

During shadow, canary and full the two versions score the same rows, one in the answer and
one beside it, so what makes a row hard cancels out. Only blocks that are over and whose
labels have had time to arrive count; rows that an earlier look has judged never do.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from renewal.core.clock import from_us, to_us
from renewal.core.errors import Refused
from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.forward import ForwardWindow, forward_window
from renewal.data.predictions import Predictions
from renewal.evaluate.report import Report, Scored
from renewal.loop.comparing import block_us, report_of, unseen_by
from renewal.loop.sampled import without_requested
from renewal.loop.workshop import Workshop

_MICROSECOND = timedelta(microseconds=1)
_DAY_US = timedelta(days=1) // _MICROSECOND


def matured_until_us(shop: Workshop, now: datetime) -> int:
    """Return the end of the newest block whose labels have had time to arrive.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    now : datetime
        By the clock of the home.

    Returns
    -------
    int
        Event time, microseconds; for timeless models the present.
    """
    now_us = to_us(now)
    if shop.spec.time is None:
        return now_us
    length_us = _unit_us(shop)
    return (now_us - shop.spec.label_delay // _MICROSECOND) // length_us * length_us


def forward(shop: Workshop, now: datetime, after_us: int | None = None) -> ForwardWindow | None:
    """Return the forward window of an update, over whole and matured blocks.

    It ends with the newest matured block that has rows: a feed that has stood still, or was
    filled from an old file, is judged on its own newest stretch.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    now : datetime
        When the update started.
    after_us : int or None
        Judge only from here on: what lies before has been judged already.

    Returns
    -------
    ForwardWindow or None
        None where the model has no event time: roles decide there.
    """
    if shop.spec.time is None:
        return None
    embargo = shop.gate.embargo
    newest_us = shop.feed.newest_event_us()
    until_us = matured_until_us(shop, now)
    if newest_us is not None:
        until_us = min(until_us, (newest_us // _unit_us(shop) + 1) * _unit_us(shop))
    window = forward_window(
        from_us(until_us),
        shop.gate.holdout,
        shop.spec.label_delay if embargo is None else embargo,
        _unit_us(shop) * _MICROSECOND,
    )
    if after_us is None:
        return window
    return replace(window, judge_from_us=max(after_us, window.judge_from_us))


def _unit_us(shop: Workshop) -> int:
    return block_us(shop) or _DAY_US


def live_pairs(
    shop: Workshop, candidate: Version, champion: Version, since_us: int
) -> Report | None:
    """Compare two versions on the rows that both have scored in live traffic.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate, champion : Version
        The two.
    since_us : int
        Event time from which rows count.

    Returns
    -------
    Report or None
        None while no matured, labelled row has been scored by both.
    """
    until_us = matured_until_us(shop, shop.clock.now())
    rows = shop.feed.rows(since_us=since_us, until_us=until_us, labelled=True)
    rows = without_requested(shop, rows)
    if not len(rows):
        return None
    logged = shop.feed.predictions(
        since_us=since_us, until_us=until_us, version_ids=(candidate.id, champion.id)
    )
    both = [_newest(logged, version.id) for version in (champion, candidate)]
    shared = np.intersect1d(both[0][0], both[1][0], assume_unique=True)
    rows = rows.take(np.isin(rows.key_hash, shared))
    try:
        rows, n_seen = unseen_by(shop, rows, candidate, champion)
    except Refused:
        return None
    scored = [
        Scored(
            version.id,
            scores[np.searchsorted(keys, rows.key_hash)],
            version.manifest.classes,
            version.name,
        )
        for version, (keys, scores) in zip((champion, candidate), both, strict=True)
    ]
    return report_of(shop, rows, scored, (champion, candidate), n_seen=n_seen)


def live_errors(
    shop: Workshop, candidate: Version, champion: Version, since_us: int
) -> list[tuple[int, int, float]]:
    """Count the predictions that failed in the answers of a canary, for each share it had.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate, champion : Version
        The two arms.
    since_us : int
        Event time from which on they count.

    Returns
    -------
    list of (int, int, float)
        Failures of the candidate, of the champion, and the candidate's share at the time,
        in the order of the shares, which only grow.
    """
    logged = shop.feed.predictions(since_us=since_us, version_ids=(candidate.id, champion.id))
    mine = logged.version_id == candidate.id
    share = np.where(mine, logged.propensity, 1.0 - logged.propensity).round(9)
    split = ~logged.shadow & (share > 0.0) & (share < 1.0)
    return [
        (
            int(np.sum(logged.failed & mine & split & (share == each))),
            int(np.sum(logged.failed & ~mine & split & (share == each))),
            float(each),
        )
        for each in np.unique(share[split])
    ]


def daily_losses(
    shop: Workshop, version: Version, first_day: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the mean loss of a version on each matured day, whatever its part was.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    version : Version
        Whose logged predictions count.
    first_day : int, days since 1970
        From here on.

    Returns
    -------
    days : int64 array
        Days since 1970, ascending; a day without labelled predictions is left out.
    losses : float64 array
        Mean loss of each.
    n_rows : int64 array
        Labelled rows of each.
    """
    delay_us = shop.spec.label_delay // _MICROSECOND
    until_us = (to_us(shop.clock.now()) - delay_us) // _DAY_US * _DAY_US
    since_us = first_day * _DAY_US
    nothing = np.empty(0, np.int64)
    if until_us <= since_us:
        return nothing, nothing.astype(np.float64), nothing
    rows = shop.feed.rows(since_us=since_us, until_us=until_us, labelled=True)
    rows = without_requested(shop, rows)
    logged = shop.feed.predictions(since_us=since_us, until_us=until_us, version_ids=(version.id,))
    keys, scores = _newest(logged, version.id)
    rows = rows.take(np.isin(rows.key_hash, keys))
    if not len(rows):
        return nothing, nothing.astype(np.float64), nothing
    task = load_plugin("tasks", shop.spec.task)()
    losses = task.loss(
        scores[np.searchsorted(keys, rows.key_hash)],
        task.labels(rows.label, who="the monitor"),
        version.manifest.classes,
    )
    days, at, n_rows = np.unique(rows.event_us // _DAY_US, return_inverse=True, return_counts=True)
    return days, np.bincount(at, weights=losses) / n_rows, n_rows


def _newest(logged: Predictions, version_id: str) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Return one version's keys, ascending and unique, and its newest scores of each."""
    mine = np.flatnonzero((logged.version_id == version_id) & ~logged.failed)
    order = mine[np.lexsort((logged.predicted_us[mine], logged.key_hash[mine]))]
    keys = logged.key_hash[order]
    last = np.ones(len(keys), dtype=bool)
    last[:-1] = keys[1:] != keys[:-1]
    return keys[last], logged.scores[order[last]]
