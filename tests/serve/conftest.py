"""A small home for the server's tests: real registry, store, feed and scikit-learn models."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from renewal.core.clock import ReplayClock
from renewal.core.plan import Arm, Plan
from renewal.core.plugin import load_plugin
from renewal.core.spec import Field, ModelSpec, Signature
from renewal.core.version import Manifest, Version
from renewal.data.feed import Feed
from renewal.data.frame import signature_of
from renewal.data.segment import read_segments
from renewal.models.task import Binary
from renewal.registry.db import Database
from renewal.registry.registry import Move, Registry
from renewal.serve.features import Features
from renewal.serve.options import ServeOptions
from renewal.serve.routing import RowFacts
from renewal.serve.served import Part, Served
from renewal.serve.server import Server
from renewal.serve.slots import Loaded
from renewal.store.local import LocalStore

COLUMNS = ("distance", "hour", "carrier_delay")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Answered:
    """A response as a client sees it."""

    status: int
    body: Any
    headers: dict[str, str]

    @property
    def version(self) -> str:
        """Return the version that answered."""
        found: str = self.body["parameters"]["version"]
        return found

    def output(self, name: str) -> list[Any]:
        """Return the data of an output."""
        found: list[Any] = next(each for each in self.body["outputs"] if each["name"] == name)[
            "data"
        ]
        return found


class Client:
    """One keep-alive connection without retries."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answered:
        """Send a request and read its answer whole."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        self.connection.request(method, path, raw, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answered(answer.status, json.loads(text) if text else None, found)

    def infer(self, model: str, n_rows: int = 1, seed: int = 0, **parameters: Any) -> Answered:
        """Ask for predictions of made-up rows."""
        return self.send("POST", f"/v2/models/{model}/infer", request(n_rows, seed, **parameters))

    def close(self) -> None:
        """Hang up."""
        self.connection.close()


def request(n_rows: int = 1, seed: int = 0, **parameters: Any) -> dict[str, Any]:
    """Return a valid infer request for the home's models."""
    rng = np.random.default_rng(seed)
    inputs = [
        {
            "name": name,
            "shape": [n_rows],
            "datatype": "FP64",
            "data": rng.normal(size=n_rows).tolist(),
        }
        for name in COLUMNS
    ]
    return {"inputs": inputs, "parameters": parameters}


@dataclass
class Home:
    """What a server stands between, and verbs to make versions and plans."""

    root: Path
    clock: ReplayClock = field(default_factory=lambda: ReplayClock(NOW))
    feeds: dict[str, Feed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the rooms."""
        self.db = Database(f"sqlite:///{self.root / 'registry.db'}")
        self.registry = Registry(self.db, self.clock)
        self.store = LocalStore(self.root / "objects")
        self.log_folder = self.root / "log"
        self._stack = ExitStack()

    def feed(self, model: str) -> Feed:
        """Return the feed of a model, the same every time."""
        if model not in self.feeds:
            spec = self.registry.model(model)
            path, segments = self.root / "feeds" / model, self.log_folder / model
            self.feeds[model] = Feed(path, spec, self.db, self.clock, segments=segments)
        return self.feeds[model]

    def declare(self, name: str = "flights", task: str = "binary", **more: Any) -> ModelSpec:
        """Declare a model."""
        more = {"key": "flight", "time": "at", **more}
        return self.registry.create_model(ModelSpec(name, task, "late", **more))

    def version(
        self,
        model: str = "flights",
        seed: int = 0,
        *,
        estimator: Any = None,
        labels: Callable[[np.ndarray], Any] | None = None,
        table: pa.Table | None = None,
        break_bytes: bool = False,
        **manifest: Any,
    ) -> Version:
        """Fit, store and register a version; every seed gives another one."""
        spec = self.registry.model(model)
        rng = np.random.default_rng(seed)
        values = rng.normal(size=(80, len(COLUMNS)))
        table = table or pa.table(dict(zip(COLUMNS, values.T, strict=True)))
        task = load_plugin("tasks", spec.task)()
        adapter = load_plugin("adapters", "sklearn")()
        weights = rng.normal(size=len(COLUMNS))
        score = values @ weights
        raw = labels(score) if labels is not None else (score > 0).astype(int)
        if spec.task == "regression":
            raw = score
        target = task.labels(np.asarray(raw), who="test")
        if estimator is None:
            estimator = LinearRegression() if spec.task == "regression" else LogisticRegression()
        fitted = adapter.fit(estimator, table, target)
        data = adapter.dump(fitted)
        digest = self.store.put(data)
        found = Manifest(
            **{
                "model": model,
                "task": spec.task,
                "adapter": "sklearn",
                "artifact": digest,
                "artifact_bytes": len(data),
                "signature": signature_of(table),
                "classes": task.classes(target),
                "strategy": "train",
                "seed": seed,
                "environment": adapter.environment(),
                **manifest,
            }
        )
        version = self.registry.add_version(found)
        if break_bytes:
            path = next((self.root / "objects").rglob(f"*{digest[2:]}"))
            path.chmod(0o644)
            path.write_bytes(data[: len(data) // 2])
        return version

    def champion(self, version: Version, plan: Plan | None = None) -> None:
        """Make a version champion, by force after the first."""
        model = version.manifest.model
        present = self.registry.aliases(model).get("champion")
        move = Move("champion", present, version.id)
        forced = present is not None
        self.registry.move(model, move, who="test", why="test", forced=forced, plan=plan)

    def steady(self, version: Version) -> int:
        """Give a version all traffic; return the plan's number."""
        arms = (Arm("champion", version.id, 1.0),)
        return self.registry.publish(Plan(version.manifest.model, "steady", arms))

    def canary(self, champion: Version, candidate: Version, share: float, *, shadow: bool) -> int:
        """Split the traffic between two versions."""
        arms = (
            Arm("champion", champion.id, 1.0 - share),
            Arm("candidate", candidate.id, share),
        )
        shadows = (champion.id, candidate.id) if shadow else ()
        return self.registry.publish(Plan(champion.manifest.model, "canary", arms, shadows))

    def shadowed(self, champion: Version, candidate: Version) -> int:
        """Let one version answer and another watch."""
        arms = (Arm("champion", champion.id, 1.0),)
        plan = Plan(champion.manifest.model, "shadow", arms, (candidate.id,))
        return self.registry.publish(plan)

    def start(self, **options: Any) -> Server:
        """Start a server that is stopped with the home."""
        options = {"flush_s": 30.0, "poll_s": 0.1, "drain_s": 0.02, **options}
        server = Server(
            self.registry,
            self.store,
            self.feed,
            self.log_folder,
            self.clock,
            ServeOptions(**options),
        )
        server.start()
        self._stack.callback(server.stop)
        return server

    def client(self, server: Server) -> Client:
        """Return the rows and predictions in the segments of a model."""
        client = Client(server.url)
        self._stack.callback(client.close)
        return client

    def logged(self, model: str = "flights") -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return the rows and predictions in the segments of a model."""
        segments = list(read_segments(self.log_folder / model))
        rows = [row for each in segments for row in each.rows.to_pylist()]
        return rows, [row for each in segments for row in each.predictions.to_pylist()]

    def close(self) -> None:
        """Stop what was started."""
        self._stack.close()
        self.db.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One home for the tests of a module that change nothing in it."""
    found = Home(tmp_path_factory.mktemp("home"))
    yield found
    found.close()


@pytest.fixture
def infer_request() -> Callable[..., dict[str, Any]]:
    return request


@pytest.fixture
def new_client() -> Iterator[Callable[[str], Client]]:
    with ExitStack() as stack:

        def make(url: str) -> Client:
            client = Client(url)
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture
def served() -> Callable[..., Served]:
    """Make log entries of a two-class model without a server."""

    def make(  # noqa: PLR0917  # a maker of records
        prediction_id: str,
        n_rows: int = 1,
        split: tuple[str, ...] = ("answers",),
        column: str = "x",
        key: str | None = None,
        block: str | None = None,
        *,
        is_shadow: bool = False,
        has_failed: bool = False,
    ) -> Served:
        keys = [key or f"{prediction_id}-{row}" for row in range(n_rows)]
        blocks = None if block is None else [block] * n_rows
        facts = RowFacts(keys, keys, keys, [5] * n_rows, blocks)
        parts = []
        for at, version_id in enumerate(split):
            rows = np.arange(at, n_rows, len(split))
            signature = Signature((Field(column, "float"),))
            manifest = Manifest(
                "flights", "binary", "sklearn", "0" * 64, 1, signature, (0, 1), "train"
            )
            version = Version(version_id, at + 1, manifest, {}, NOW, "test")
            scores = None if has_failed else np.tile([0.25, 0.75], (len(rows), 1))
            parts.append(Part(Loaded(version, Binary(), Silent()), "champion", 1.0, rows, scores))
        signature = Signature((Field(column, "float"),))
        features = Features(signature, table=pa.table({column: [1.0] * n_rows}))
        return Served(prediction_id, features, facts, tuple(parts), 7, 0.5, is_shadow)

    return make


class Silent:
    """A runtime that nobody asks."""

    def predict(self, features: pa.Table) -> np.ndarray[Any, Any]:
        """Fail: nobody asks."""
        raise AssertionError(features)

    def close(self) -> None:
        """Let go of nothing."""
