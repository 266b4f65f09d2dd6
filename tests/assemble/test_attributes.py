"""A protected attribute: no model sees it, and yet a guard vetoes by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from renewal.assemble.home import Home, open_home
from renewal.assemble.model import Model
from renewal.cli.main import main
from renewal.core.clock import ReplayClock
from renewal.core.errors import Conflict, Invalid
from renewal.core.spec import ModelSpec
from renewal.core.verdict import Verdict
from renewal.registry.codec import from_plain, to_plain

START = datetime(2020, 1, 6, tzinfo=UTC)
A_DAY = 100
BLIND = make_pipeline(
    ColumnTransformer([("merit", "passthrough", ["merit"])]), LogisticRegression()
)


def loans(days: range) -> dict[str, Any]:
    """Return loans whose district gives the sex away, which the labels are biased by."""
    rng = np.random.default_rng(days.start)
    n = A_DAY * len(days)
    is_male = rng.random(n) < 0.5
    merit = rng.normal(size=n)
    sign = np.where(is_male, 1.0, -1.0)
    at = [START + timedelta(days=days.start, minutes=14 * number) for number in range(n)]
    return {
        "loan": [f"{days.start}-{number}" for number in range(n)],
        "at": at,
        "merit": merit,
        "district": sign + 0.3 * rng.normal(size=n),
        "sex": np.where(is_male, "M", "F").tolist(),
        "repaid": (merit + 0.8 * sign + rng.logistic(size=n) > 0).astype(np.int64),
    }


def declared(home: Home) -> Model:
    return home.model(
        "loans",
        task="binary",
        target="repaid",
        key="loan",
        time="at",
        label_delay="1d",
        attributes="sex",
    )


def judged(folder: Path, policy: str) -> tuple[Verdict, Model]:
    """Judge a candidate that reads the district beside a champion that reads merit alone."""
    (folder / "renewal.toml").write_text(policy, encoding="utf-8")
    clock = ReplayClock(START + timedelta(days=20))
    with open_home(folder, clock=clock) as home:
        model = declared(home)
        past = loans(range(20))
        model.train(BLIND, past)
        model.train(LogisticRegression(), past)
        clock.move_to(START + timedelta(days=40))
        model.feed.append(loans(range(20, 40)))
        return model.gate("v2"), model


@pytest.mark.parametrize("guarded", ["groups", "slices"])
def test_a_guard_vetoes_by_a_column_that_no_model_sees(tmp_path: Path, guarded: str) -> None:
    """Breaks when attributes are lost between feed and gate, or leak into the inputs."""
    policy = f'[gate.guards]\n{guarded} = ["sex"]\n'
    verdict, model = judged(tmp_path, policy)
    found = [each for each in verdict.clauses if "sex" in each.name]
    assert found, "no guard looked at the attribute"
    for version in ("v1", "v2"):
        signature = model.version(version).manifest.signature
        assert signature is not None
        assert signature.names == ("merit", "district")
    if guarded == "slices":
        # Better for both: the guard looked, and found no harm to either.
        assert verdict.outcome == "accept", verdict.reason
        assert {each.name for each in found} == {"slice sex=F", "slice sex=M"}
        return
    assert verdict.outcome == "reject", verdict.reason
    failed = [each for each in found if each.state == "fails"]
    assert failed
    assert "selection rate" in failed[0].sentence
    assert "sex=F" in failed[0].sentence
    assert "sex=M" in failed[0].sentence


def test_without_the_guard_it_would_have_been_accepted(tmp_path: Path) -> None:
    """Breaks when the test above rejects for another reason than the one it names."""
    verdict, _model = judged(tmp_path, "")
    assert verdict.outcome == "accept", verdict.reason


@pytest.mark.parametrize("said", ["sex, age", ["sex", "age"], ("sex", "age")])
def test_attributes_are_declared_in_any_of_three_forms(tmp_path: Path, said: Any) -> None:
    with open_home(tmp_path) as home:
        model = home.model("m", task="binary", target="y", attributes=said)
        assert model.spec.attributes == ("sex", "age")
        assert home.model("m").spec == model.spec


@pytest.mark.parametrize(
    "said", [["y"], ["k"], ["at"], ["g"], ["b"], ["s"], ["sex", "sex"], ["sex", ""], "sex,"]
)
def test_a_column_has_one_meaning(tmp_path: Path, said: Any) -> None:
    """Breaks when the target could be kept beside the rows under a second name."""
    with open_home(tmp_path) as home, pytest.raises(Invalid, match="no other meaning"):
        home.model(
            "m",
            task="binary",
            target="y",
            key="k",
            time="at",
            group="g",
            block="b",
            sticky="s",
            attributes=said,
        )


def test_the_command_line_declares_them_and_slices_by_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Breaks when `train --attribute` makes inputs of them, or `evaluate --slice` misses them."""
    home, past, since = (str(tmp_path / name) for name in ("home", "past.parquet", "new.parquet"))
    for path, days in ((past, range(3)), (since, range(3, 6))):
        pq.write_table(pa.table({**loans(days), "born": ["1970"] * (A_DAY * len(days))}), path)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", home])
        out = capsys.readouterr()
        assert not ended.value.code, out.err
        return out.out

    run("init")
    names = "--task binary --target repaid --key loan --time at --attribute sex --attribute born"
    estimator = "sklearn.linear_model:LogisticRegression"
    run("train", "loans", "--estimator", estimator, "--data", past, *names.split())
    with open_home(home) as opened:
        assert opened.model("loans").spec.attributes == ("sex", "born")
        signature = opened.model("loans").version("champion").manifest.signature
        assert signature is not None
        assert signature.names == ("merit", "district")
        opened.model("loans").feed.append(pq.read_table(since))
    shown = run("evaluate", "loans", "champion", "--slice", "sex")
    assert "sex=F" in shown
    assert "sex=M" in shown


def test_a_model_that_was_declared_before_attributes_existed_is_found(tmp_path: Path) -> None:
    """Breaks when a stored declaration without the field cannot be read, or differs."""
    plain = to_plain(ModelSpec("m", "binary", "y"))
    del plain["attributes"]
    assert from_plain(ModelSpec, plain) == ModelSpec("m", "binary", "y")
    with open_home(tmp_path) as home:
        home.model("m", task="binary", target="y")
        with pytest.raises(Conflict, match="attributes"):
            home.model("m", task="binary", target="y", attributes=["sex"])
