"""The commands on tokens: shown once, listed without, revoked by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from renewal.cli.main import main
from renewal.core.clock import SystemClock
from renewal.core.spec import ModelSpec
from renewal.registry.db import Database
from renewal.registry.registry import Registry

FORM = re.compile(r"rnw_[a-z2-7]{8}_[a-z2-7]{52}")


class Shell:
    """Runs commands in this process and reads what they print."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = str(folder)
        self.capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", self.home])
        out = self.capsys.readouterr()
        assert (ended.value.code or 0) == code, out.err
        return out.out, out.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json")[0])


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    made = Shell(tmp_path / "home", capsys)
    made.run("init")
    db = Database(f"sqlite:///{tmp_path / 'home' / 'registry.db'}")
    Registry(db, SystemClock()).create_model(ModelSpec("flights", "binary", "late"))
    db.close()
    return made


def test_the_token_stands_alone_on_standard_output(shell: Shell) -> None:
    out, said = shell.run("token", "create", "ci", "--scope", "predict", "--who", "ada")
    token = out.removesuffix("\n")
    assert FORM.fullmatch(token)
    assert "not shown again" in said
    assert token not in said


def test_its_life_by_commands(shell: Shell) -> None:
    made = shell.json(
        "token", "create", "ci", "--scope", "operate", "--scope", "predict",
        "--model", "flights", "--expires", "90d", "--who", "ada",
    )  # fmt: skip
    token = made.pop("token")
    assert (made["scopes"], made["models"], made["state"]) == (
        ["predict", "operate"],
        ["flights"],
        "valid",
    )
    assert made["created_by"] == "ada"
    assert shell.json("token", "list") == [made]
    revoked = shell.json("token", "revoke", "ci", "--who", "bob")
    assert (revoked["state"], revoked["revoked_by"]) == ("revoked", "bob")
    assert shell.json("token", "list") == [revoked]
    text, _said = shell.run("token", "list")
    assert "revoked" in text
    secret = token.split("_")[2]
    assert secret[:8] not in text + json.dumps(revoked)
    log = shell.json("log", "flights")
    assert [(event["kind"], event["who"]) for event in log[-2:]] == [
        ("token_made", "ada"),
        ("token_revoked", "bob"),
    ]
    assert secret[:8] not in json.dumps(log)


def test_a_home_without_tokens(shell: Shell) -> None:
    assert shell.run("token", "list")[0].strip() == "no token yet"
    assert shell.json("token", "list") == []


@pytest.mark.parametrize("text", ["2999-01-01", "2999-01-01T00:00:00", "2999-01-01T01:00+01:00"])
def test_an_expiry_by_date(shell: Shell, text: str) -> None:
    made = shell.json("token", "create", "ci", "--scope", "predict", "--expires", text)
    assert made["expires_at"] == "2999-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("create", "ci", "--scope", "predcit"), 2, "'predict'"),
        (("create", "ci", "--scope", "predict", "--expires", "soon"), 2, "90d"),
        (("create", "ci", "--scope", "predict", "--expires", "2001-01-01"), 2, "to come"),
        (("create", "ci", "--scope", "predict", "--expires", "999999999w"), 2, "90d"),
        (("create", "a b", "--scope", "predict"), 2, "name"),
        (("create", "ci", "--scope", "predict", "--model", "fligths"), 3, "flights"),
        (("create", "ci"), 2, "--scope"),
        (("revoke", "ci"), 3, "token"),
    ],
)
def test_wrong_input_makes_nothing(
    shell: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    said = shell.run("token", *arguments, code=code)[1]
    assert says in said
    assert "Traceback" not in said
    assert shell.json("token", "list") == []


def test_a_name_is_given_once(shell: Shell) -> None:
    shell.run("token", "create", "ci", "--scope", "predict")
    assert "Conflict" in shell.run("token", "create", "ci", "--scope", "predict", code=4)[1]
