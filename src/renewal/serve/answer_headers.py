"""What every protocol says in the headers of an answer: who gave it, and by which id."""

from __future__ import annotations

from renewal.serve.outcome import Outcome

VERSION, ARM = b"x-renewal-version", b"x-renewal-arm"
PREDICTION_ID = b"x-renewal-prediction-id"


def answer_headers(outcome: Outcome) -> dict[bytes, bytes]:
    """Return the headers that name version, arm and prediction id; a body may have no place."""
    return {
        VERSION: outcome.version.encode(),
        ARM: outcome.arm.encode(),
        PREDICTION_ID: outcome.prediction_id.encode(),
    }
