"""The bytes of River's learners: whole, the same for equal ones, and without code."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from river import compose, drift, forest, naive_bayes, neighbors, preprocessing, stats
from skops.io import dumps as skops_dumps
from skops.io import get_untrusted_types
from skops.io import loads as skops_loads

from renewal.core.errors import Invalid, Missing, Refused
from renewal.models.river_bytes import copy_of, from_bytes, to_bytes

_MAGIC = b"renewal.river.1\n"


def written(root: Any, nodes: list[Any]) -> bytes:
    return _MAGIC + zlib.compress(json.dumps([root, nodes]).encode())


def learned(learner: Any, n: int = 200) -> Any:
    rng = np.random.default_rng(1)
    for x, y in rng.normal(size=(n, 2)).tolist():
        learner.learn_one({"x": x, "y": y}, x > 0)
    return learner


def doubled(row: dict[str, float]) -> dict[str, float]:
    """Double the numbers of a row."""
    return {name: 2.0 * value for name, value in row.items()}


class Evil:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Name the function that runs."""
        return os.mkdir, ("/tmp/renewal-was-here",)  # noqa: S108  # must never come to be


def test_skops_forgets_what_this_keeps() -> None:
    """Breaks when skops keeps keys that are booleans: then it would do for most learners."""
    learner = learned(neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=50)))
    answer = learner.predict_proba_one({"x": 2.0, "y": 0.0})
    data = skops_dumps(learner)
    loaded = skops_loads(data, trusted=get_untrusted_types(data=data))
    assert loaded.predict_proba_one({"x": 2.0, "y": 0.0}) != answer
    again = from_bytes(to_bytes(learner))
    assert again.predict_proba_one({"x": 2.0, "y": 0.0}) == answer


@pytest.mark.parametrize(
    "learner",
    [
        naive_bayes.GaussianNB(),
        forest.ARFClassifier(n_models=2, seed=1),
        forest.AMFClassifier(n_estimators=2, seed=1),
        drift.DriftRetrainingClassifier(naive_bayes.GaussianNB()),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_learner_goes_on_alike_after_it_was_stored(learner: Any) -> None:
    """Broken by a part, a generator of random numbers, or a sharing of two that is lost."""
    learner = learned(learner.clone())
    one, other = from_bytes(to_bytes(learner)), copy_of(learner)
    assert to_bytes(one) == to_bytes(other) == to_bytes(learner)
    for each in (learner, one, other):
        learned(each, 100)
    assert to_bytes(one) == to_bytes(other) == to_bytes(learner)


def test_a_pickle_is_refused_unread() -> None:
    """Broken by a reader that unpickles to find out."""
    with pytest.raises(Invalid, match="pickle"):
        from_bytes(pickle.dumps(Evil()))
    assert not os.path.exists("/tmp/renewal-was-here")  # noqa: PTH110, S108  # as above


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "builtins:getattr",
        "subprocess:Popen",
        "pickle:loads",
        "functools:reduce",
        "river.datasets.base:RemoteDataset",
        "river.stream.cache:Cache",
        "river.bandit.datasets.news:NewsArticles",
        "river.base.base:sys",  # only imported there
        "river.base.base:sys.modules",
        "river.stats.mean:Mean.update.__globals__",
        "river.utils.rolling:collections.namedtuple",
        "riverbank:Anything",
    ],
)
@pytest.mark.parametrize("tag", ["c", "f"])
def test_what_river_does_not_define_cannot_be_named(name: str, tag: str) -> None:
    with pytest.raises((Refused, Missing)):
        from_bytes(written([tag, name], []))
    with pytest.raises((Refused, Missing)):
        from_bytes(written(["@", 0], [["object", name, [], ["a", [], []], [], []]]))


@pytest.mark.parametrize(
    ("root", "nodes"),
    [
        # A method that would hand out the globals of a module, and one that is not River's.
        (["m", ["c", "river.stats.mean:Mean"], "__init__"], []),
        (["m", ["@", 0], "append"], [["list", []]]),
        # An attribute that would change what the object is.
        (
            ["@", 0],
            [["object", "river.stats.mean:Mean", [], ["a", [["__class__", 1]], []], [], []]],
        ),
        # A class made of River's metaclass.
        (["@", 0], [["object", "river.base.estimator:EstimatorMeta", ["E"], None, [], []]]),
        # An array of objects, which NumPy would unpickle.
        (["@", 0], [["array", "|O", [1], ""]]),
        (["n", "|O", ""], []),
        # Damage.
        (["@", 7], []),
        (["?", 1], []),
        (["@", 0], [["nothing"]]),
    ],
)
def test_what_would_get_out_of_the_data_is_refused(root: Any, nodes: list[Any]) -> None:
    with pytest.raises(Invalid):
        from_bytes(written(root, nodes))


def test_damage_in_a_part_of_rust_is_an_error_and_no_panic() -> None:
    learner = learned(forest.ARFClassifier(n_models=1, seed=1))
    text = zlib.decompress(to_bytes(learner)[len(_MAGIC) :]).decode()
    root, nodes = json.loads(text)
    node = next(each for each in nodes if each[0] == "object" and "_river_rust" in each[1])
    node[3] = ["s", ["b", "AAAA"]]
    with pytest.raises(Invalid, match="AdaptiveWindowing"):
        from_bytes(written(root, nodes))


def test_code_of_ones_own_needs_the_operators_trust() -> None:
    """Broken by a file that can add to the list by itself."""
    learner = compose.FuncTransformer(doubled) | naive_bayes.GaussianNB()
    data = to_bytes(learned(learner))
    name = f"{doubled.__module__}.doubled"
    with pytest.raises(Refused, match="trust") as refused:
        from_bytes(data)
    assert refused.value.fields["types"] == (name,)
    assert from_bytes(data, (name,)).predict_proba_one({"x": 2.0}) == learner.predict_proba_one(
        {"x": 2.0}
    )


@pytest.mark.parametrize("part", [lambda row: row, iter([1, 2])], ids=["a lambda", "an iterator"])
def test_what_is_no_data_is_refused_when_it_is_written(part: Any) -> None:
    scaler = preprocessing.StandardScaler()
    scaler.extra = part
    with pytest.raises(Invalid, match="plain data"):
        to_bytes(scaler)


def test_equal_learners_are_equal_bytes_in_every_process() -> None:
    """Broken by an order that comes from the hash of a text, or an address."""
    program = (
        "from river import tree\n"
        "from renewal.models.river_bytes import to_bytes\n"
        "learner = tree.HoeffdingTreeClassifier(grace_period=20, delta=0.1)\n"
        "for i in range(200):\n"
        "    learner.learn_one({'a': float(i % 7), 's': 'xyz'[i % 3]}, 'pqr'[i % 3])\n"
    )
    here: dict[str, Any] = {}
    exec(program, here)  # noqa: S102  # the same lines in two processes
    there = subprocess.run(
        [sys.executable, "-c", program + "print(to_bytes(learner).hex())"],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == to_bytes(here["learner"]).hex()


def test_a_depth_beyond_the_stack_is_no_matter() -> None:
    """Broken by a writer or a reader that recurses."""
    chain: list[Any] = []
    for _ in range(5_000):
        chain = [chain]
    holder = stats.Mean()
    holder.chain = chain
    again = from_bytes(to_bytes(holder))
    depth, here = 0, again.chain
    while here:
        depth, here = depth + 1, here[0]
    while chain:  # or the interpreter would recurse to free it
        chain = chain.pop()
    assert depth == 5_000
