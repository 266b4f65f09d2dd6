"""Estimators that remember which rows they were shown, for suites that look for leaks.

They are real: they learn, predict, clone and copy as scikit-learn wants it. The first input
column names the row; what an estimator, its clones and its copies are shown is noted on the
tape that they share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import SGDRegressor
from sklearn.naive_bayes import GaussianNB

ROW_ID = "row_id"
"""Name of the first input column: the number of the row."""

_births = count(1)


@dataclass(slots=True)
class Tape:
    """What recording estimators were shown while it ran.

    Parameters
    ----------
    fitted : set of int
        Rows given to ``fit`` or ``partial_fit``.
    scored : set of int
        Rows that were predicted: a calibration reads its rows this way.
    births : set of int
        Marks of the fits whose parameters answered a prediction.
    """

    fitted: set[int] = field(default_factory=set)
    scored: set[int] = field(default_factory=set)
    births: set[int] = field(default_factory=set)

    @property
    def shown(self) -> set[int]:
        """Rows that were fitted or scored."""
        return self.fitted | self.scored


_TAPES: dict[str, Tape] = {}


@contextmanager
def recording(name: str) -> Iterator[Tape]:
    """Run a fresh tape for every estimator whose parameter ``tape`` is `name`.

    Parameters
    ----------
    name : str
        Shared by an estimator, its clones and its copies. Not for child processes.

    Examples
    --------
    >>> from sklearn.base import clone
    >>> features, labels = np.array([[7.0, 0.1], [8.0, 0.9]]), np.array(["a", "b"])
    >>> with recording("demo") as tape:
    ...     _ = clone(RecordingClassifier(tape="demo")).fit(features, labels)
    >>> sorted(tape.fitted)
    [7, 8]
    """
    before = _TAPES.get(name)
    tape = _TAPES[name] = Tape()
    try:
        yield tape
    finally:
        if before is None:
            del _TAPES[name]
        else:
            _TAPES[name] = before


def birth() -> int:
    """Return the mark of a new fit: another each time."""
    return next(_births)


def note(name: str, ids: Iterable[float], *, is_fit: bool, born: int) -> None:
    """Note on a tape, if it runs, what an estimator is shown.

    Parameters
    ----------
    name : str
        Of the tape.
    ids : iterable of float
        Numbers of the rows.
    is_fit : bool
        Whether it learns from them, or predicts them.
    born : int
        The mark of the fit whose parameters answer.
    """
    tape = _TAPES.get(name)
    if tape is None:
        return
    (tape.fitted if is_fit else tape.scored).update(map(int, ids))
    if not is_fit:
        tape.births.add(born)


class _Recording(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """What both recording estimators share; `tape` is a name, so that clones share it."""

    def __init__(self, tape: str = "", random_state: int | None = None) -> None:
        self.tape = tape
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803  # scikit-learn's names
        """Learn from scratch and note the rows; a fit is a new birth."""
        self.born_ = birth()
        self.inner_ = self._fresh()
        self.n_features_in_ = np.shape(X)[1]
        if hasattr(X, "columns"):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.inner_.fit(self._noted(X, "fitted"), np.asarray(y), sample_weight=sample_weight)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:  # noqa: ARG002, N803
        """Go on learning and note the rows; the birth stays."""
        self.inner_.partial_fit(self._noted(X, "fitted"), np.asarray(y))
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """Predict, and note the rows and whose parameters answered."""
        return np.asarray(self.inner_.predict(self._noted(X, "scored")))

    def _fresh(self) -> Any:
        return GaussianNB()

    def _noted(self, X: Any, what: str) -> npt.NDArray[np.float64]:  # noqa: N803
        """Note the rows on the tape, if one runs, and return the columns to learn from."""
        values = np.asarray(X, dtype=np.float64)
        note(self.tape, values[:, 0].tolist(), is_fit=what == "fitted", born=self.born_)
        return values[:, 1:]


class RecordingClassifier(ClassifierMixin, _Recording):  # type: ignore[misc]  # scikit-learn ships no types
    """Naive Bayes over all columns but the first, which names the row.

    Parameters
    ----------
    tape : str
        Name of the tape; see `recording`.
    random_state : int or None
        Nothing in it is random; seeds are taken as by any other estimator.
    """

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes, sorted, as scikit-learn names them."""
        return np.asarray(self.inner_.classes_)

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return a probability for each class, and note the rows."""
        return np.asarray(self.inner_.predict_proba(self._noted(X, "scored")), np.float64)


class RecordingRegressor(RegressorMixin, _Recording):  # type: ignore[misc]  # scikit-learn ships no types
    """A linear model by stochastic gradient over all columns but the first.

    Parameters
    ----------
    tape : str
        Name of the tape; see `recording`.
    random_state : int or None
        Order of the rows in a fit.
    """

    def _fresh(self) -> Any:
        return SGDRegressor(random_state=self.random_state)


class FixedClassifier(RecordingClassifier):
    """A `RecordingClassifier` that cannot go on learning: it has no ``partial_fit``."""

    @property
    def partial_fit(self) -> Any:
        """Be missing, so that ``hasattr`` says no."""
        message = "a FixedClassifier cannot go on learning"
        raise AttributeError(message)
