"""The stretches of rows on which an update fits, chooses and is judged.

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

from datetime import timedelta

import numpy as np

from renewal.core.errors import Invalid
from renewal.data.forward import ForwardWindow
from renewal.data.roles import TEST, TRAIN, VALIDATION, role_of
from renewal.data.rows import Rows

SELECTION = timedelta(days=7)
"""The default length of the stretch before the cut on which the race chooses."""

_MICROSECOND = timedelta(microseconds=1)
_HASHES = 2.0**64


def thinned(rows: Rows, share: float) -> Rows:
    """Return about a share of the rows, drawn by their keys: the same ones every time.

    A smaller share is a part of a larger one, and what is drawn is spread over all of time.

    Parameters
    ----------
    rows : Rows
        Any rows.
    share : float in (0, 1]
        How much of them.

    Raises
    ------
    Invalid
        On another share.
    """
    if not 0.0 < share <= 1.0:
        raise Invalid(
            "thinned", needs="a share in (0, 1]", came=f"{share}", todo="Correct the share."
        )
    return rows if share == 1.0 else rows.take(rows.key_hash < np.uint64(share * _HASHES))


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
