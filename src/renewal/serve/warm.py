"""Warming a version up: the first prediction happens before the first request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter

import numpy as np
import pyarrow as pa

from renewal.core.errors import Corrupt, Invalid, RenewalError
from renewal.core.spec import Kind, Signature
from renewal.data.feed import Feed
from renewal.data.frame import schema_of, signature_of
from renewal.models.task import Scores
from renewal.serve.batcher import is_alike
from renewal.serve.features import Features, is_all_floats, joined
from renewal.serve.slots import Loaded

_LOG = logging.getLogger("renewal.serve")
# Rows that are scored alone, and the sizes in which they are then scored together.
_ALONE = 16
_SIZES = (2, 3, 4, 5, 8, 13, 16, 32, 64)
_BLANK: dict[Kind, object] = {
    "float": 0.0,
    "int": 0,
    "bool": False,
    "string": "",
    "bytes": b"",
}


def warm_up(
    loaded: Loaded,
    samples: Sequence[Features],
    hints: Sequence[Features] = (),
    *,
    tolerance: float | None = None,
) -> float:
    """Make a version predict before it serves, and check what it says.

    The first prediction pays for lazy imports and caches, the second is timed. Then it is found
    out whether rows get the same scores in company and alone: only then are requests batched.

    Parameters
    ----------
    loaded : Loaded
        The version.
    samples : sequence of Features
        Rows of recent requests that were answered, the newest last. A version may refuse them,
        as it may refuse a request; one that raises anything else on them is not served.
    hints : sequence of Features, default ()
        Further rows, such as those of the feed, for want of samples. Nobody has answered them:
        columns may have been redacted, so that a version may refuse them all. Then, and where
        there are none, it is asked by a row of zeros and empty strings; an encoder may rightly
        refuse an empty string, and an image of no bytes is none, so that with such columns a
        failure is only logged.
    tolerance : float or None, default None
        How far a score in company may be from what it is alone, for requests to be predicted
        together; None: they never are.

    Returns
    -------
    float
        Seconds of the second prediction.

    Raises
    ------
    Corrupt
        When it raises on a row that its signature allows, or returns what are no scores.
    """
    signature = loaded.version.manifest.signature
    is_blank = False
    try:
        found = _answered(loaded, samples) or _answered(loaded, hints)
        if found is None:
            is_blank = True
            blank = Features(signature, table=blank_row(signature))
            loaded.predict(blank)
            found = blank, blank
        rows, row = found
        started_s = perf_counter()
        loaded.predict(row)
        took_s = perf_counter() - started_s
    except Exception as error:  # the plug-in border: a version may raise anything
        may_refuse = any(field.kind in {"string", "bytes"} for field in signature.fields)
        if may_refuse and is_blank:
            _LOG.warning(
                "warm-up without a real row version=%s error=%s", loaded.version.name, error
            )
            return 0.0
        raise Corrupt(
            f"version {loaded.version.name} of model {loaded.version.manifest.model!r}",
            needs="to predict a row that its signature allows",
            came=f"{type(error).__name__}: {error}",
            todo="Do not serve it; train it again, or check its environment.",
        ) from error
    can_batch = False
    if tolerance is not None:
        rows = _varied(signature, rows)
        can_batch = rows.n_rows > 1 and is_same_in_company(loaded, rows, tolerance)
    loaded.batcher.warmed(took_s, can_batch=can_batch)
    return took_s


def is_same_in_company(loaded: Loaded, rows: Features, tolerance: float = 0.0) -> bool:
    """Say whether rows get exactly the same scores together and alone.

    Matrix products may add up in another order where there are more rows; such a version is
    predicted one request at a time. Rows that it refuses alone are left out.

    Parameters
    ----------
    loaded : Loaded
        The version.
    rows : Features
        Real ones at best; repeated where they are few.
    tolerance : float, default 0
        As `renewal.serve.batcher.is_alike` takes it.
    """
    taken: list[int] = []
    alone: list[Scores] = []
    try:
        for at in range(min(rows.n_rows, 2 * _ALONE)):
            with suppress(Invalid):
                alone.append(loaded.predict(rows.take(np.arange(at, at + 1))))
                taken.append(at)
        expected = np.concatenate(alone)
        for size in _SIZES:
            picked = (np.arange(size) * 7 + size) % len(taken)
            together = loaded.predict(rows.take(np.array(taken)[picked]))
            if not is_alike(expected[picked], together, tolerance):
                return False
    except Exception as error:  # noqa: BLE001  # the plug-in border: then requests go one by one
        _LOG.info("not batched version=%s error=%s", loaded.version.name, error)
        return False
    return True


def _answered(loaded: Loaded, samples: Sequence[Features]) -> tuple[Features, Features] | None:
    """Return samples in the version's columns, and the first of them that it answers.

    None where there are none, or it refuses all. Refusing rows is no fault: a way back to a
    stricter version must not be barred by what the present one has been sent.
    """
    rows = _fitting(loaded.version.manifest.signature, samples)
    for at in range(0 if rows is None else rows.n_rows):
        assert rows is not None
        row = rows.take(np.arange(at, at + 1))
        try:
            loaded.predict(row)
        except Invalid as error:
            _LOG.info("a warm-up row is refused version=%s error=%s", loaded.version.name, error)
        else:
            return rows, row
    return None


def _varied(signature: Signature, rows: Features) -> Features:
    """Return the rows with made-up ones beside them, where numbers can be made up.

    One row, or a blank one, says nothing: zeros times weights are zeros in any order.
    """
    if rows.n_rows >= _ALONE or not is_all_floats(signature):
        return rows
    made_up = np.random.default_rng(0).normal(size=(_ALONE, len(signature.fields)))
    return joined([rows, Features(signature, matrix=made_up)])


def _fitting(signature: Signature, samples: Sequence[Features]) -> Features | None:
    """Return samples in the columns of a signature, the newest first; None where none has them."""
    fitting = []
    for sample in reversed(samples):
        try:
            fitting.append(sample.as_read_by(signature))
        except Invalid:
            _LOG.info("a warm-up row is of an earlier signature")
    return joined(fitting) if fitting else None


def blank_row(signature: Signature) -> pa.Table:
    """Return one row of zeros, empty strings and no bytes.

    Examples
    --------
    >>> from renewal.core.spec import Field
    >>> blank_row(Signature((Field("hour", "int"), Field("carrier", "string")))).to_pylist()
    [{'hour': 0, 'carrier': ''}]
    """
    values = [
        [0.0] * field.n_values if field.kind == "tensor" else _BLANK[field.kind]
        for field in signature.fields
    ]
    schema = schema_of(signature)
    columns = [pa.array([value], kind) for value, kind in zip(values, schema.types, strict=True)]
    return pa.table(columns, schema=schema)


def newest_rows(feeds: Callable[[str], Feed], model: str, n_rows: int = 16) -> list[Features]:
    """Return some of the newest rows of a model's feed, one by one; none where there are none."""
    try:
        feed = feeds(model)
        newest_us = feed.newest_event_us()
        if newest_us is None:
            return []
        table: pa.Table = feed.rows(since_us=newest_us).features.slice(0, n_rows)
        signature = signature_of(table)
    except RenewalError as error:
        _LOG.warning("no warm-up row model=%s error=%s", model, error)
        return []
    return [Features(signature, table=table.slice(at, 1)) for at in range(table.num_rows)]
