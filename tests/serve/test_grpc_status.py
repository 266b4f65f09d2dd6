"""The status of each error, and what travels beside it."""

from __future__ import annotations

import numpy as np
import pytest
from grpc import StatusCode

from renewal.core.errors import (
    Conflict,
    Corrupt,
    Failed,
    Invalid,
    Missing,
    NotFound,
    Refused,
    RenewalError,
    Unavailable,
)
from renewal.serve.grpc_status import code_of, details_of, trailers_of, trailers_with
from renewal.serve.outcome import Outcome

SAID = {"needs": "a thing", "came": "none", "todo": "Bring it."}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x", **SAID), StatusCode.NOT_FOUND),
        (Invalid("x", **SAID), StatusCode.INVALID_ARGUMENT),
        (Invalid("x", **SAID, reason="large"), StatusCode.INVALID_ARGUMENT),
        (Unavailable("x", **SAID), StatusCode.UNAVAILABLE),
        (Unavailable("x", **SAID, reason="full"), StatusCode.RESOURCE_EXHAUSTED),
        (Unavailable("x", **SAID, reason="late"), StatusCode.DEADLINE_EXCEEDED),
        (Refused("x", **SAID, reason="token"), StatusCode.UNAUTHENTICATED),
        (Refused("x", **SAID), StatusCode.PERMISSION_DENIED),
        (Failed("x", **SAID), StatusCode.INTERNAL),
        (Corrupt("x", **SAID), StatusCode.INTERNAL),
        (Missing("x", **SAID), StatusCode.UNIMPLEMENTED),
        (Conflict("x", **SAID), StatusCode.ABORTED),
        (RenewalError("x", **SAID), StatusCode.INTERNAL),
    ],
)
def test_every_error_has_its_code(error: RenewalError, code: StatusCode) -> None:
    assert code_of(error) is code


def test_a_message_that_quotes_its_input_fits_into_a_header() -> None:
    """Breaks when a client's own megabyte comes back as a header that no client takes."""
    error = NotFound("x", needs="a model", came=repr("ä" * 100_000), todo="Check it.")
    assert len(details_of(error)) < 1100
    assert details_of(NotFound("x", **SAID)) == "x needs a thing; got none. Bring it."


def test_when_to_try_again_is_told_twice_where_nothing_was_begun() -> None:
    """Breaks when gRPC's own retries do not hear of it, or repeat what was begun."""
    swapping = Unavailable("x", **SAID, retry_after_s=1.5)
    assert trailers_of(swapping) == (("retry-after", "2"), ("grpc-retry-pushback-ms", "1500"))
    full = Unavailable("x", **SAID, retry_after_s=0.2, reason="full")
    assert trailers_of(full) == (("retry-after", "1"),)
    assert trailers_of(Invalid("x", **SAID)) == ()


def test_who_answered_is_told_by_the_names_of_http() -> None:
    outcome = Outcome("m", "v3", "3", "champion", "P", "R", {"x": np.zeros(1)}, (), 1)
    assert dict(trailers_with(outcome)) == {
        "x-renewal-version": "v3",
        "x-renewal-arm": "champion",
        "x-renewal-prediction-id": "P",
    }


@pytest.mark.parametrize("arm", ["größer", "a\nb", ""])
def test_an_arm_may_have_any_name(arm: str) -> None:
    """Breaks when gRPC refuses the metadata, and with it every answer of the arm."""
    outcome = Outcome("m", "v3", "3", arm, "P", "R", {"x": np.zeros(1)}, (), 1)
    told = dict(trailers_with(outcome))["x-renewal-arm"]
    assert told.isascii()
    assert told.isprintable()
