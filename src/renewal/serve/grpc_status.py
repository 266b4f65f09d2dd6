"""Errors as statuses of gRPC, and what a call's trailing metadata tells."""

from __future__ import annotations

from grpc import StatusCode

from renewal.core.errors import RenewalError
from renewal.serve.answer_headers import ARM, PREDICTION_ID, VERSION
from renewal.serve.http import BAD, MISSING, NO_TOKEN, NOT_READY, UNSUPPORTED, status_of
from renewal.serve.outcome import Outcome

Trailers = tuple[tuple[str, str], ...]

# The one table of errors is HTTP's (`renewal.serve.http.status_of`); this one translates it.
_CODES: dict[int, StatusCode] = {
    BAD: StatusCode.INVALID_ARGUMENT,
    NO_TOKEN: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    MISSING: StatusCode.NOT_FOUND,
    409: StatusCode.ABORTED,
    413: StatusCode.INVALID_ARGUMENT,
    415: StatusCode.INVALID_ARGUMENT,
    429: StatusCode.RESOURCE_EXHAUSTED,
    UNSUPPORTED: StatusCode.UNIMPLEMENTED,
    NOT_READY: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}
_VERSION, _ARM, _PREDICTION_ID = (each.decode() for each in (VERSION, ARM, PREDICTION_ID))
# A status travels in headers, of which a peer takes 8 KiB: a message that quotes its input is cut.
_MAX_CHARS = 1000


def code_of(error: RenewalError) -> StatusCode:
    """Return the status of an error.

    Examples
    --------
    >>> from renewal.core.errors import NotFound
    >>> code_of(NotFound("the server", needs="a model", came="'x'", todo="Check it."))
    <StatusCode.NOT_FOUND: (5, 'not found')>
    """
    return _CODES.get(status_of(error), StatusCode.INTERNAL)


def details_of(error: RenewalError) -> str:
    """Return the message of an error, short enough for a header."""
    text = str(error)
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}..."


def trailers_of(error: RenewalError) -> Trailers:
    """Return what an error says beside its message.

    ``retry-after`` in seconds, as over HTTP; and where the call was not begun, the same in
    milliseconds as ``grpc-retry-pushback-ms``, which gRPC's own retries obey.
    """
    retry_after_s = error.fields.get("retry_after_s")
    if retry_after_s is None:
        return ()
    told = ("retry-after", str(max(1, round(retry_after_s))))
    if code_of(error) is not StatusCode.UNAVAILABLE:
        return (told,)
    return (told, ("grpc-retry-pushback-ms", str(round(1e3 * retry_after_s))))


def trailers_with(outcome: Outcome) -> Trailers:
    """Return who answered, under the names that HTTP's headers have."""
    arm = outcome.arm
    if not (arm.isascii() and arm.isprintable()):
        # Metadata is ASCII; the name of an arm is its owner's, and stands whole in the message.
        arm = ascii(arm)
    return (
        (_VERSION, outcome.version),
        (_ARM, arm),
        (_PREDICTION_ID, outcome.prediction_id),
    )
