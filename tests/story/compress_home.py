"""A home with a champion that tests try to compress, and what they ask about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from renewal.assemble.compressing import Compression
from renewal.assemble.home import Home
from renewal.assemble.model import Model
from renewal.loop.journal import COMPRESS, last_runs

START = datetime(2026, 1, 1, tzinfo=UTC)
# Which row is what is drawn by it: alike in every run.
SALT = b"which row is what"[:16]
POLICY = '[serve]\ncompiled = "never"\n'
GOAL: dict[str, Any] = {"tau": -0.1, "objective": "l1"}

Target = Callable[[np.ndarray[Any, Any], np.random.Generator], Any]


def by_sum(values: np.ndarray[Any, Any], rng: np.random.Generator) -> Any:
    """Return a label that two of three columns tell, nearly."""
    return values[0] + values[1] + 0.5 * rng.normal(size=values.shape[1]) > 0


def rows(n_rows: int, seed: int = 0, target: Target = by_sum) -> dict[str, Any]:
    """Return labelled rows of three columns."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(3, n_rows))
    keys = [f"{seed}-{at}" for at in range(n_rows)]
    names = dict(zip("abc", values, strict=True))
    return {"id": keys, **names, "target": target(values, rng)}


def declared(home: Home, task: str = "binary", **more: Any) -> Model:
    """Declare the model."""
    return home.model("m", task=task, target="target", key="id", **more)


def trained(home: Home, estimator: Any = None, data: Any = None, **more: Any) -> Model:
    """Return a model with a champion, a logistic regression unless told otherwise."""
    made = declared(home, **more)
    made.train(LogisticRegression() if estimator is None else estimator, data or rows(1_500))
    return made


def at_work(model: Model) -> tuple[str, bytes]:
    """Return what serves: the champion's id and the bytes of its artifact."""
    champion = model.version("champion")
    return champion.id, model.home.store.get(champion.manifest.artifact)


def failed(done: Compression) -> dict[str, str]:
    """Return the chains that have failed, with the reason."""
    return {each["chain"]: each["failed"] for each in done.trials if each["failed"]}


def states(model: Model) -> list[str]:
    """Return the states of all compressions, the newest first."""
    return [each.state for each in last_runs(model.home.db, "m", kind=COMPRESS)]
