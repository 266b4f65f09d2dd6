"""Breaks when a claim is read as another one, or written so that it cannot be read back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renewal.core.errors import Invalid
from renewal.gate.claims import Proof, parse_proof

NAMES = st.sampled_from(["loss", "auc", "accuracy", "macro_f1", "pinball_0.9", "log_loss"])
MARGINS = st.integers(1, 99_999).map(lambda n: n / 10_000)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("superior", ("superior", "loss", 0.0, False)),
        ("superior(accuracy)", ("superior", "accuracy", 0.0, False)),
        ("superior()", ("superior", "loss", 0.0, False)),
        ("better_by(0.02)", ("better_by", "loss", 0.02, False)),
        ("better_by(.5)", ("better_by", "loss", 0.5, False)),
        ("better_by(1e-3)", ("better_by", "loss", 0.001, False)),
        ("no_worse(1%)", ("no_worse", "loss", 0.01, True)),
        ("no_worse(0.5%)", ("no_worse", "loss", 0.005, True)),
        ("no_worse(auc, 0.005)", ("no_worse", "auc", 0.005, False)),
        ("no_worse( 0.005 ,auc )", ("no_worse", "auc", 0.005, False)),
        (" no_worse (pinball_0.9, 2%) ", ("no_worse", "pinball_0.9", 0.02, True)),
    ],
)
def test_every_form_is_read(text: str, fields: tuple[Any, ...]) -> None:
    found = parse_proof(text)
    assert (found.kind, found.metric, found.is_share) == (fields[0], fields[1], fields[3])
    assert found.margin == pytest.approx(fields[2])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Write superior"),
        ("best", "Write superior"),
        ("superior!", "Did you mean 'superior'"),
        ("noworse(1%)", "Did you mean 'no_worse'"),
        ("no_worse", "margin above 0"),
        ("no_worse(auc)", "margin above 0"),
        ("no_worse(0)", "margin above 0"),
        ("better_by(0.0%)", "margin above 0"),
        ("no_worse(-1%)", "margin above 0"),
        ("superior(0.01)", "write better_by"),
        ("no_worse(1%, 2%)", "at most one metric and one margin"),
        ("superior(auc, accuracy)", "at most one metric and one margin"),
        ("superior(auc", "Did you mean 'superior'"),
    ],
)
def test_another_form_is_refused_with_a_way_out(text: str, says: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_proof(text)
    assert repr(text) in str(caught.value)
    assert says in caught.value.todo


@given(
    name=NAMES,
    margin=MARGINS,
    kind=st.sampled_from(["better_by", "no_worse"]),
    is_share=st.booleans(),
)
def test_what_is_written_is_read_back(
    name: str, margin: float, *, kind: Any, is_share: bool
) -> None:
    proof = Proof(kind, name, margin / 100 if is_share else margin, is_share)
    back = parse_proof(str(proof))
    assert (back.kind, back.metric, back.is_share) == (kind, name, is_share)
    assert back.margin == pytest.approx(proof.margin, rel=1e-5)
    assert str(back) == str(proof)
    assert parse_proof(str(Proof("superior", name))) == Proof("superior", name)


def test_a_share_is_of_the_size_of_the_baselines_value() -> None:
    """A margin of 1% of an R2 of -0.5 is 0.005, not -0.005: it must not turn around."""
    assert parse_proof("no_worse(1%)").margin_of(0.43) == pytest.approx(0.0043)
    assert parse_proof("no_worse(r2, 1%)").margin_of(-0.5) == pytest.approx(0.005)
    assert parse_proof("no_worse(0.02)").margin_of(0.43) == 0.02
    assert parse_proof("superior").margin_of(0.43) == 0.0
