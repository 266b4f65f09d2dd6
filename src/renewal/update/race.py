"""The race of recipes, and the rows on which it fits, chooses and is judged.

::

    timed      ---- fit ----| embargo |-- select --|          |-- judge --|     race
               ---------------- fit ---------------| embargo  |-- judge --|     winner
                                                 cut      judge_from    now

    timeless   fit: role train      select: role validation     judge: role test

The race fits every recipe before the selection rows and compares their losses there. The
winner is fitted once more up to the cut *before* anybody judges it, and those bytes are what
is judged and promoted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np

from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin
from renewal.data.forward import ForwardWindow
from renewal.data.roles import TEST, TRAIN, VALIDATION, role_of
from renewal.data.rows import Rows
from renewal.update.options import parse_options, show_options

KEEP = "keep"
"""The label of doing nothing: the champion as it is."""

SELECTION = timedelta(days=7)
"""The default length of the stretch before the cut on which the race chooses."""

_FORM = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*(?::(?P<colon>.*)|\((?P<call>.*)\))?\s*", re.DOTALL)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A strategy with its options: one starter of a race.

    Parameters
    ----------
    strategy : str
        A registered strategy.
    options : object
        Its frozen dataclass of options.
    """

    strategy: str
    options: Any

    @property
    def label(self) -> str:
        """The name of the recipe, with the options that differ from their defaults.

        `parse_recipe` reads it back.
        """
        shown = show_options(self.options)
        return f"{self.strategy}({shown})" if shown else self.strategy


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one recipe in a race; plain values, for the journal.

    Parameters
    ----------
    recipe : str
        The label of the recipe, or ``keep``.
    outcome : {"made", "not_possible", "failed", "skipped"}
        skipped: the budget was used up before its turn.
    reason : str
        One sentence, or how many rows it was fitted on.
    loss : float or None
        Mean loss on the selection rows; None where nothing was scored.
    seconds : float, default 0
        Of fitting.
    """

    recipe: str
    outcome: Literal["made", "not_possible", "failed", "skipped"]
    reason: str
    loss: float | None = None
    seconds: float = 0.0


def parse_recipe(text: str) -> Recipe:
    """Read a recipe as a policy file, a command line or a label writes it.

    Parameters
    ----------
    text : str
        ``retrain``, ``retrain:window=8w,min_rows=500`` or ``retrain(window=8w)``. The types
        of the values come from the fields of the strategy's options.

    Returns
    -------
    Recipe
        With the defaults of what the text leaves out.

    Raises
    ------
    NotFound
        When no such strategy is registered; the nearest is offered.
    Invalid
        On text of another form, an unknown option (the nearest is offered) or a wrong value.

    Examples
    --------
    >>> parse_recipe("retrain:window=8w").label
    'retrain(window=8w)'
    >>> parse_recipe("retrain:windw=8w")
    Traceback (most recent call last):
    ...
    renewal.core.errors.Invalid: The recipe 'retrain:windw=8w' needs one of the options window,
    min_rows; got 'windw'. Did you mean 'window'?
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise Invalid(
            "parse_recipe",
            needs="a strategy with options, such as retrain:window=8w",
            came=repr(text),
            todo="Write the name of a strategy, a colon, and name=value pairs.",
        )
    strategy = load_plugin("strategies", match[1])
    given = match["colon"] or match["call"] or ""
    return Recipe(match[1], parse_options(strategy.Options, given, who=f"The recipe {text!r}"))


def pick(entries: Iterable[Entry]) -> Entry | None:
    """Return the entry of the smallest loss; None when nothing beats the champion.

    The first of equals wins, so an entry that keeps the champion goes first: a candidate
    that is no better on the selection rows is not worth a look of the gate.

    Parameters
    ----------
    entries : iterable of Entry
        In the order of the race, cheapest first. One labeled ``keep`` is the champion.

    Examples
    --------
    >>> pick([Entry("keep", "made", "", 0.50), Entry("retrain", "made", "", 0.48)]).recipe
    'retrain'
    >>> pick([Entry("keep", "made", "", 0.50), Entry("retrain", "made", "", 0.52)]) is None
    True
    """
    best: tuple[float, Entry] | None = None
    for entry in entries:
        if entry.outcome != "made" or entry.loss is None or not math.isfinite(entry.loss):
            continue
        if best is None or entry.loss < best[0]:
            best = (entry.loss, entry)
    return None if best is None or best[1].recipe == KEEP else best[1]


def training_rows(
    rows: Rows, window: ForwardWindow | None, *, salt: bytes, before: timedelta | None = None
) -> Rows:
    """Return the rows that a candidate may be fitted on: no row that decides about it.

    Parameters
    ----------
    rows : Rows
        Of a snapshot.
    window : ForwardWindow or None
        For timed data: rows before ``fit_until_us``. None: timeless, rows of the role train.
    salt : bytes
        Of the home; decides the roles.
    before : timedelta or None
        For timed data, length of the selection stretch: for the race, fit before it, with
        the embargo of the window between. None: fit up to the cut.

    Returns
    -------
    Rows
        In their order, labeled or not.
    """
    if window is None:
        return _of_role(rows, TRAIN, salt)
    if before is None:
        return _between(rows, None, window.fit_until_us)
    embargo_us = window.judge_from_us - window.fit_until_us
    return _between(rows, None, window.fit_until_us - _us(before) - embargo_us)


def selection_rows(
    rows: Rows, window: ForwardWindow | None, *, salt: bytes, length: timedelta = SELECTION
) -> Rows:
    """Return the rows on which the race chooses among its recipes.

    Parameters
    ----------
    rows : Rows
        Of a snapshot.
    window : ForwardWindow or None
        For timed data: the last `length` before ``fit_until_us``. None: timeless, rows of the
        role validation.
    salt : bytes
        Of the home; decides the roles.
    length : timedelta, default 7 days
        Of the stretch; the same as `before` of `training_rows`.

    Returns
    -------
    Rows
        In their order, labeled or not.
    """
    if window is None:
        return _of_role(rows, VALIDATION, salt)
    return _between(rows, window.fit_until_us - _us(length), window.fit_until_us)


def judged_rows(rows: Rows, window: ForwardWindow | None, *, salt: bytes) -> Rows:
    """Return the rows on which the gate judges: of the future of the fit, or of the role test.

    Parameters
    ----------
    rows : Rows
        Of a snapshot.
    window : ForwardWindow or None
        For timed data: from ``judge_from_us`` until before ``judge_until_us``. None:
        timeless, rows of the role test.
    salt : bytes
        Of the home; decides the roles.

    Returns
    -------
    Rows
        In their order, labeled or not.
    """
    if window is None:
        return _of_role(rows, TEST, salt)
    return _between(rows, window.judge_from_us, window.judge_until_us)


def _between(rows: Rows, from_us: int | None, until_us: int) -> Rows:
    inside = rows.event_us < until_us
    if from_us is not None:
        inside &= rows.event_us >= from_us
    return rows.take(inside)


def _of_role(rows: Rows, role: int, salt: bytes) -> Rows:
    return rows.take(np.asarray(role_of(rows.group_hash, salt) == role))


def _us(length: timedelta) -> int:
    return length // _MICROSECOND
