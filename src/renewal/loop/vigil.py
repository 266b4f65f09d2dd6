"""The vigil: one look of the monitor at what has arrived since the last one."""

from __future__ import annotations

from datetime import datetime

from renewal.core.clock import to_us
from renewal.core.version import Version
from renewal.loop.comparing import keyset_of
from renewal.loop.evidence import daily_losses
from renewal.loop.happening import Happening
from renewal.loop.workshop import Workshop
from renewal.monitor.alarm import Alarm
from renewal.monitor.performance import BlockLoss
from renewal.monitor.reference import reference_of
from renewal.monitor.states import add_alarms, alarms_since, load_state, save_state
from renewal.monitor.watch import MonitorState, begin, look

_DAY_US = 86_400_000_000


def keep_vigil(shop: Workshop) -> tuple[Alarm, ...]:
    """Let the monitor look at the champion's new rows and matured losses.

    A new champion begins a new watch, whose reference is the rows that it trained on. State
    and alarms are written in one transaction, and every alarm is told and logged.

    Parameters
    ----------
    shop : Workshop
        The rooms.

    Returns
    -------
    tuple of Alarm
        What this look raised.
    """
    name, now = shop.spec.name, shop.clock.now()
    champion = shop.registry.version(name, "champion")
    with shop.db.read() as connection:
        state = load_state(connection, name, champion.id)
    since = _in_charge_since(shop, champion)
    # A champion that came back is watched afresh: what it was told off for is over.
    if state is None or state.first_day * _DAY_US < to_us(since):
        state = _begun(shop, champion, since)
        if state is None:
            return ()
    rows = shop.feed.rows(since_us=state.counted_until_us, until_us=to_us(now))
    losses = _losses(shop, champion, state)
    after, raised = look(state, rows if len(rows) else None, losses, now, shop.monitor)
    if after == state and not raised:
        return ()
    with shop.db.transaction() as connection:
        save_state(connection, after, now)
        add_alarms(connection, name, raised)
        for alarm in raised:
            shop.registry.note(
                name,
                "alarm",
                who="the monitor",
                why=alarm.sentence,
                details={"alarm": alarm.kind, "version": champion.id},
                connection=connection,
            )
    for alarm in raised:
        facts = {
            "alarm": alarm.kind,
            "version": champion.id,
            "evidence": dict(alarm.evidence),
            "expected_cost": alarm.expected_cost,
        }
        shop.tell(Happening(now, "alarm", alarm.sentence, facts))
    return raised


def standing_alarms(shop: Workshop) -> tuple[str, ...]:
    """Return the sentences of the champion's alarms that call for an update, oldest first.

    An alarm stands as long as its version is in charge: an update that came to nothing has
    not mended what it was about.
    """
    name = shop.spec.name
    champion = shop.registry.version(name, "champion")
    with shop.db.read() as connection:
        found = alarms_since(connection, name, champion.id, _in_charge_since(shop, champion))
    return tuple(alarm.sentence for alarm in found if alarm.kind in shop.update.on_alarm)


def _in_charge_since(shop: Workshop, champion: Version) -> datetime:
    moves = shop.registry.history(shop.spec.name, "champion")
    return next(move.at for move in reversed(moves) if move.to_id == champion.id)


def _begun(shop: Workshop, champion: Version, since: datetime) -> MonitorState | None:
    """Begin the watch over a champion; None while no row can tell what is usual."""
    rows = shop.feed.rows(until_us=to_us(since))
    keys = keyset_of(shop, champion)
    if keys is not None:
        rows = rows.take(keys.seen(rows))
    if not len(rows):
        return None
    reference = reference_of(rows, shop.monitor)
    return begin(shop.spec.name, champion.id, reference, since)


def _losses(shop: Workshop, champion: Version, state: MonitorState) -> list[BlockLoss]:
    """Return the matured days that the watch has not taken in yet."""
    newest = state.performance.last_block
    first_day = state.first_day if newest is None else newest + 1
    days, losses, n_rows = daily_losses(shop, champion, first_day)
    return [
        BlockLoss(int(day), float(loss), int(n))
        for day, loss, n in zip(days, losses, n_rows, strict=True)
    ]
