"""How large a form is: bytes, parameters, their norm, and multiplications of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Objective = Literal["bytes", "parameters", "l1", "macs", "latency"]
"""What is to be minimal: bytes on disk, parameters that are not zero, their L1 norm,
multiplications and additions of a row, or the measured time of a row."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large a form is.

    Parameters
    ----------
    bytes : int
        Of the stored artifact.
    parameters : int
        Numbers that were learned.
    nonzero : int
        Of them, those that are not zero.
    l1 : float
        Sum of their absolute values; of trees, of what their leaves say.
    macs : int or None
        Multiplications with an addition, or comparisons of trees, for one row; None where
        nobody can tell.
    """

    bytes: int
    parameters: int
    nonzero: int
    l1: float
    macs: int | None

    def of(self, objective: Objective) -> float:
        """Return what an objective reads of it; infinite where it is not known.

        ``latency`` is no property of bytes and is measured elsewhere: infinite here.
        """
        found = {
            "bytes": self.bytes,
            "parameters": self.nonzero,
            "l1": self.l1,
            "macs": self.macs,
        }.get(objective)
        return float("inf") if found is None else float(found)
