"""Where work runs: the engine's part of the policy."""

from __future__ import annotations

from dataclasses import dataclass

from renewal.core.errors import Invalid

_MOST_WORKERS = 4096


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Where updates are fitted, and what a worker may take.

    Parameters
    ----------
    kind : str, default "inline"
        A registered engine: ``inline`` (this process), ``processes`` (workers of this
        machine) or ``ray`` (a cluster).
    workers : int >= 1 or None, default None
        How many run at the same time; None: as many as there are processor cores.
    memory_bytes : int or None, default None
        What one worker may take; above it the worker is stopped and its candidate fails.
    address : str or None, default None
        Of a running Ray cluster; None: the ray engine starts one on this machine.
    """

    kind: str = "inline"
    workers: int | None = None
    memory_bytes: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        for name in ("workers", "memory_bytes"):
            value = getattr(self, name)
            most = _MOST_WORKERS if name == "workers" else None
            is_wrong = value is not None and (
                isinstance(value, bool) or value < 1 or (most is not None and value > most)
            )
            if is_wrong:
                raise Invalid(
                    "EngineOptions",
                    needs=f"{name} of at least 1" + (f" and at most {most:,}" if most else ""),
                    came=str(value),
                    todo="Correct [engine] in the policy, or leave it out.",
                )
