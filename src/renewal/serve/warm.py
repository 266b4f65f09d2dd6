"""Warming a version up: the first prediction happens before the first request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np
import pyarrow as pa

from renewal.core.errors import Corrupt, Invalid, RenewalError
from renewal.core.spec import Kind, Signature
from renewal.data.feed import Feed
from renewal.data.frame import schema_of, signature_of
from renewal.serve.features import Features, joined
from renewal.serve.slots import Loaded

_LOG = logging.getLogger("renewal.serve")
_FIRST = np.arange(1)
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


def warm_up(loaded: Loaded, samples: Sequence[Features], *, batching: bool = False) -> float:
    """Make a version predict before it serves, and check what it says.

    The first prediction pays for lazy imports and caches, the second is timed. Then it is found
    out whether rows get the same scores in company and alone: only then are requests batched.

    Parameters
    ----------
    loaded : Loaded
        The version.
    samples : sequence of Features
        Rows of recent requests, the newest last. None: a row of zeros and empty strings; an
        encoder may rightly refuse an empty string, and an image of no bytes is none, so that
        with such columns a failure is only logged.
    batching : bool, default False
        Whether requests may be predicted together at all.

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
    rows, is_real = _rows(signature, samples)
    row = rows.take(_FIRST)
    try:
        loaded.predict(row)
        started_s = perf_counter()
        loaded.predict(row)
        took_s = perf_counter() - started_s
    except Exception as error:  # the plug-in border: a version may raise anything
        may_refuse = any(field.kind in {"string", "bytes"} for field in signature.fields)
        if may_refuse and not is_real:
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
    loaded.batcher.warmed(took_s, can_batch=batching and is_same_in_company(loaded, rows))
    return took_s


def is_same_in_company(loaded: Loaded, rows: Features) -> bool:
    """Say whether rows get exactly the same scores together and alone.

    Matrix products may add up in another order where there are more rows; such a version is
    predicted one request at a time.

    Parameters
    ----------
    loaded : Loaded
        The version.
    rows : Features
        Real ones at best; repeated where they are few.
    """
    n_alone = min(rows.n_rows, _ALONE)
    try:
        alone = [loaded.predict(rows.take(np.arange(at, at + 1))) for at in range(n_alone)]
        expected = np.concatenate(alone)
        for size in _SIZES:
            picked = (np.arange(size) * 7 + size) % n_alone
            if not np.array_equal(loaded.predict(rows.take(picked)), expected[picked]):
                return False
    except Exception as error:  # noqa: BLE001  # the plug-in border: then requests go one by one
        _LOG.info("not batched version=%s error=%s", loaded.version.name, error)
        return False
    return True


def _rows(signature: Signature, samples: Sequence[Features]) -> tuple[Features, bool]:
    """Return the samples in the columns of a signature, or a blank row where they have others."""
    fitting = []
    for sample in reversed(samples):
        try:
            fitting.append(sample.as_read_by(signature))
        except Invalid:
            _LOG.info("a warm-up row is of an earlier signature")
    if fitting:
        return joined(fitting), True
    return Features(signature, table=blank_row(signature)), False


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
