"""Compression of what nobody should compress, by what nobody should install.

Every result is defined, told in one line, and the champion is as it was: its bytes, its alias.
What would break it: a step that ends the watch or spoils the parent in memory, a certificate on
rows that the parent has seen or on a handful of rows, a trial that dies for ever, a builtin
error that reaches a user.
"""

from __future__ import annotations

import importlib
import json
import re
import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
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

from renewal.assemble.compressing import Compression
from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.cli.main import main
from renewal.compress.runner import Changed
from renewal.core.clock import ReplayClock
from renewal.core.errors import Corrupt, Invalid, NotFound, Refused, RenewalError, Unavailable
from renewal.core.plugin import _table
from renewal.loop.journal import COMPRESS, last_runs
from renewal.models.onnx_model import OnnxModel

START = datetime(2026, 1, 1, tzinfo=UTC)
# Which row is what is drawn by it: alike in every run.
SALT = b"which row is what"[:16]
POLICY = '[serve]\ncompiled = "never"\n'
GOAL: dict[str, Any] = {"tau": -0.1, "objective": "l1"}
GRAPH_CHAINS = (
    "quantize.dynamic",
    "quantize.static",
    "quantize.half",
    "prune.magnitude:share=0.7",
    "prune.neurons:share=0.5",
    "factorize.graph:*",
)

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


@pytest.fixture
def clock() -> ReplayClock:
    """Stand at the start."""
    return ReplayClock(START)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of the home."""
    return tmp_path / "home"


@pytest.fixture
def home(folder: Path, clock: ReplayClock) -> Iterator[Home]:
    """Open a home in which nothing is compiled, to be quick."""
    folder.mkdir()
    (folder / "salt").write_bytes(SALT)
    (folder / "renewal.toml").write_text(POLICY, encoding="utf-8")
    with open_home(folder, clock=clock) as opened:
        yield opened


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Install the techniques of `bad_techniques` as a package of its own."""
    folder = tmp_path / "site"
    info = folder / "bad_techniques-1.0.dist-info"
    info.mkdir(parents=True)
    text = Path(__file__).with_name("bad_techniques.py").read_text(encoding="utf-8")
    (folder / "bad_techniques.py").write_text(text, encoding="utf-8")
    pattern = r'^class (\w+)\(.*?name: ClassVar\[str\] = "(.*?)"'
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL)
    points = [f"{name} = bad_techniques:{kind}" for kind, name in found if kind != "_Bad"]
    (info / "METADATA").write_text("Name: bad-techniques\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "\n".join(["[renewal.techniques]", *points]), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(folder))
    _table.cache_clear()
    sys.modules.pop("bad_techniques", None)
    yield importlib.import_module("bad_techniques")
    _table.cache_clear()
    sys.modules.pop("bad_techniques", None)


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


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("leaving", "SystemExit: 3"),
        ("panicking", "PanicError: at the first line"),
        ("classes", "no, yes"),
        ("wide", "shape"),
        ("none", "NoneType"),
    ],
)
def test_a_strangers_step_fails_alone(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    name: str,
    says: str,
) -> None:
    """Breaks when one bad step ends the process, or the search of the others."""
    model = trained(home)
    before = at_work(model)
    done = model.compress([f"prune.{name}", "prune.weaker"], **GOAL)
    assert says in failed(done)[f"prune.{name}"]
    assert done.status == "certified", done.sentence
    assert at_work(model) == before


def test_a_step_that_changes_what_it_is_handed_ends_the_run(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    """Breaks when both sides of a comparison are spoiled, and the book remembers it."""
    model = trained(home)
    before = at_work(model)
    with pytest.raises(Changed, match=r"prune\.vandal"):
        model.compress(["prune.vandal", "prune.weaker"], **GOAL)
    assert states(model) == ["failed"]
    assert at_work(model) == before
    done = model.compress(["prune.weaker"], **GOAL)
    assert done.status == "certified", done.sentence
    assert done.trials[-1]["gain"] > -0.1


def test_a_person_interrupts_and_the_next_round_goes_on(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    """Breaks when Ctrl-C counts as a failed trial, or leaves a run that nobody finishes."""
    model = trained(home)
    before = at_work(model)
    with pytest.raises(KeyboardInterrupt):
        model.compress(["prune.interrupted"], **GOAL)
    assert states(model) == ["open"]
    (note,) = model.status()["notes"]
    assert note == "a compression was left open at 2026-01-01 00:00: renewal watch"
    model.tick()
    (run,) = last_runs(home.db, "m", kind=COMPRESS)
    assert run.state == "done"
    assert run.outcome is not None
    assert run.outcome["certificate"]["certified"]["status"] == "certified"
    assert at_work(model) == before


def test_a_trial_that_does_not_fit_on_the_disk_waits_for_room(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    """Breaks when a full disk is held against the chain, or half a version is registered."""
    model = trained(home)
    before = at_work(model)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(Unavailable):
            model.compress(["prune.filling"], **GOAL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert states(model) == ["open"]
    assert len(model.versions()) == 1
    model.tick()
    assert states(model) == ["done"]
    assert len(model.versions()) == 2
    assert at_work(model) == before


def test_a_step_that_hangs_is_seen_from_outside(
    home: Home,
    strangers: ModuleType,
    folder: Path,
    clock: ReplayClock,
) -> None:
    """Breaks when nobody is told what is under way since when, or a second one goes on, too."""
    model = trained(home)
    before = at_work(model)

    def ask() -> str:
        with open_home(folder, clock=clock) as other:
            return declared(other).compress(["prune.hanging"], **GOAL).status

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            assert strangers.BEGAN.wait(timeout=60)
            (note,) = model.status()["notes"]
            assert "a compression is at the step 'search' since 2026-01-01 00:00, by " in note
            with pytest.raises(Unavailable, match="held by"):
                model.tick()
            assert at_work(model) == before
        finally:
            strangers.GO_ON.set()
        assert asked.result(timeout=60) == "certified"


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_champion_whose_bytes_are_lost_is_told_and_mended_by_a_copy(
    home: Home,
    folder: Path,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    damage: str,
) -> None:
    model = trained(home)
    before = at_work(model)
    name = model.version("v1").manifest.artifact
    path = folder / "objects" / name[:2] / name[2:]
    path.unlink()
    if damage == "cut":
        path.write_bytes(before[1][:-3])
    with pytest.raises(NotFound if damage == "gone" else Corrupt, match="copy"):
        model.compress(["prune.weaker"], **GOAL)
    assert states(model) == ["failed"]
    path.unlink(missing_ok=True)
    path.write_bytes(before[1])
    assert model.compress(["prune.weaker"], **GOAL).status == "certified"
    assert at_work(model) == before


def test_a_trial_whose_bytes_are_damaged_is_done_again(
    home: Home, folder: Path, strangers: ModuleType
) -> None:
    """Breaks when a record of a trial outlives its bytes: every later search would fail."""
    model = trained(home)
    first = model.compress(["prune.weaker"], **GOAL)
    assert first.candidate is not None
    name = first.candidate.manifest.artifact
    path = folder / "objects" / name[:2] / name[2:]
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:-1])
    again = model.compress(["prune.weaker"], tau=-0.2, objective="l1")
    assert again.status == "certified", again.sentence
    assert strangers.RAN["prune.weaker"] == 2
    assert path.read_bytes() == whole


def test_three_who_ask_at_once_are_answered_one_after_the_other(
    home: Home,
    folder: Path,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    clock: ReplayClock,
) -> None:
    model = trained(home)

    def ask(_at: int) -> str:
        with open_home(folder, clock=clock) as other:
            try:
                return declared(other).compress(["prune.weaker"], **GOAL).status
            except Unavailable as error:
                return type(error).__name__

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(ask, range(3)))
    assert set(answers) <= {"certified", "Unavailable"}
    assert "certified" in answers
    assert set(states(model)) == {"done"}
    assert len(model.versions()) == 2


def test_what_is_not_certified_is_promoted_by_nobody_without_force(
    home: Home,
    strangers: ModuleType,  # noqa: ARG001  # it installs
) -> None:
    model = trained(home)
    before = at_work(model)
    done = model.compress(["prune.weaker"], tau=-0.0001, objective="l1")
    assert done.status == "uncertified", done.sentence
    assert done.candidate is not None
    for move in (model.promote, model.rollout):
        with pytest.raises(Refused, match="undecided"):
            move(done.candidate)
    assert at_work(model) == before


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


def test_the_command_answers_in_words_and_never_with_a_trace(
    home: Home,
    folder: Path,
    strangers: ModuleType,  # noqa: ARG001  # it installs
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing found is an answer (0); a run that cannot go on is not (2)."""
    trained(home)
    said = []
    for code, chains in (
        (0, ("prune.none", "prune.forest:*")),
        (0, ("prune.leaving", "prune.weaker")),
        (2, ("prune.vandal",)),
    ):
        named = [word for each in chains for word in ("--chain", each)]
        with pytest.raises(SystemExit) as ended:
            main(
                [
                    "compress",
                    "m",
                    *named,
                    "--tau",
                    "-0.1",
                    "--objective",
                    "l1",
                    "--home",
                    str(folder),
                ]
            )
        out = capsys.readouterr()
        assert (ended.value.code or 0) == code, out.err
        assert "Traceback" not in out.out + out.err
        said.append(" ".join((out.out + out.err).split()))
    assert "infeasible" in said[0]
    assert "NoneType" in said[0]
    assert "certified" in said[1]
    assert "prune.vandal needs to leave the model" in said[2]
    with pytest.raises(SystemExit):
        main(["report", "m", "v2", "--out", str(folder / "card.html"), "--home", str(folder)])
    assert "prune.weaker" in (folder / "card.html").read_text(encoding="utf-8")


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
