"""The documented surface: each command, option, policy key, error and plug-in has its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import renewal
from renewal.assemble.policy import Policy, encode
from renewal.cli.main import app
from renewal.cli.show import EXIT_CODES
from renewal.core import errors
from renewal.core.option_text import plain_options
from renewal.core.plugin import load_plugin, plugin_names

ROOT = Path(__file__).parents[2]


def _flat(group: Any, above: str = "") -> dict[str, Any]:
    """Return every command by the words that call it, those of groups too."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found.update(_flat(command, f"{above}{name} ") if inner else {above + name: command})
    return found


COMMANDS: dict[str, Any] = _flat(get_command(app))
ROOMS = [each.name for each in fields(Policy) if each.name != "trust"]
ERRORS = sorted(
    kind.__name__
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.RenewalError)
)


def _text(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def _section(text: str, head: str) -> str:
    found = re.search(rf"^## {re.escape(head)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {head!r}"
    return found[1]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_and_each_of_its_options_is_documented(name: str) -> None:
    section = _section(_text("guide/cli.md"), f"renewal {name}")
    command = COMMANDS[name]
    assert command.help, f"renewal {name} has no help"
    for parameter in command.params:
        if parameter.name == "help" or parameter.name in {"home", "database", "as_json"}:
            continue  # those of every command stand at the top of the page
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.name]
        shown = [each if each.startswith("-") else each.upper() for each in names]
        assert f"`{shown[0]}" in section, f"renewal {name} {shown[0]} is not on the page"


def test_the_page_of_commands_knows_no_others() -> None:
    heads = re.findall(r"^## renewal (.+)$", _text("guide/cli.md"), re.MULTILINE)
    assert sorted(heads) == sorted(COMMANDS)


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_is_documented_with_its_exit_code(name: str) -> None:
    line = next(
        (each for each in _text("guide/errors.md").splitlines() if each.startswith(f"| `{name}`")),
        "",
    )
    assert line, f"{name} is not on the page"
    code = EXIT_CODES.get(getattr(errors, name))
    if code is not None:
        assert f"| {code} |" in line


@pytest.mark.parametrize("room", [*ROOMS, "gate.guards"])
def test_each_policy_key_is_documented_with_its_default(room: str) -> None:
    section = _section(_text("guide/policy.md"), f"[{room}]")
    options = attrgetter(room)(Policy())
    shown = dict(re.findall(r"^\| `(\w+)` \| `?([^|]*?)`? \|", section, re.MULTILINE))
    # A table of its own, such as [gate.guards], has a section of its own.
    tables = {each.name for each in fields(options) if is_dataclass(getattr(options, each.name))}
    defaults = {key: _plain(value) for key, value in encode(options).items() if key not in tables}
    assert shown == defaults


@pytest.mark.parametrize("kind", ["tasks", "strategies", "triggers"])
def test_each_plugin_is_in_the_glossary(kind: str) -> None:
    glossary = _text("glossary.md")
    for name in plugin_names(kind):
        assert f"`{name}`" in glossary, f"{name} of {kind}"


@pytest.mark.parametrize("name", sorted(plugin_names("strategies")))
def test_each_option_of_a_strategy_is_documented_with_its_default(name: str) -> None:
    """Breaks on an option that nobody can find, and on a default that the page has wrong."""
    found = re.search(
        rf"^### {name}$(.*?)(?=^##|\Z)", _text("guide/updating.md"), re.MULTILINE | re.DOTALL
    )
    assert found, f"no section on {name}"
    shown = dict(re.findall(r"^\| `(\w+)` \| `?([^|]*?)`? \|", found[1], re.MULTILINE))
    options = plain_options(load_plugin("strategies", name).Options())
    assert shown == {key: _plain(value) for key, value in options.items()}


@pytest.mark.parametrize("kind", ["adapters", "engines", "strategies"])
def test_each_plugin_of_updates_is_in_their_guide(kind: str) -> None:
    page = _text("guide/updating.md")
    for name in plugin_names(kind):
        assert re.search(rf"^(\|.*`{name}`.*\||### {name}$)", page, re.MULTILINE), name


@pytest.mark.parametrize("name", sorted(plugin_names("techniques")))
def test_each_technique_is_in_its_guide_with_what_a_search_turns(name: str) -> None:
    """Breaks on a technique that nobody can find, and on another knob, or whether it learns."""
    page = _text("guide/compression.md")
    found = re.search(rf"^\| `{re.escape(name)}` \|([^|]*)\|([^|]*)\|([^|]*)\|", page, re.MULTILINE)
    assert found, f"{name} has no line in the table of techniques"
    technique = load_plugin("techniques", name)
    assert found[2].strip() == (f"`{technique.knob}`" if technique.knob else "none")
    assert found[3].strip() == ("yes" if technique.learns else "no")


def test_each_name_of_the_face_is_documented() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    for name in renewal.__all__:
        assert re.search(rf"\b(renewal\.)?{name}\b", pages), name


def test_shell_examples_use_commands_and_options_that_exist(
    blocks: Callable[[Path], list[Any]],
) -> None:
    """Blocks that cannot be run, such as `renewal serve`, at least name real options."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for line in _shell_lines(blocks(page)):
            words = line.split()[1:]
            # Of a group, such as `renewal token`, the command is two words.
            name = words[0] if words[0] in COMMANDS else " ".join(words[:2])
            assert name in COMMANDS, f"{page.name}: {line}"
            known = {
                opt for each in COMMANDS[name].params for opt in (*each.opts, *each.secondary_opts)
            }
            for option in re.findall(r"(?<=\s)--[\w-]+", line):
                assert option in known, f"{page.name}: {line}"


def _shell_lines(blocks: list[Any]) -> Iterator[str]:
    for block in blocks:
        if block.language in {"sh", "console"}:
            for line in block.text.replace("\\\n", " ").splitlines():
                bare = line.removeprefix("$ ").strip()
                if re.match(r"renewal [a-z]", bare):
                    yield bare


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_plain(each) for each in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)
