"""What a native form refuses, so that its compiled form can refuse the same rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from renewal.core.errors import Invalid

# Beyond it a number is infinite in float32, and trees that read float32 refuse it.
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Refusals:
    """Columns in which a model does not take what a column may hold.

    A graph answers where scikit-learn raises: a logistic regression on a gap says NaN or
    less. Whoever asks is to hear the same from both forms, so a compiled form is loaded with
    what the native form was found to refuse.

    Parameters
    ----------
    gaps : tuple of str, default ()
        Columns in which a null or a NaN is refused.
    infinite : tuple of str, default ()
        Columns in which an infinite number is.
    large : tuple of str, default ()
        Columns in which a finite number beyond float32 (3.4e38) is.
    """

    gaps: tuple[str, ...] = ()
    infinite: tuple[str, ...] = ()
    large: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.gaps or self.infinite or self.large)

    def demand_taken(self, features: pa.Table) -> None:
        """Raise `Invalid` when a row holds what is refused.

        Parameters
        ----------
        features : pyarrow.Table
            With every column that is named here.

        Examples
        --------
        >>> Refusals(gaps=("a",)).demand_taken(pa.table({"a": [1.0], "b": [None]}))
        >>> Refusals(infinite=("a",)).demand_taken(pa.table({"a": [1.0, float("inf")]}))
        Traceback (most recent call last):
        renewal.core.errors.Invalid: ...
        """
        for name in self.gaps:
            column = features.column(name)
            if column.null_count or (
                pa.types.is_floating(column.type) and bool(np.isnan(column.to_numpy()).any())
            ):
                raise _refused(name, "a gap")
        for name in self.infinite:
            if np.isinf(_floats(features, name)).any():
                raise _refused(name, "an infinite number")
        for name in self.large:
            numbers = np.abs(_floats(features, name))
            if ((numbers > LARGEST) & np.isfinite(numbers)).any():
                raise _refused(name, "a number beyond float32")


def _floats(features: pa.Table, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = features.column(name).to_numpy()
    return found.astype(np.float64)


def _refused(name: str, what: str) -> Invalid:
    return Invalid(
        "OnnxRuntime.predict",
        needs="rows that the model takes",
        came=f"{what} in the column {name!r}",
        todo="Send rows as the fit had them, or train the model behind an imputer.",
        column=name,
    )
