"""How a call travels to a worker and its end travels back: pickled, and refused in words."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any

from renewal.core.errors import Invalid, RenewalError, Unavailable
from renewal.engine.contract import Ran

_LARGE_NOTE = "Put rows and models into the store and hand over their digest."


def pack_call(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    label: str,
    *,
    most_bytes: int | None = None,
) -> bytes:
    """Pickle a function by its name, and what it is handed.

    Parameters
    ----------
    function : callable
        Importable by name.
    args : tuple
        They pickle.
    label : str
        Of the call, for the error.
    most_bytes : int or None, default None
        Larger calls are refused; None: any size.

    Raises
    ------
    Invalid
        When a worker could not import the function, or the arguments do not pickle, or they
        are too large.

    Examples
    --------
    >>> unpack_call(pack_call(max, (2, 3), "larger"), "larger")
    (<built-in function max>, (2, 3))
    >>> pack_call(lambda: 1, (), "mine")
    Traceback (most recent call last):
    ...
    renewal.core.errors.Invalid: mine needs a function ... that a worker can import by name...
    """
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if getattr(function, "__module__", None) == "__main__":
        raise Invalid(
            label,
            needs="a function of a module that a worker can import",
            came=f"{name!r} of the script that is running",
            todo="Move it into a module of its own and import it from there.",
        )
    try:
        packed = pickle.dumps((function, args), protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Invalid(
            label,
            needs="a function and arguments that pickle, the function one that a worker can "
            "import by name",
            came=f"{name!r}: {error}",
            todo="Move it to the top level of a module; " + _LARGE_NOTE.lower(),
        ) from error
    if most_bytes is not None and len(packed) > most_bytes:
        raise Invalid(
            label,
            needs=f"arguments of at most {most_bytes:,} bytes",
            came=f"{len(packed):,} bytes for {name!r}",
            todo=_LARGE_NOTE,
        )
    return packed


def unpack_call(packed: bytes, label: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Import the function and build its arguments, in the worker.

    Raises
    ------
    Invalid
        When a module that the call needs cannot be imported here.
    """
    try:
        function, args = pickle.loads(packed)  # noqa: S301  # our own caller's bytes
    except Exception as error:  # the worker border: the caller is told what its module raised
        raise Invalid(
            label,
            needs="a function and arguments that a worker can import",
            came=f"{type(error).__name__}: {error}",
            todo="Install their modules where workers run; nothing of the running script itself.",
        ) from error
    return function, args


def pack_ran(ran: Ran[Any], label: str, *, most_bytes: int | None = None) -> bytes:
    """Pickle what a function returned, with its cost.

    Raises
    ------
    Invalid
        When it does not pickle, or is larger than `most_bytes`.
    """
    try:
        packed = pickle.dumps(ran, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # whatever a value's own pickling raises
        raise Invalid(
            label,
            needs="a function that returns what pickles",
            came=f"{type(ran.value).__name__}: {error}",
            todo="Put it into the store and return its digest.",
        ) from error
    if most_bytes is not None and len(packed) > most_bytes:
        raise Invalid(
            label,
            needs=f"a function that returns at most {most_bytes:,} bytes",
            came=f"{len(packed):,} bytes",
            todo="Put them into the store and return their digest.",
        )
    return packed


def pack_error(error: BaseException, label: str) -> bytes:
    """Pickle what a function raised; one that would not come back whole says what it was.

    A `MemoryError` becomes `Unavailable` with the reason ``memory``, a `SystemExit` one with
    the reason ``lost``. The traceback of the
    worker comes along as a note.
    """
    came = "".join(traceback.format_exception(error))
    told: BaseException = error
    if isinstance(error, MemoryError):
        told = out_of_memory(label, f"MemoryError: {error}")
    elif isinstance(error, SystemExit):
        told = left(label, error)
    packed = _whole(told)
    if packed is None:
        packed = pickle.dumps(RuntimeError(f"{type(error).__qualname__}: {error}"))
    return pickle.dumps((packed, came))


def unpack_end(kind: str, packed: bytes, label: str) -> tuple[Ran[Any] | None, Exception | None]:
    """Return what the function returned with its cost, or what it raised, in the caller's process.

    Parameters
    ----------
    kind : str
        ``ran``, or anything else for an error.
    packed : bytes
        Of `pack_ran` or `pack_error`.
    label : str
        Of the call, for the error.
    """
    try:
        if kind == "ran":
            return pickle.loads(packed), None  # noqa: S301  # our own worker's bytes
        inner, came = pickle.loads(packed)  # noqa: S301  # as above
        error: Exception = pickle.loads(inner)  # noqa: S301  # as above
    except Exception as failed:  # noqa: BLE001  # a stranger's class: its call alone has failed
        return None, Invalid(
            label,
            needs="a value, or an error, that pickles back in this process",
            came=f"{type(failed).__name__}: {failed}",
            todo="Import its module here, or return plain values.",
        )
    error.add_note("Raised in a worker:\n" + came)
    return None, error


def out_of_memory(label: str, came: str) -> RenewalError:
    """Return the error of a call that took more memory than there is, or than it may."""
    return Unavailable(
        label,
        needs="a worker with enough memory",
        came=came,
        todo="Use fewer rows, fewer workers, or allow more memory.",
        reason="memory",
    )


def out_of_time(label: str, limit_s: float) -> RenewalError:
    """Return the error of a call that took longer than it may."""
    return Unavailable(
        label,
        needs=f"to end within {limit_s:g} s",
        came="one that went on",
        todo="Allow more time, or a smaller search.",
        reason="time",
    )


def lost(label: str, came: str, reason: str = "lost") -> RenewalError:
    """Return the error of a call whose worker died, or was let go (``cancelled``)."""
    return Unavailable(
        label,
        needs="a worker that lives to the end",
        came=came,
        todo="Try again; where it dies again, run it with the inline engine to see why.",
        reason=reason,
    )


def left(label: str, error: SystemExit) -> RenewalError:
    """Return the error of a call that called `sys.exit`: nobody but itself is to end."""
    return lost(label, f"a function that left by SystemExit: {error}")


def _whole(error: BaseException) -> bytes | None:
    """Pickle an error; None where its type does not survive that, as many do not."""
    if not isinstance(error, Exception):
        return None  # an interrupt of the worker is none of its caller
    try:
        packed = pickle.dumps(error)
        back = pickle.loads(packed)  # noqa: S301  # what was pickled on the line above
        same = type(back) is type(error) and str(back) == str(error)
    except Exception:  # noqa: BLE001  # whatever a stranger's pickling raises: then it is not whole
        return None
    return packed if same else None
