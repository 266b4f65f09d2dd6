"""Compression of what nobody should compress, asked for what nobody can have.

Every result is defined, told in one line, and the champion is as it was: its bytes, its alias.
What would break it: a certificate on rows that the parent has seen or on a handful of rows, a
chain that is blamed for its champion, a builtin error that reaches a user.
"""

from __future__ import annotations

import importlib
import json
import re
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.core.clock import ReplayClock
from renewal.core.errors import Invalid, NotFound, Refused, RenewalError
from renewal.models.onnx_model import OnnxModel
from tests.story.compress_home import (
    GOAL,
    POLICY,
    SALT,
    START,
    Target,
    at_work,
    declared,
    failed,
    rows,
    states,
    trained,
)

GRAPH_CHAINS = (
    "quantize.dynamic",
    "quantize.static",
    "quantize.half",
    "prune.magnitude:share=0.7",
    "prune.neurons:share=0.5",
    "factorize.graph:*",
)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"chains": ["prune.l1:*"], "tau": 1.0}, "beyond what the parent itself reaches"),
        ({"chains": ["quantize.static:*"], "tau": -0.1}, "no chain came to a model; see"),
        ({"chains": ["prune.channels:*"], "tau": -0.1}, "no chain came to a model; see"),
        ({"chains": ["prune.l1:*"], "budget": "0.000001s"}, "before the budget was over"),
    ],
    ids=["line", "graphs only", "networks only", "budget"],
)
def test_a_search_that_finds_nothing_has_an_answer(
    home: Home, asked: dict[str, Any], says: str
) -> None:
    model = trained(home)
    before = at_work(model)
    done = model.compress(**asked)
    assert done.status == "infeasible"
    assert says in done.sentence
    assert done.candidate is None
    assert at_work(model) == before
    assert states(model) == ["done"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"chains": [None]}, "chains"),
        ({"taau": -0.1}, "Did you mean 'tau'?"),
        ({"alpha": "x"}, "alpha"),
        ({"slices": "a"}, "slices"),
        ({"slices": ["nobody"]}, "nobody"),
        ({"tau": float("nan")}, "tau"),
        ({"metric": "tests.nowhere:function", "tau": "-1%"}, "nowhere"),
        ({"metric": "f1", "tau": 0.8}, "f1"),
    ],
    ids=str,
)
def test_a_goal_that_means_nothing_is_refused_by_a_typed_error(
    home: Home, asked: dict[str, Any], says: str
) -> None:
    model = trained(home, data=rows(600))
    before = at_work(model)
    with pytest.raises(Invalid, match=re.escape(says)):
        model.compress(**{"chains": ["prune.l1:*"], **asked})
    assert at_work(model) == before
    assert set(states(model)) <= {"failed"}


def test_one_chain_may_be_a_text_and_a_line_a_number_of_numpy(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    model = trained(home)
    done = model.compress("prune.weaker", tau=np.float64(-0.1), objective="l1", max_bytes=10)
    assert done.status == "infeasible"
    assert "at most 10 allowed" in done.sentence
    assert len(model.versions()) == 1


@pytest.mark.parametrize("n_rows", [30, 80])
def test_a_handful_of_rows_certifies_nothing(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    n_rows: int,
) -> None:
    """Breaks when an equal model is certified on so few rows that any model would be."""
    model = trained(home, data=rows(n_rows))
    done = model.compress(["prune.weaker"], tau=-0.3, objective="l1")
    assert done.status == "uncertified", done.sentence
    assert done.result.rows_missing
    assert done.verdict is None or done.verdict.outcome != "accept"


def test_rows_of_few_groups_count_by_their_groups(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    data = {**rows(1_500), "who": [f"g{at % 80}" for at in range(1_500)]}
    model = trained(home, data=data, group="who")
    done = model.compress(["prune.weaker"], **GOAL)
    assert done.status == "uncertified", done.sentence
    (claim,) = done.result.tested[0].claims
    assert claim.n < 30


@pytest.mark.parametrize(
    ("task", "target", "goal"),
    [
        ("regression", lambda values, _rng: np.full(values.shape[1], 3.0), {"tau": "-10%"}),
        ("regression", lambda values, _rng: np.full(values.shape[1], 3.0), {"metric": "r2"}),
        ("multiclass", lambda values, _rng: np.arange(values.shape[1]) // 495, {"tau": -0.1}),
        ("binary", lambda values, _rng: np.arange(values.shape[1]) < 12, {"metric": "auc"}),
    ],
    ids=["constant", "no r2", "a class of 10", "hardly two classes"],
)
def test_odd_labels_have_an_answer_or_a_typed_error(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    task: str,
    target: Target,
    goal: dict[str, Any],
) -> None:
    estimator = LinearRegression() if task == "regression" else LogisticRegression()
    model = trained(home, estimator, rows(1_000, target=target), task=task)
    before = at_work(model)
    try:
        done = model.compress(["prune.weaker"], objective="l1", **goal)
    except Invalid as error:
        assert str(goal["metric"]) in str(error)  # noqa: PT017  # an answer is as good
    else:
        assert done.status in {"certified", "uncertified", "infeasible"}
        assert all(np.isfinite(each.gain) for one in done.result.tested for each in one.claims)
    assert at_work(model) == before


def test_sets_of_labels_are_compressed_like_any(home: Home) -> None:
    def two(values: np.ndarray[Any, Any], _rng: np.random.Generator) -> Any:
        names = np.where(values[0] > 0, "left", ""), np.where(values[1] > 0, "up", "")
        return ["|".join(filter(None, each)) for each in zip(*names, strict=True)]

    forest = RandomForestClassifier(6, max_depth=4, random_state=0)
    model = trained(home, forest, rows(900, target=two), task="multilabel")
    before = at_work(model)
    done = model.compress(["prune.path:*", "quantize.dynamic"], tau="-30%", budget="20s")
    assert done.status in {"certified", "uncertified"}, done.sentence
    assert list(failed(done)) == ["quantize.dynamic"]
    assert at_work(model) == before


def graph(odd: str = "", n_units: int = 32) -> onnx.ModelProto:
    """Return a network of two hidden layers that tells by the sum of two columns; one is odd."""
    rng = np.random.default_rng(0)
    first = (0.1 * rng.normal(size=(3, n_units))).astype(np.float32)
    first[:2, :2] = [[5, -5], [5, -5]]
    second = np.eye(n_units, dtype=np.float32)
    last = np.zeros((n_units, 2), dtype=np.float32)
    last[:2] = [[-1, 1], [1, -1]]
    changed = {"zero": (second, 0.0), "nan": (first, np.nan), "huge": (first, 1e30)}
    if odd in changed:
        weights, times = changed[odd]
        weights *= np.float32(times)
    values = {"w1": first, "w2": second, "w3": last}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h1"]),
        helper.make_node("Relu", ["h1"], ["h2"], domain="strange" if odd == "stranger" else ""),
        helper.make_node("MatMul", ["h2", "w2"], ["h3"]),
        helper.make_node("Erf" if odd == "unusual" else "Relu", ["h3"], ["h4"]),
        helper.make_node("MatMul", ["h4", "w2"] if odd == "tied" else ["h4", "w3"], ["h5"]),
    ]
    if odd == "tied":
        nodes.append(helper.make_node("MatMul", ["h5", "w3"], ["h6"]))
    nodes.append(helper.make_node("Softmax", [nodes[-1].output[0]], ["p"]))
    n_rows = 1 if odd == "one row at a time" else None
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [n_rows, 3])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [n_rows, 2])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("strange", 1)]
    return helper.make_model(
        made, opset_imports=opsets[: 2 if odd == "stranger" else 1], ir_version=10
    )


def registered(home: Home, proto: onnx.ModelProto, clock: ReplayClock, n_fitted: int = 1) -> Model:
    """Register a graph that is said to have been fitted on so many rows, with rows after it."""
    model = declared(home)
    model.register(OnnxModel.read(proto, classes=(False, True)), trained_on=rows(n_fitted, 9))
    clock.move_to(START + timedelta(days=1))
    model.feed.append(rows(1_000, 1))
    return model


@pytest.mark.parametrize("odd", ["", "zero", "tied", "huge", "unusual"])
def test_odd_graphs_are_compressed_or_said_to_be_no_smaller(
    home: Home, clock: ReplayClock, odd: str
) -> None:
    """Layers of zeros, shared weights, one row to calibrate on, operators that few have."""
    model = registered(home, graph(odd), clock)
    before = at_work(model)
    done = model.compress(GRAPH_CHAINS, tau=-0.1)
    assert done.trials[0]["failed"] is None
    assert done.status in {"certified", "infeasible"}, done.sentence
    assert done.status == "certified" or "smaller" in done.sentence
    assert not [each for each in failed(done).values() if "Error:" in each], failed(done)
    if done.verdict is not None:
        assert done.verdict.outcome == "accept"
    assert at_work(model) == before


@pytest.mark.parametrize("odd", ["nan", "stranger", "one row at a time"])
def test_a_model_that_cannot_be_scored_is_the_reason(
    home: Home, clock: ReplayClock, odd: str
) -> None:
    """Breaks when the chains are blamed for a champion that answers nothing."""
    model = registered(home, graph(odd), clock)
    before = at_work(model)
    done = model.compress(GRAPH_CHAINS, tau=-0.1)
    assert done.status == "infeasible"
    assert done.sentence.startswith("infeasible: the model itself has no scores: ")
    assert [each["chain"] for each in done.trials] == ["nothing"]
    assert at_work(model) == before


def test_a_graph_of_unknown_training_waits_for_rows_after_it(
    home: Home, clock: ReplayClock
) -> None:
    """Breaks when rows that it may have seen certify it, or a certified one is never judged."""
    model = declared(home)
    model.feed.append(rows(1_000))
    model.register(OnnxModel.read(graph(), classes=(False, True)))
    before = at_work(model)
    with pytest.raises(Refused, match="has not trained on"):
        model.compress(["prune.magnitude:share=0.95"], tau=-0.1)
    clock.move_to(START + timedelta(days=1))
    model.feed.append({name: each for name, each in rows(50, 2).items() if name != "target"})
    with pytest.raises(Refused, match="has not trained on"):
        model.compress(["prune.magnitude:share=0.95"], tau=-0.1)
    model.feed.append(rows(1_000, 1))
    done = model.compress(["prune.magnitude:share=0.95"], tau=-0.1)
    assert done.status == "certified", done.sentence
    assert done.certificate is not None
    assert done.certificate.n_rows < 400
    assert done.verdict is not None
    assert done.verdict.outcome == "accept", done.verdict.reason
    assert at_work(model) == before


def test_a_network_whose_export_is_not_equal_stays_as_it_is(
    tmp_path: Path, clock: ReplayClock
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    network = importlib.import_module("renewal.models.torch_model").TorchModel
    tuning = importlib.import_module("renewal.models.layers").Tuning
    unsteady = importlib.import_module("tests.story.torch_unsteady").Unsteady
    trust = '["tests.story.torch_unsteady.Unsteady"]'
    (tmp_path / "salt").write_bytes(SALT)
    (tmp_path / "renewal.toml").write_text(f"trust = {trust}\n{POLICY}", encoding="utf-8")
    with open_home(tmp_path, clock=clock) as home:
        recipe = network(unsteady, {"n_inputs": 3}, tuning(epochs=1, batch=256))
        model = trained(home, recipe, rows(600))
        before = at_work(model)
        done = model.compress(["export.graph", "recover.distil"], tau=-0.1)
        assert done.status == "infeasible", done.sentence
        reasons = failed(done)
        assert list(reasons) == ["export.graph", "recover.distil"]
        assert all("export" in each for each in reasons.values()), reasons
        assert at_work(model) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("prefers = 'none'", "Did you mean 'prefer'?"),
        ("prefer = 'smallest'", "smallest certified"),
        ("tau = [1]", "tau"),
        ("budget = 300", "budget"),
        ("alpha = 0.7", "alpha"),
        ("chains = 'prune.forest'", "chains"),
        ("objective = 'size'", "objective"),
    ],
)
def test_a_policy_that_means_nothing_is_refused_with_its_key(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "renewal.toml").write_text(f"[compress]\n{text}\n", encoding="utf-8")
    with pytest.raises(Invalid, match=re.escape(says)):
        open_home(tmp_path).close()


def test_an_unknown_technique_in_the_policy_is_told_when_it_is_asked(tmp_path: Path) -> None:
    text = f'{POLICY}[compress]\nchains = ["prune.forrest:*"]\n'
    (tmp_path / "renewal.toml").write_text(text, encoding="utf-8")
    with open_home(tmp_path) as home:
        model = trained(home, data=rows(100))
        with pytest.raises(NotFound, match=r"prune\.forest"):
            model.compress()
        assert states(model) == []


def test_an_empty_feed_is_told_by_both_commands(home: Home) -> None:
    model = declared(home)
    known = pd.DataFrame(rows(200))
    fitted = LogisticRegression().fit(known[["a", "b", "c"]], known["target"])
    model.register(fitted, trained_on=known)
    before = at_work(model)
    for command in (model.compress, model.compile):
        with pytest.raises(RenewalError, match="rows to"):
            command()
    assert at_work(model) == before
    assert json.dumps(states(model)) == '["failed"]'
