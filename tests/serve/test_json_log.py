"""The log as JSON: one object a line, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.serve.context import working_for
from renewal.serve.json_log import JsonFormatter, configure_logging


class Log:
    """A logger that writes JSON, and what it wrote."""

    def __init__(self, name: str) -> None:
        self.out = io.StringIO()
        self.logger = logging.getLogger(name)
        self.handler = logging.StreamHandler(self.out)
        self.handler.setFormatter(JsonFormatter())
        self.logger.addHandler(self.handler)
        self.logger.setLevel(logging.DEBUG)
        self.logger.propagate = False

    def lines(self) -> list[dict[str, Any]]:
        """Return every line that was written, read as strict JSON."""
        text = self.out.getvalue()
        assert text.isascii()
        assert not any(ord(each) < 32 for each in text.replace("\n", ""))
        return [json.loads(line, parse_constant=_refused) for line in text.splitlines()]

    def one(self, message: object, *args: Any, **more: Any) -> dict[str, Any]:
        """Log one line and return it without what every line has."""
        before = len(self.lines())
        self.logger.warning(message, *args, **more)
        (line,) = self.lines()[before:]
        assert line.pop("level") == "warning"
        assert line.pop("logger") == self.logger.name
        assert line.pop("ts").endswith("+00:00")
        return line

    def close(self) -> None:
        """Leave the logger as it was."""
        self.logger.removeHandler(self.handler)
        self.logger.setLevel(logging.NOTSET)
        self.logger.propagate = True


def _refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log("renewal.serve.test_json_log")
    yield made
    made.close()


@pytest.fixture
def foreign() -> Iterator[Log]:
    made = Log("elsewhere.test_json_log")
    yield made
    made.close()


def test_the_fields_of_our_lines(log: Log) -> None:
    line = log.one(
        "swap model=%s plan=%d stage=%s versions=%s ms=%.1f", "m", 7, "steady", "v1+v2", 12.345
    )
    assert line == {
        "event": "swap",
        "model": "m",
        "plan": 7,
        "stage": "steady",
        "versions": "v1+v2",
        "ms": 12.3,
    }


def test_the_event_is_all_words_before_the_first_field(log: Log) -> None:
    assert log.one("compiled form not served model=%s", "m") == {
        "event": "compiled form not served",
        "model": "m",
    }
    assert log.one("could not ask the registry; it goes on") == {
        "event": "could not ask the registry; it goes on"
    }
    assert log.one("left out: %s", "x") == {"event": "left out: x"}
    assert log.one("lost rows=%d at the end", 5) == {
        "event": "lost",
        "rows": 5,
        "text": "at the end",
    }
    assert log.one("failed path=/%s, n=%d; more", "a b", 3) == {
        "event": "failed",
        "path": "/a b",
        "n": 3,
        "text": "more",
    }
    assert log.one("share=%d%% of=100%%", 3) == {"event": "", "share": "3%", "of": "100%"}
    assert log.one("stopped reason=asked") == {"event": "stopped", "reason": "asked"}


@pytest.mark.parametrize(
    ("how", "value", "shown"),
    [
        ("%s", "text", "text"),
        ("%s", 3, 3),
        ("%s", None, None),
        ("%s", True, True),
        ("%r", "a", "'a'"),
        ("%d", 3, 3),
        ("%d", 3.9, 3),
        ("%i", -3, -3),
        ("%g", 0.5, 0.5),
        ("%g", 60.0, 60),
        ("%.3f", 1 / 3, 0.333),
        ("%g", float("nan"), "nan"),
        ("%g", float("-inf"), "-inf"),
        ("%x", 255, "ff"),
        ("%s", 0.1, "0.1"),
        ("%s", [1, 2], "[1, 2]"),
    ],
)
def test_values_keep_their_kind(log: Log, how: str, value: object, shown: object) -> None:
    line = log.one(f"x value={how}", value)
    assert line == {"event": "x", "value": shown}
    assert type(line["value"]) is type(shown)


@pytest.mark.parametrize(
    "evil",
    [
        'a\n{"level": "error", "event": "forged"}',
        "a\r\nb",
        "x model=other level=error",
        "\x1b[31mred\x00",
        "\u2028\u2029\x85",
        "\ud800",
        '"}',
        "%s %d %(x)s",
    ],
)
def test_a_value_makes_neither_a_line_nor_a_field(log: Log, foreign: Log, evil: str) -> None:
    """Breaks when what a client sends forges an entry of the log."""
    assert log.one("failed path=%s model=%s", evil, "m") == {
        "event": "failed",
        "path": evil,
        "model": "m",
    }
    assert log.one("failed %s", evil) == {"event": f"failed {evil}".strip()}
    assert foreign.one("failed %s", evil) == {"event": f"failed {evil}"}


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_one_line(template: str, value: str) -> None:
    record = logging.LogRecord("renewal.x", 30, "", 0, template, (value,), None)
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert line.isprintable()
    assert isinstance(json.loads(line), dict)


def test_a_field_cannot_pose_as_the_frame(log: Log) -> None:
    line = log.one("x event=%s text=%s", "a", "b")
    assert line == {"event": "x", "event_": "a", "text_": "b"}
    log.logger.warning("x level=%s ts=%s", "a", "b")
    last = log.lines()[-1]
    assert (last["level"], last["level_"], last["ts_"]) == ("warning", "a", "b")


def test_an_exception_is_one_field(log: Log) -> None:
    try:
        raise Invalid("x", needs="a\nb", came="c", todo="Do it.")  # noqa: TRY301  # a traceback is wanted
    except Invalid:
        line = log.one("failed model=%s", "m", exc_info=True)
    assert line["event"] == "failed"
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("needs a\nb; got c. Do it.")
    assert "stack" in log.one("where", stack_info=True)


class Broken:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError


@pytest.mark.parametrize(
    ("message", "args", "event", "error"),
    [
        ("x value=%s", (Broken(),), "x value=%s", "RuntimeError"),
        (Broken(), (), "Broken", "RuntimeError"),
        ("x n=%d", ("seven",), "x n=%d", "TypeError"),
        ("x a=%s b=%s", (1,), "x a=%s b=%s", "StopIteration"),
    ],
)
def test_what_cannot_be_written_is_still_a_line(
    message: Any, args: tuple[object, ...], event: str, error: str
) -> None:
    """Breaks when a line is lost, or its reader, for a value; by hand, as pytest writes it too."""
    record = logging.LogRecord("renewal.x", 30, "", 0, message, args, None)
    line = json.loads(JsonFormatter().format(record))
    assert (line["event"], line["log_error"]) == (event, error)


def test_long_values_are_cut(log: Log) -> None:
    """Breaks when one request fills the disk with one line."""
    line = log.one("x value=%s %s", "a" * 1_000_000, "b" * 1_000_000)
    assert len(json.dumps(line)) < 100_000
    assert "1000000 characters" in line["value"]


def test_the_context_is_beside_every_line(log: Log, foreign: Log) -> None:
    with working_for(model="m", version="v3", request_id="7"):
        known = {"model": "m", "version": "v3", "request_id": "7"}
        assert log.one("x") == {"event": "x", **known}
        assert foreign.one("x") == {"event": "x", **known}
        # What the line says of itself is nearer.
        assert log.one("x version=%s", "v4") == {"event": "x", **known, "version": "v4"}
    assert log.one("x") == {"event": "x"}


def test_lines_of_others_have_the_same_form(foreign: Log) -> None:
    line = foreign.one("Started server process [%d] a=%s", 7, "b")
    assert line == {"event": "Started server process [7] a=b"}
    assert foreign.one("%(a)s", {"a": 1}) == {"event": "1"}


PROGRAM = """
import logging, sys, threading, warnings
from renewal.serve.json_log import configure_logging

configure_logging({form!r})
configure_logging({form!r})
ours = logging.getLogger("renewal.serve")
threads = [
    threading.Thread(target=lambda: [ours.info("x n=%d", n) for n in range(50)]) for _ in range(4)
]
for each in threads:
    each.start()
for each in threads:
    each.join()
ours.debug("not this")
logging.getLogger("uvicorn.error").info("Started")
logging.getLogger("elsewhere").info("not this")
logging.getLogger("elsewhere").warning("this")
warnings.warn("old")
"""


def run(form: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(form=form)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout, done.stderr


def test_a_process_that_is_set_to_json() -> None:
    out, error = run("json")
    assert out == ""
    lines = [json.loads(line) for line in error.splitlines()]
    assert [line["event"] for line in lines[:200]] == ["x"] * 200, "each line once, and whole"
    rest = [(line["logger"], line["event"].strip().splitlines()[0]) for line in lines[200:]]
    assert rest[:2] == [("uvicorn.error", "Started"), ("elsewhere", "this")]
    assert rest[2][0] == "py.warnings"
    assert "old" in rest[2][1]
    assert len(rest) == 3


def test_a_process_that_is_set_to_text_is_as_before() -> None:
    _out, error = run("text")
    assert error.splitlines()[0] == "this"
    assert "Started" not in error


def test_the_log_goes_where_standard_error_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks when a terminal view that replaces standard error is written over."""
    root = logging.getLogger()
    before = list(root.handlers)
    later = io.StringIO()
    try:
        configure_logging("json")
        monkeypatch.setattr(sys, "stderr", later)
        logging.getLogger("renewal.serve").warning("now model=%s", "m")
    finally:
        for handler in set(root.handlers) - set(before):
            root.removeHandler(handler)
        logging.captureWarnings(capture=False)
        for name in ("renewal", "uvicorn"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    assert json.loads(later.getvalue())["model"] == "m"


def test_the_context_is_each_threads_own(log: Log) -> None:
    def work() -> None:
        log.logger.warning("inside")

    with working_for(model="m"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert "model" not in log.lines()[-1]
