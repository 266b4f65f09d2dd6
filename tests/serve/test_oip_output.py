"""Answers of the protocol: what is binary, in which order, and what may be asked of an output."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.serve.oip_input import Wanted
from renewal.serve.oip_output import answer_bytes, check_wanted, datatype_of
from renewal.serve.outcome import Outcome

SCORES = np.array([[0.25, 0.75], [0.5, 0.5]])


def outcome(**outputs: Any) -> Outcome:
    outputs = outputs or {"label": np.array(["in time", "é"]), "probability": SCORES}
    return Outcome("m", "v3", "3", "champion", "P", "mine", outputs, ("in time", "é"), 2)


def parsed(body: bytes, n_json: int | None) -> tuple[dict[str, Any], bytes]:
    end = len(body) if n_json is None else n_json
    found: dict[str, Any] = json.loads(body[:end])
    return found, body[end:]


def test_the_usual_answer_is_json() -> None:
    found, rest = parsed(*answer_bytes(outcome()))
    assert rest == b""
    assert found == {
        "model_name": "m",
        "model_version": "3",
        "id": "mine",
        "parameters": {"prediction_id": "P", "version": "v3", "arm": "champion"},
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["in time", "é"]},
            {
                "name": "probability",
                "datatype": "FP64",
                "shape": [2, 2],
                "data": [0.25, 0.75, 0.5, 0.5],
            },
        ],
    }


def test_all_may_be_binary() -> None:
    """Breaks when bytes follow in another order than their descriptions."""
    found, rest = parsed(*answer_bytes(outcome(), all_binary=True))
    label, probability = found["outputs"]
    assert "data" not in label
    assert "data" not in probability
    size = label["parameters"]["binary_data_size"]
    assert rest[:size] == b"\x07\x00\x00\x00in time\x02\x00\x00\x00\xc3\xa9"
    assert rest[size:] == struct.pack("<4d", 0.25, 0.75, 0.5, 0.5)
    assert probability["parameters"] == {"binary_data_size": 32}


@pytest.mark.parametrize("all_binary", [True, False])
def test_what_is_said_of_one_output_wins(all_binary: bool) -> None:  # noqa: FBT001  # pytest's parameter
    wanted = [Wanted("label", {"binary_data": False}), Wanted("probability", {"binary_data": True})]
    found, rest = parsed(*answer_bytes(outcome(), wanted, all_binary=all_binary))
    assert found["outputs"][0]["data"] == ["in time", "é"]
    assert len(rest) == 32
    body, n_json = answer_bytes(outcome(), [Wanted("label"), Wanted("probability")])
    assert n_json is None
    assert json.loads(body)["outputs"][1]["data"] == SCORES.ravel().tolist()


def test_an_output_of_no_bytes_is_binary_all_the_same() -> None:
    answer = outcome(text=np.array([], dtype=object))
    found, rest = parsed(*answer_bytes(answer, all_binary=True))
    assert found["outputs"][0]["parameters"] == {"binary_data_size": 0}
    assert rest == b""


def test_classes_are_the_best_scores_with_their_names() -> None:
    wanted = [Wanted("probability", {"classification": 2})]
    found, _ = parsed(*answer_bytes(outcome(probability=SCORES), wanted))
    assert found["outputs"] == [
        {
            "name": "probability",
            "datatype": "BYTES",
            "shape": [2, 2],
            "data": ["0.750000:1:é", "0.250000:0:in time", "0.500000:0:in time", "0.500000:1:é"],
        }
    ]
    more = [Wanted("probability", {"classification": 9, "binary_data": True})]
    found, rest = parsed(*answer_bytes(outcome(probability=SCORES[:, :1]), more))
    assert found["outputs"][0]["shape"] == [2, 1]
    assert rest == b"\x0a\x00\x00\x000.250000:0\x0a\x00\x00\x000.500000:0"
    with pytest.raises(Invalid, match="'label' numbers"):
        answer_bytes(outcome(), [Wanted("label", {"classification": 1})])


@pytest.mark.parametrize(
    "said",
    [
        {"binary_data": 1},
        {"binary_data": "true"},
        {"classification": True},
        {"classification": -1},
        {"classification": 1.5},
        {"classification": 2**40},
        {"shared_memory_region": "x"},
    ],
)
def test_wrong_words_about_an_output_are_invalid(said: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="output 'label'"):
        check_wanted([Wanted("probability"), Wanted("label", said)])


@pytest.mark.parametrize(
    ("values", "datatype"),
    [
        (np.array([1], np.int32), "INT64"),
        (np.array([1], np.uint8), "INT64"),
        (np.array([1], np.float32), "FP64"),
        (np.array([True]), "BOOL"),
        (np.array(["a"]), "BYTES"),
        (np.array([], dtype=object), "BYTES"),
    ],
)
def test_binary_outputs_have_the_width_that_their_datatype_says(values: Any, datatype: str) -> None:
    assert datatype_of(values) == datatype
    found, rest = parsed(*answer_bytes(outcome(x=values), all_binary=True))
    widths = {"INT64": 8, "FP64": 8, "BOOL": 1}
    if datatype in widths:
        assert len(rest) == widths[datatype]
    assert found["outputs"][0]["datatype"] == datatype
