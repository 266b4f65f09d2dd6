"""Parameters as JSON values."""

from __future__ import annotations

import numpy as np
import pytest

from renewal.core.errors import Invalid
from renewal.models.boosters_recipe import demand_known, plain_params


def test_values_become_those_of_json() -> None:
    given = {
        "n": np.int64(3),
        "t": (1, np.float32(0.5)),
        "w": {True: 2.0},
        "d": {"a": 1},
        "x": None,
    }
    found = plain_params(given, who="a test", strict=True)
    assert found == {"n": 3, "t": [1, 0.5], "w": [[True, 2.0]], "d": {"a": 1}, "x": None}
    assert type(found["n"]) is int


def test_code_is_left_out_or_refused() -> None:
    given = {"objective": len, "pairs": [print], "named": {"a": object()}, "keep": 1}
    assert plain_params(given, who="a test", strict=False) == {"keep": 1}
    with pytest.raises(Invalid, match="plain values"):
        plain_params(given, who="a test", strict=True)


def test_nothing_near_is_offered_where_nothing_is_near() -> None:
    with pytest.raises(Invalid, match="Give it to the recipe first"):
        demand_known({"zzz": 1}, {"learning_rate"}, who="a test")
