r"""The server's log as JSON: one object a line, whatever is in it.

A line of ours is written as ``event key=value key=value``. Its fields are taken from the
template and its arguments, not from the finished text, so a value with spaces, line breaks or
``key=value`` of its own stays one value and makes neither a line nor a field::

    _LOG.info("swap model=%s plan=%d ms=%.1f", "flights", 7, 12.34)

    {"ts": "2026-01-01T00:00:00.000000+00:00", "level": "info", "logger": "renewal.serve",
     "event": "swap", "model": "flights", "plan": 7, "ms": 12.3}

A line of another library is an event without fields. JSON is written in ASCII, so a control
character or half a surrogate cannot break a terminal or a reader either.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from renewal.serve.context import known
from renewal.serve.options import Form

_OURS = "renewal"
_LONGEST = 16_384  # characters of one value
_FIELD = re.compile(r"(?P<key>[A-Za-z_]\w*)=(?P<value>\S+?)[,;]?(?=\s|$)")
_SLOT = re.compile(r"%(?:%|[-#0 +\d.]*[a-zA-Z])")
_NUMBERS = frozenset("dieEfFgG")
_RESERVED = frozenset({"ts", "level", "logger", "event", "text", "exception", "stack"})


class JsonFormatter(logging.Formatter):
    r"""Writes a record as one line of JSON.

    Notes
    -----
    Fields, in this order: ``ts`` (UTC), ``level``, ``logger``, ``event`` (the words before the
    first field; of other libraries the whole text), ``model``, ``version`` and ``request_id``
    where they are known (those of the line, else those of `working_for`), the fields of the
    line, ``text`` where the line has words after a field, ``exception`` with its traceback and
    ``stack``. A field that bears one of these names gets a ``_``. Values longer than 16,384
    characters are cut. About 20 microseconds a line.

    Examples
    --------
    >>> line = logging.LogRecord("renewal.serve", 30, "", 0, "slow\n ms=%d", (7,), None)
    >>> JsonFormatter().format(line).partition('"level"')[2]
    ': "warning", "logger": "renewal.serve", "event": "slow", "ms": 7}'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end; it never fails, as a log must not."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        line: dict[str, Any] = {"ts": at, "level": record.levelname.lower(), "logger": record.name}
        try:
            event, fields, text = _parts(record)
        except Exception as error:  # noqa: BLE001  # the log border: a value may raise when it is written
            fields, text = {"log_error": type(error).__name__}, ""
            event = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        line["event"] = _cut(event)
        line.update(known())
        for key, value in fields.items():
            line[f"{key}_" if key in _RESERVED else key] = value
        if text:
            line["text"] = _cut(text)
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = _cut_middle(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = _cut_middle(record.stack_info)
        return json.dumps(line)


def configure_logging(form: Form, stream: TextIO | None = None) -> None:
    """Set up the log of a process that serves.

    Parameters
    ----------
    form : {"text", "json"}
        ``text`` leaves everything as Python and the user have set it. ``json`` writes one object
        a line: our own lines and uvicorn's from INFO on, those of others from WARNING on.
    stream : text stream or None
        None: standard error, as it is when a line is written.

    Notes
    -----
    To be called once in each process, also of the workers; a second call changes nothing.
    Warnings of Python go the same way.
    """
    root = logging.getLogger()
    if form == "text" or any(isinstance(each, _JsonHandler) for each in root.handlers):
        return
    handler = _JsonHandler(stream)
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    for name in (_OURS, "uvicorn"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


class _JsonHandler(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is now: it may have been replaced since."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream or sys.stderr)
        self._is_fixed = stream is not None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if not self._is_fixed:
            self.stream = sys.stderr
        super().emit(record)


def _parts(record: logging.LogRecord) -> tuple[str, Mapping[str, Any], str]:
    """Return the event of a record, its fields, and the words after them."""
    is_ours = record.name == _OURS or record.name.startswith(f"{_OURS}.")
    args = record.args if isinstance(record.args, tuple) else ()
    if not is_ours or isinstance(record.args, Mapping):
        return record.getMessage(), {}, ""
    template = str(record.msg)
    if not args:
        # Without arguments nothing is filled in: a per cent sign is one.
        return _filled(template, None)
    return _filled(template, iter(args))


def _filled(template: str, args: Iterator[Any] | None) -> tuple[str, Mapping[str, Any], str]:
    fields: dict[str, Any] = {}
    words: list[str] = []
    done = 0
    for match in _FIELD.finditer(template):
        words.append(_words(template[done : match.start()], args))
        done = match.end()
        value = match["value"]
        is_slot = args is not None and value != "%%" and _SLOT.fullmatch(value)
        if args is not None and is_slot:
            fields[match["key"]] = _value(value, next(args))
        else:
            fields[match["key"]] = _cut(_words(value, args))
    words.append(_words(template[done:], args))
    event, *after = words
    return event.strip(), fields, " ".join(part for part in map(str.strip, after) if part)


def _words(text: str, args: Iterator[Any] | None) -> str:
    if args is None:
        return text
    return _SLOT.sub(lambda slot: "%" if slot[0] == "%%" else slot[0] % (next(args),), text)


def _value(how: str, value: Any) -> Any:
    """Return a value as JSON: as exact as its place in the line, and a number where it is one."""
    if value is None or isinstance(value, bool):
        return value
    text = how % (value,)
    if how[-1] not in _NUMBERS:
        is_number = how == "%s" and type(value) is int
        return value if is_number else _cut(text)
    number = float(text)
    if not math.isfinite(number):
        return text
    return int(text) if re.fullmatch(r"[-+ ]?\d+", text) else number


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def _cut_middle(text: str) -> str:
    """Keep both ends of a traceback: where it began, and what it was."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}\n...\n{text[-half:]}"
