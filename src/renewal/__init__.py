"""Renewal keeps deployed machine-learning models up to date.

A model in service is a name that points at a digest, and an update is a transaction on
that name. Start with `open`; everything else hangs on the home that it returns.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from renewal.assemble.home import Home, open_home
    from renewal.assemble.model import Model
    from renewal.assemble.updating import Update
    from renewal.core.clock import ReplayClock
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
    from renewal.core.verdict import Verdict

    open = open_home  # noqa: A001  # `renewal.open` reads as what it does

__version__ = "0.1.0"

# Where each name lives. Nothing is imported before it is asked for: `import renewal` must
# cost no more than this file.
_FACE = {
    "Conflict": "renewal.core.errors",
    "Corrupt": "renewal.core.errors",
    "Failed": "renewal.core.errors",
    "Home": "renewal.assemble.home",
    "Invalid": "renewal.core.errors",
    "Missing": "renewal.core.errors",
    "Model": "renewal.assemble.model",
    "NotFound": "renewal.core.errors",
    "Refused": "renewal.core.errors",
    "RenewalError": "renewal.core.errors",
    "ReplayClock": "renewal.core.clock",
    "Unavailable": "renewal.core.errors",
    "Update": "renewal.assemble.updating",
    "Verdict": "renewal.core.verdict",
    "open": "renewal.assemble.home",
}

__all__ = [
    "Conflict",
    "Corrupt",
    "Failed",
    "Home",
    "Invalid",
    "Missing",
    "Model",
    "NotFound",
    "Refused",
    "RenewalError",
    "ReplayClock",
    "Unavailable",
    "Update",
    "Verdict",
    "open",
]


def __getattr__(name: str) -> Any:
    """Import a name of the face when it is first asked for."""
    if name not in _FACE:
        message = f"module 'renewal' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_FACE[name]), "open_home" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the face."""
    return [*__all__, "__version__"]
