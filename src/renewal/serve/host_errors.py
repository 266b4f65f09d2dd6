"""What is said of the process of a version that does not answer."""

from __future__ import annotations

from renewal.core.errors import Failed, RenewalError, Unavailable

_SOON_S = 1.0


def died(who: str, cause: str) -> RenewalError:
    """Return the error of a prediction whose process died under it."""
    return Unavailable(
        who,
        needs="its process to live until it has answered",
        came=cause,
        todo="Try again: it is being started again.",
        reason="lost",
        retry_after_s=_SOON_S,
    )


def died_loading(who: str, cause: dict[str, str]) -> RenewalError:
    """Return the error of a version whose process died while it was loaded."""
    if cause["reason"] == "memory":
        return out_of_memory(who, cause["came"])
    return Failed(
        who,
        needs="a process that lives until it is loaded",
        came=cause["came"],
        todo="Do not serve it; see the server's log for its last words.",
        reason=cause["reason"],
    )


def out_of_memory(who: str, came: str) -> RenewalError:
    """Return the error of a version for which there is not enough memory."""
    return Unavailable(
        who,
        needs="enough memory",
        came=came,
        todo="Send fewer rows, or give the machine more memory.",
        reason="memory",
        retry_after_s=_SOON_S,
    )


def hung(who: str, limit_s: float) -> RenewalError:
    """Return the error of a prediction that took too long; its process was killed."""
    return Unavailable(
        who,
        needs=f"to predict within {limit_s:g} s",
        came="a prediction that went on; its process was killed",
        todo="Try again with fewer rows, or allow more time.",
        reason="late",
        retry_after_s=_SOON_S,
    )


def queued_too_long(who: str, limit_s: float) -> RenewalError:
    """Return the error of a prediction that waited too long for those before it."""
    return Unavailable(
        who,
        needs=f"to predict within {limit_s:g} s",
        came="other predictions before it that took as long",
        todo="Try again, or allow more time.",
        reason="late",
        retry_after_s=_SOON_S,
    )


def too_slow_to_load(who: str, limit_s: float) -> RenewalError:
    """Return the error of a version that was not loaded in time; its process was killed."""
    return Unavailable(
        who,
        needs=f"to be loaded within {limit_s:g} s",
        came="a process that was still loading",
        todo="Allow more time, or see what its loading waits for.",
        reason="time",
        retry_after_s=_SOON_S,
    )


def not_back(who: str, cause: str, again_s: float) -> RenewalError:
    """Return the error of a prediction that came while there was no process."""
    return Unavailable(
        who,
        needs="a process that is up",
        came=f"one that is being started again: {cause}",
        todo="Try again in a moment.",
        reason="lost",
        retry_after_s=again_s,
    )


def given_up(who: str, n_restarts: int, cause: str, again_s: float) -> RenewalError:
    """Return the error of a version whose process died too often."""
    return Failed(
        who,
        needs="a process that does not die",
        came=f"one that died after each of {n_restarts} starts within a minute: {cause}",
        todo="Roll the version back; see the server's log.",
        reason="lost",
        again_s=again_s,
    )


def closed(who: str) -> RenewalError:
    """Return the error of a prediction by a runtime that was closed."""
    return Unavailable(
        who,
        needs="an open runtime",
        came="a closed one",
        todo="Send it again: another version answers by now.",
        retry_after_s=1.0,
    )
