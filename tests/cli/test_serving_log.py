"""`renewal serve --log json`: every line of every process is one JSON object."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from renewal.cli.main import main

PROGRAM = "from renewal.cli.main import main; main()"


def serve_and_stop(home: Path, *options: str) -> list[str]:
    """Serve until it is ready, send it noise, stop it; return the lines of its log."""
    with pytest.raises(SystemExit):
        main(["init", "--home", str(home)])
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", "--port", "0", "--home", str(home), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        url = urlsplit(json.loads(line)["url"] if line else "")
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=30) as noisy:
            noisy.sendall(b"GET / HTTP/1.1\r\nforged\n{\r\n\r\n")
            noisy.recv(1000)
        client = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
        client.request("GET", "/v2/health/live")
        assert client.getresponse().status == 200
        client.close()
        child.send_signal(signal.SIGTERM)
        _out, error = child.communicate(timeout=60)
    finally:
        child.kill()
        child.communicate()
    return error.splitlines()


def test_every_line_of_every_process_is_json(tmp_path: Path) -> None:
    """Breaks when one process of several, or one library, goes on in its own form."""
    lines = serve_and_stop(tmp_path / "home", "--log", "json", "--workers", "2", "--json")
    read: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert all({"ts", "level", "logger", "event"} <= set(line) for line in read)
    events = [(line["logger"], line["event"]) for line in read]
    assert ("renewal.serve", "serving") in events
    assert ("renewal.serve", "stopped") in events
    libraries = [event for logger, event in events if logger == "uvicorn.error"]
    assert sum(event.startswith("Started server process") for event in libraries) == 2
    # What is no request makes no lines: anybody could fill the disk.
    assert not any("forged" in line or "Invalid HTTP" in line for line in lines)
    assert any("url" in line for line in read if line["event"] == "serving")
