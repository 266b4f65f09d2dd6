"""The policy file: defaults, overrides for one model, and every wrong key named."""

from datetime import timedelta
from pathlib import Path

import pytest

from renewal.assemble.policy import Policy, PolicyFile, decode, encode, read_policy
from renewal.core.errors import Invalid


def test_missing_file_means_defaults(tmp_path: Path) -> None:
    assert read_policy(tmp_path / "renewal.toml").of() == Policy()


def test_durations_numbers_and_lists_are_read(tmp_path: Path) -> None:
    path = tmp_path / "renewal.toml"
    path.write_text(
        'trust = ["shop.Cleaner"]\n[update]\nevery = "2w"\nrecipes = ["retrain"]\n'
        "[gate]\nalpha = 0.1\n[rollout]\ncanary = [0.2, 0.6]\n",
        encoding="utf-8",
    )
    policy = read_policy(path).of()
    assert policy.update.every == timedelta(weeks=2)
    assert policy.update.recipes == ("retrain",)
    assert policy.gate.alpha == 0.1
    assert policy.rollout.canary == (0.2, 0.6)
    assert policy.trust == ("shop.Cleaner",)


def test_one_model_may_differ() -> None:
    file = PolicyFile(
        {"gate": {"alpha": 0.1}, "models": {"m": {"gate": {"budget": 0.5}, "trust": ["a.B"]}}}
    )
    assert file.of("m").gate.budget == 0.5
    assert file.of("m").gate.alpha == 0.1
    assert file.of("m").trust == ("a.B",)
    assert file.of("other").gate.budget == 0.2


@pytest.mark.parametrize(
    ("table", "offers"),
    [
        ({"gate": {"alhpa": 0.1}}, "'alpha'"),
        ({"gat": {}}, "'gate'"),
        ({"update": {"every": "soon"}}, "duration"),
        ({"gate": {"alpha": "much"}}, "float"),
        ({"gate": {"alpha": 3.0}}, "alpha"),
        ({"rollout": {"canary": [0.5, 0.1]}}, "grow"),
        ({"gate": 7}, "table"),
    ],
)
def test_wrong_entry_is_an_error_that_helps(table: dict[str, object], offers: str) -> None:
    with pytest.raises(Invalid, match=offers):
        PolicyFile(table).of()


def test_what_belongs_to_the_whole_server_is_refused_for_one_model(tmp_path: Path) -> None:
    """Breaks when `memory` of one model is read, and nobody ever looks at it."""
    path = tmp_path / "renewal.toml"
    path.write_text("[models.m.serve]\nlog_sample = 0.5\n", encoding="utf-8")
    assert read_policy(path).of("m").serve.log_sample == 0.5
    path.write_text('[models.m.serve]\nmemory = "unload_first"\n', encoding="utf-8")
    with pytest.raises(Invalid, match=r"models\.m\.serve.*'memory'.*\[serve\]"):
        read_policy(path)


def test_broken_toml_and_wrong_model_table_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "renewal.toml"
    path.write_text("[gate", encoding="utf-8")
    with pytest.raises(Invalid, match=r"renewal\.toml"):
        read_policy(path)
    path.write_text("[models.m.gate]\nalhpa = 1\n", encoding="utf-8")
    with pytest.raises(Invalid, match="alpha"):
        read_policy(path)


def test_what_is_encoded_decodes_to_the_same() -> None:
    policy = decode(Policy, {"update": {"cooldown": "90m"}, "trust": ["x.Y"]}, "here")
    assert decode(Policy, encode(policy), "there") == policy
