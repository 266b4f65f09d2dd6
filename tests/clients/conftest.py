"""Unmodified clients of other projects, each in an environment of its own, against our server.

A script runs in that environment, talks to the server and prints what it saw as JSON; the
tests check it. `make clients` makes the environments beside the one that runs the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression

from renewal.serve.server import Server
from tests.serve.conftest import Home

HERE = Path(__file__).parent
CLIENTS = Path(f"{sys.prefix}-clients")
ROWS = [[0.5, -1.0, 2.0], [0.25, 1.5, -0.5], [1.0, 0.0, 0.0]]

collect_ignore = ["scripts"]  # they import what this environment does not have

Said = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve two versions of a classifier, and a regression."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.declare()
    first, second = home.version(seed=0), home.version(seed=1)
    home.champion(first)
    home.shadowed(first, second)
    home.declare("delays", task="regression")
    delays = home.version("delays", estimator=LinearRegression())
    home.champion(delays)
    home.steady(delays)
    yield home.start(grpc_port=0)
    home.close()


@pytest.fixture(scope="module")
def answers(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Said]:
    """Run a script of `scripts/` in an environment; return what it printed."""
    folder = tmp_path_factory.mktemp("script")

    def run(environment: str, script: str, *more: str) -> Said:
        python = CLIENTS / environment / "bin" / "python"
        if not (CLIENTS / environment / ".installed").exists():
            pytest.skip(f"no environment {CLIENTS.name}/{environment}: run `make clients`")
        ran = subprocess.run(
            [python, HERE / "scripts" / script, server.url, json.dumps(ROWS), *more],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=folder,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        found: Said = json.loads(ran.stdout.splitlines()[-1])
        return found

    return run
