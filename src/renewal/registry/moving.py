"""Moving aliases: compare-and-swap, and who may become champion.

``champion`` is what answers the users, so it moves only on one of four grounds:

1. there was none ever before (the event is of kind ``first``);
2. a verdict that accepts this candidate beside the *present* champion;
3. it goes back (kind ``rolled_back``) to a version that was champion once;
4. somebody forces it, by name and with a reason, and the log says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, update

from renewal.core.errors import Conflict, Invalid, Refused
from renewal.core.verdict import Verdict
from renewal.registry.changes import announce
from renewal.registry.events import append_event, moves_of
from renewal.registry.lookup import find_verdict, pointed, require_version
from renewal.registry.records import AliasMove, Move
from renewal.registry.tables import aliases

CHAMPION = "champion"
FIRST = "first"
ROLLED_BACK = "rolled_back"

# A letter first, and never the form of a version's short name.
_ALIAS = re.compile(r"(?!v\d+$)[A-Za-z][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Grounds:
    """On what grounds aliases are moved.

    Parameters
    ----------
    who, why : str
        For the log.
    verdict_id : str or None
        Evidence.
    forced : bool
        Past the gate, by name.
    kind : str
        Of the event.
    """

    who: str
    why: str
    verdict_id: str | None
    forced: bool
    kind: str


def move_aliases(
    connection: Connection, model: str, moves: Sequence[Move], grounds: Grounds, at: datetime
) -> None:
    """Move aliases and append the event, in the caller's transaction.

    Raises
    ------
    Conflict
        When an alias does not point where it was expected to, or a verdict's baseline is
        no longer champion.
    Refused
        When nothing allows the new champion; `fields["verdict"]` where there is one.
    NotFound
        When a version or the verdict does not exist.
    Invalid
        When a name is no alias, or one is named twice.
    """
    _check_form(moves, grounds)
    verdict = None
    if grounds.verdict_id is not None:
        verdict = find_verdict(connection, grounds.verdict_id, model)
    for move in moves:
        if move.to is not None:
            require_version(connection, model, move.to, "Registry.move")
        _check_expected(connection, model, move)
    kind = grounds.kind
    champion = next((move for move in moves if move.alias == CHAMPION), None)
    if champion is not None and champion.to != champion.expected:
        history = moves_of(connection, model, CHAMPION)
        kind = _kind_of_champion_move(model, champion, grounds, verdict, history)
    elif kind == FIRST:
        raise _refused(model, grounds, verdict, "kind 'first', where no champion is made")
    for move in moves:
        _point(connection, model, move, at)
    announce(connection)
    append_event(
        connection,
        at,
        model,
        kind,
        who=grounds.who,
        why=grounds.why,
        details={
            "moves": [
                {"alias": move.alias, "from": move.expected, "to": move.to}
                for move in moves
                if move.to != move.expected
            ],
            "verdict": grounds.verdict_id,
            "forced": grounds.forced,
        },
    )


def _kind_of_champion_move(
    model: str,
    move: Move,
    grounds: Grounds,
    verdict: Verdict | None,
    history: Sequence[AliasMove],
) -> str:
    """Return the kind of the event of a lawful move of `champion`; raise where it is none."""
    if move.to is not None and not history:
        return FIRST
    if grounds.kind == FIRST:
        raise _refused(model, grounds, verdict, "kind 'first', after another first champion")
    if grounds.forced:
        return grounds.kind
    if move.to is None:
        raise _refused(model, grounds, verdict, "a move that leaves no champion")
    if grounds.kind == ROLLED_BACK and any(past.to_id == move.to for past in history):
        return grounds.kind
    if verdict is not None:
        _check_verdict(model, move, grounds, verdict)
        return grounds.kind
    went_back = grounds.kind == ROLLED_BACK
    came = f"{move.to}, which was never champion" if went_back else "no verdict"
    raise _refused(model, grounds, verdict, came)


def _check_verdict(model: str, move: Move, grounds: Grounds, verdict: Verdict) -> None:
    """Raise unless the verdict accepts this candidate beside the present champion."""
    if verdict.candidate != move.to:
        raise _refused(model, grounds, verdict, f"a verdict on {verdict.candidate}")
    if verdict.outcome != "accept":
        raise _refused(model, grounds, verdict, f"the outcome {verdict.outcome!r}")
    if verdict.baseline != move.expected:
        raise Conflict(
            "Registry.move",
            needs=f"a verdict of {model!r} beside its champion {move.expected or '(none)'}",
            came=f"one beside {verdict.baseline}, which is champion no longer",
            todo="Judge the candidate again, beside the present champion.",
            model=model,
            champion=move.expected,
            baseline=verdict.baseline,
        )


def _check_form(moves: Sequence[Move], grounds: Grounds) -> None:
    names = [move.alias for move in moves]
    wrong = [name for name in names if not _ALIAS.fullmatch(name)]
    if len(set(names)) != len(names) or wrong:
        raise Invalid(
            "Registry.move",
            needs="aliases, each once, of up to 64 letters, digits, '_', '.' or '-'",
            came=f"{names}",
            todo="Begin an alias with a letter, and not in the form of a version such as v3.",
        )
    if grounds.forced and not (grounds.who.strip() and grounds.why.strip()):
        raise Refused(
            "Registry.move",
            needs="a name and a reason for a forced move",
            came=f"who={grounds.who!r}, why={grounds.why!r}",
            todo="Say who forces it and why; both stay in the log.",
        )


def _check_expected(connection: Connection, model: str, move: Move) -> None:
    present = pointed(connection, model, move.alias)
    if present == move.expected:
        return
    last = (moves_of(connection, model, move.alias) or (None,))[-1]
    by = (
        f", moved by {last.who or 'somebody'} at {last.at.isoformat()} ({last.why})" if last else ""
    )
    raise Conflict(
        "Registry.move",
        needs=f"{move.alias!r} of {model!r} to point at {move.expected or 'nothing'}",
        came=f"{present or 'nothing'}{by}",
        todo="Read the alias again and decide again.",
        model=model,
        alias=move.alias,
        present=present,
        who_moved=last.who if last else None,
    )


def _point(connection: Connection, model: str, move: Move, at: datetime) -> None:
    here = (aliases.c.model == model, aliases.c.alias == move.alias)
    if move.to == move.expected:
        return
    if move.to is None:
        connection.execute(delete(aliases).where(*here))
    elif move.expected is None:
        connection.execute(
            insert(aliases).values(model=model, alias=move.alias, version_id=move.to, moved_at=at)
        )
    else:
        connection.execute(update(aliases).where(*here).values(version_id=move.to, moved_at=at))


def _refused(model: str, grounds: Grounds, verdict: Verdict | None, came: str) -> Refused:
    return Refused(
        "Registry.move",
        needs=f"an accept verdict on the new champion of {model!r}, or its return from a rollback",
        came=came,
        todo=(
            f"The gate says: {verdict.reason} Next: {verdict.next_action}."
            if verdict is not None
            else "Run renewal gate first, or force it by name and with a reason."
        ),
        model=model,
        verdict=verdict,
        verdict_id=grounds.verdict_id,
    )
