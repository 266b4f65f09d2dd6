"""Who is certified: which trials count as milder and bolder forms of each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from renewal.compress.book import MemoryBook
from renewal.compress.chain import parse_chain
from renewal.compress.form import Form
from renewal.compress.goal import Goal
from renewal.compress.material import Material
from renewal.compress.runner import Runner
from renewal.compress.search import Found
from renewal.data.frame import signature_of
from renewal.loop.entrants import points_of
from renewal.models.sklearn import SklearnAdapter
from renewal.models.task import Binary
from renewal.store.local import LocalStore
from renewal.testing.forms import rows_of


def test_little_effort_is_a_family_of_its_own(tmp_path: Path) -> None:
    """Broken by smoothing both together: the worse one, which is larger, was then tested first
    as the safest, failed, and ended the tests of all others.
    """  # noqa: D205  # one sentence
    x = np.random.default_rng(0).normal(size=(240, 3))
    labels = np.array((x[:, 0] > 0.0).tolist(), dtype=object)
    rows = rows_of(pa.table({f"c{at}": x[:, at] for at in range(3)}), labels)
    train, validation = rows.take(np.arange(160)), rows.take(np.arange(160, 240))
    adapter = SklearnAdapter()
    fitted = adapter.fit(LogisticRegression(), train.features, labels[:160], seed=0)
    form = Form("sklearn", fitted, signature_of(rows.features), adapter.classes(fitted))
    runner = Runner(
        form,
        "parent",
        10**6,
        material=Material(Binary(), train, form),
        validation=validation,
        book=MemoryBook(LocalStore(tmp_path)),
    )
    goal = Goal(metric="accuracy").settled(Binary())
    chain = parse_chain("distil.student(student=tree,size=0.02)")
    trials = (runner.trial(parse_chain("nothing")), runner.trial(chain, 0.25), runner.trial(chain))
    assert all(each.failed is None for each in trials)
    found = Found(trials, dict.fromkeys([each.key for each in trials], 0.0), 0.01)
    assert len({each.family for each in points_of(runner, found, goal)}) == 2
