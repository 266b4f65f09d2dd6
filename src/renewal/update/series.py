"""What the last races of a model say about the next: who rests, who goes straight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from renewal.update.entry import FORMER, KEEP, Entry, is_fitted, pick

_NOISE = 2.0
_LONGEST_REST = 8
_MUCH_DEARER = 2.0
_LONGER = 3.0
_LONGEST_STRAIGHT = 24


def rest(past: Iterable[Sequence[Entry]], label: str, *, times: float = 1.0) -> str | None:
    """Return why a recipe should sit out the next race, by how it did in the last ones.

    One that was clearly beaten k >= 2 times in a row rests for 1, 2, 4, ... (at most 8)
    races before it is tried again: the world may have turned, but not every week. One that
    takes twice as long as the winner must be better: any loss is a beating, and so is one to a
    winner that needs no heat. One that is dearer than that winner rests longer, up to three times.

    Parameters
    ----------
    past : iterable of sequences of Entry
        The races of the model, newest first.
    label : str
        The recipe; `FORMER` for all former versions together.
    times : float, default 1
        How many times as long its fit takes as that of the one that goes straight.

    Examples
    --------
    >>> def lost(): return [Entry("a", "made", "", 0.5), Entry("b", "behind", "")]
    >>> rest([lost(), lost()], "b")
    'it was clearly beaten in its last 2 races, and rests for 1'
    >>> rest([[Entry("b", "sat_out", "")], lost(), lost()], "b") is None
    True
    """
    n_beaten = n_rested = 0
    for entries in past:
        mine = _entry_of(label, entries)
        if mine is None or mine.outcome in {"not_possible", "failed", "skipped"}:
            break
        if mine.outcome == "sat_out":
            n_rested += n_beaten == 0
            continue
        if not _is_beaten(mine, entries):
            break
        n_beaten += 1
    once = min(2 ** (n_beaten - 2), _LONGEST_REST) if n_beaten >= 2 else 0  # one may be luck
    due = round(once * min(max(times, 1.0), _LONGER))
    if n_rested >= due:
        return None
    return f"it was clearly beaten in its last {n_beaten} races, and rests for {due - n_rested}"


def straight(past: Iterable[Sequence[Entry]], label: str) -> bool:
    """Say whether a recipe may go straight: without a heat, unless somebody turns out better.

    It won the last race in which anything was compared with the champion, and that is at most 24
    races ago: by then everybody else has come back from a rest.

    Parameters
    ----------
    past : iterable of sequences of Entry
        The races of the model, newest first.
    label : str
        The recipe.

    Examples
    --------
    >>> won = [Entry("keep", "made", "", 0.5), Entry("a", "made", "", 0.4)]
    >>> straight([won], "a"), straight([won], "b"), straight([], "a")
    (True, False, False)
    """
    for entries in islice(past, _LONGEST_STRAIGHT):
        keep = _entry_of(KEEP, entries)
        if keep is None or keep.outcome != "sat_out":
            winner = pick(entries)
            return winner is not None and winner.recipe == label
    return False


def _entry_of(label: str, entries: Sequence[Entry]) -> Entry | None:
    """Return the entry of a starter; of former versions, which share their rests, the first."""
    mine = [
        each
        for each in entries
        if each.recipe == label or (label == FORMER and each.recipe.startswith(FORMER))
    ]
    return mine[0] if mine else None


def _is_beaten(mine: Entry, entries: Sequence[Entry]) -> bool:
    if mine.outcome == "behind" or any(each.outcome == "sure" for each in entries):
        return True
    made = [each for each in entries if each.outcome == "made" and each.loss is not None]
    best = min(made, key=lambda each: each.loss or 0.0, default=mine)
    if best.recipe == mine.recipe or mine.loss is None or best.loss is None:
        return False
    behind = mine.loss - best.loss
    if mine.ahead_se is not None and behind > _NOISE * mine.ahead_se:
        return True
    return is_fitted(best.recipe) and mine.seconds > _MUCH_DEARER * best.seconds and behind > 0
