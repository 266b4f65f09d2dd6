"""Warming a version up: the first prediction happens before the first request."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter

import pyarrow as pa

from renewal.core.errors import Corrupt, Invalid, RenewalError
from renewal.core.spec import Kind, Signature
from renewal.data.feed import Feed
from renewal.data.frame import conform, schema_of
from renewal.serve.answer import scores_of
from renewal.serve.slots import Loaded

_LOG = logging.getLogger("renewal.serve")
_BLANK: dict[Kind, object] = {
    "float": 0.0,
    "int": 0,
    "bool": False,
    "string": "",
    "bytes": b"",
}


def warm_up(loaded: Loaded, sample: pa.Table | None) -> float:
    """Make a version predict twice before it serves, and check what it says.

    The first prediction pays for lazy imports and caches, the second is timed.

    Parameters
    ----------
    loaded : Loaded
        The version.
    sample : pyarrow.Table or None
        A real row of the model. None: a row of zeros and empty strings; an encoder may
        rightly refuse an empty string, and an image of no bytes is none, so that with
        such columns a failure is only logged.

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
    row, is_real = _row(signature, sample)
    try:
        scores_of(loaded, row)
        started_s = perf_counter()
        scores_of(loaded, row)
        return perf_counter() - started_s
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


def _row(signature: Signature, sample: pa.Table | None) -> tuple[pa.Table, bool]:
    """Return the sample in the columns of a signature, or a blank row where it has others."""
    if sample is not None:
        try:
            return conform(sample, signature, who="warm_up"), True
        except Invalid:
            _LOG.info("the warm-up row is of an earlier signature")
    return blank_row(signature), False


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


def newest_row(feeds: Callable[[str], Feed], model: str) -> pa.Table | None:
    """Return one of the newest rows of a model's feed, or None where there is none."""
    try:
        feed = feeds(model)
        newest_us = feed.newest_event_us()
        if newest_us is None:
            return None
        features: pa.Table = feed.rows(since_us=newest_us).features
    except RenewalError as error:
        _LOG.warning("no warm-up row model=%s error=%s", model, error)
        return None
    return features.slice(0, 1) if features.num_rows else None
