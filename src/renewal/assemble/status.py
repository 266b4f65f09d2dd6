"""The state of one model in a glance: what an operator wants to know first."""

from __future__ import annotations

from typing import Any

from renewal.core.clock import from_us
from renewal.core.duration import format_duration
from renewal.core.errors import RenewalError
from renewal.gate.approvals import waiting
from renewal.gate.ledger import budget_of
from renewal.loop.journal import COMPRESS, Run, open_run, steps_of
from renewal.loop.workshop import Workshop
from renewal.models.load import check_environment
from renewal.monitor.states import alarms_since
from renewal.registry.leases import holder_of
from renewal.rollout.states import open_rollout


def status_of(shop: Workshop) -> dict[str, Any]:
    """Return what is live, how fresh it is, what is under way and what is wrong.

    Parameters
    ----------
    shop : Workshop
        The rooms of the model.

    Returns
    -------
    dict
        JSON values, instants and durations; `notes` are sentences that want attention.
    """
    name = shop.spec.name
    aliases = shop.registry.aliases(name)
    names = {version.id: version for version in shop.registry.versions(name)}
    champion = names.get(aliases.get("champion", ""))
    newest_us = shop.feed.newest_event_us()
    with shop.db.read() as connection:
        rollout = open_rollout(connection, name)
        alarms = () if champion is None else alarms_since(connection, name, champion.id)
        asked = waiting(connection, name)
    run = open_run(shop.db, name)
    notes = []
    if champion is None:
        notes.append("no champion: train or register a version")
    else:
        try:
            check_environment(champion.manifest)
        except RenewalError as error:
            notes.append(str(error))
    if run is not None:
        notes.append(_open_note(shop, run))
    if rollout is not None:
        candidate = names[rollout.candidate]
        notes.append(
            f"{candidate.name} is in {rollout.stage} since {rollout.entered_at:%Y-%m-%d %H:%M}: "
            f"{rollout.reason}"
        )
    notes += [
        f"{names[each.candidate].name} waits for a person until {each.expires_at:%Y-%m-%d %H:%M}: "
        f"renewal approve {name} {names[each.candidate].name}, or decline"
        for each in asked
    ]
    notes += [alarm.sentence for alarm in alarms]
    return {
        "model": name,
        "task": shop.spec.task,
        "champion": None if champion is None else champion.name,
        "champion_id": None if champion is None else champion.id,
        "trained_until": None if champion is None else champion.manifest.trained_until,
        "n_versions": len(names),
        "stage": "steady" if rollout is None else rollout.stage,
        "aliases": {alias: names[target].name for alias, target in aliases.items()},
        "n_rows": shop.feed.n_rows(),
        "n_labels": shop.feed.n_labels(),
        "newest_event_at": None if newest_us is None else from_us(newest_us),
        "label_delay": format_duration(shop.spec.label_delay),
        "budget": budget_of(shop.db, name, shop.gate),
        "alarms": [alarm.sentence for alarm in alarms],
        "notes": notes,
    }


def _open_note(shop: Workshop, run: Run) -> str:
    """Say of an open run whether somebody is at work on it, and at which step since when."""
    what = "a compression" if run.kind == COMPRESS else "an update"
    holder = holder_of(shop.db, shop.watched)
    if holder is None:
        return f"{what} was left open at {run.started_at:%Y-%m-%d %H:%M}: renewal watch"
    begun = [each for each in steps_of(shop.db, run.id) if each["state"] == "running"]
    at = f" at the step {begun[-1]['name']!r}" if begun else ""
    since = begun[-1]["started_at"] if begun else run.started_at
    return f"{what} is{at} since {since:%Y-%m-%d %H:%M}, by {holder}"
