"""A fit of boosted trees as a value, and what LightGBM and XGBoost each bring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from renewal.models.boosters_rows import Matrix, Texts
from renewal.models.contract import Weights
from renewal.models.space import Space
from renewal.models.task import Classes


@dataclass(frozen=True, slots=True, eq=False)
class Boosted:
    """A fit with all that is needed to use it, to go on with it and to do it again.

    Parameters
    ----------
    library : str
        Name of its adapter.
    is_classifier : bool
        Whether it scores classes.
    params : mapping
        Of the recipe, as JSON values.
    booster : object
        The library's own.
    columns : tuple of str or None
        Inputs in the order of the fit; None: it was fitted on a matrix without names.
    texts : tuple
        For each column the texts that became categories; None: numbers.
    classes : tuple
        Sorted; a score column each. Empty for values.
    """

    library: str
    is_classifier: bool
    params: Mapping[str, Any]
    booster: Any
    columns: tuple[str, ...] | None
    texts: Texts
    classes: Classes


@dataclass(frozen=True, slots=True)
class Job:
    """Rows as the library takes them, and the recipe that they are fitted by.

    Parameters
    ----------
    params : mapping
        Of the recipe, the seed filled in.
    is_classifier : bool
        Whether `target` holds places of `classes`.
    classes : tuple
        Of the model, whether or not each occurs here.
    matrix : ndarray of float64, shape (n_rows, n_columns)
        Inputs; NaN is missing.
    target : ndarray of float64, shape (n_rows,)
        Places of classes, or values.
    weights : ndarray of float64 or None, shape (n_rows,)
        How much each row counts.
    columns : tuple of str
        Names of the columns of `matrix`.
    texts : tuple of int
        Places of the columns that hold categories.
    """

    params: Mapping[str, Any]
    is_classifier: bool
    classes: Classes
    matrix: Matrix
    target: NDArray[np.float64]
    weights: Weights | None
    columns: tuple[str, ...]
    texts: tuple[int, ...]


class BoosterLibrary(ABC):
    """What an adapter of boosted trees asks of its library."""

    name: ClassVar[str]
    reads_forward: ClassVar[tuple[str, ...]]
    _recipes: ClassVar[tuple[type, type]]  # of classes, of values
    _errors: ClassVar[tuple[type[Exception], ...]]
    _space: ClassVar[Space]

    @abstractmethod
    def _train(self, job: Job) -> Any:
        """Return a booster, fitted from nothing."""

    @abstractmethod
    def _more(self, job: Job, booster: Any, rounds: int) -> Any:
        """Return a copy of `booster` with further rounds."""

    @abstractmethod
    def _leaves(self, job: Job, booster: Any, decay: float) -> Any:
        """Return a copy of `booster` with other leaf values."""

    @abstractmethod
    def _raw(self, model: Boosted, matrix: Matrix) -> Any:
        """Return what the library predicts: probabilities or values."""

    @abstractmethod
    def _written(self, booster: Any) -> bytes:
        """Return the library's own format."""

    @abstractmethod
    def _read(self, payload: bytes, params: Mapping[str, Any]) -> Any:
        """Return the booster in what `_written` returned, for a recipe with `params`."""

    @abstractmethod
    def _checked(self, payload: bytes, params: Mapping[str, Any]) -> Any:
        """Return the booster in bytes that anybody may have written.

        The libraries believe their bytes, and a tree that points beyond its arrays ends the
        process; what is unsound raises one of `_errors`.
        """

    @abstractmethod
    def _n_trees(self, booster: Any) -> int:
        """Return the number of trees."""

    @abstractmethod
    def _adopted(self, estimator: Any) -> tuple[Any, tuple[str, ...] | None, Texts, int | None]:
        """Return booster, columns, texts and best rounds of a fit that was made elsewhere."""

    @abstractmethod
    def _why_not_continued(self, params: Mapping[str, Any]) -> str | None:
        """Return why a fit by this recipe cannot be continued; None when it can."""

    @abstractmethod
    def _is_fitted(self, estimator: Any) -> bool:
        """Say whether an estimator of `_recipes` was fitted."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return Python and the libraries that the bytes need, with their versions."""
