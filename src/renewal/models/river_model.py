"""A River learner with what River does not keep: the classes that it has learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from river import base

from renewal.core.errors import Invalid
from renewal.models.task import Classes


@dataclass(frozen=True, slots=True, eq=False)
class RiverModel:
    """A learner of River, its classes, and how rows are handed to it.

    A bare learner is a recipe; wrap one that you have trained yourself, to say what its
    classes are, or a recipe, to have it learn several rows at a time.

    Parameters
    ----------
    learner : object
        A classifier, a regressor, or a pipeline of River that ends in one.
    classes : tuple, default ()
        Of a trained classifier: sorted. A classifier of two classes answers for the second.
    rows_at_once : int >= 1, default 1
        1: ``learn_one``, row by row. More: so many rows go into each ``learn_many``, where
        the learner and every step before it have that, and all columns are numbers
        without gaps.
    columns : tuple of str, default ()
        That it was fitted on: River takes rows without one of them, and says nothing.
        Empty: not checked.
    recipe : object or None
        The learner as it was before it saw a row; some change their parameters. None: built
        from the learner.

    Raises
    ------
    Invalid
        On fewer than one row at once, or classes that are not sorted.

    Notes
    -----
    ``learn_many`` of River's linear models averages the gradient over its rows and takes one
    step. Logistic regression on 20,000 rows of Elec2 has a log-loss of .636 on the next 5,000
    row by row, of .673 with 1,000 rows at once, and of .691, as if it knew nothing, with
    all of them at once. Naive Bayes learns the same either way, in half the time.
    """

    learner: Any
    classes: Classes = ()
    rows_at_once: int = 1
    columns: tuple[str, ...] = ()
    recipe: Any = None

    def __post_init__(self) -> None:
        """Refuse classes out of order: columns of scores mean them in order."""
        if self.rows_at_once < 1 or list(self.classes) != sorted(set(self.classes)):
            raise Invalid(
                "RiverModel",
                needs="rows_at_once of at least 1, and classes in order, each once",
                came=f"rows_at_once={self.rows_at_once}, classes={self.classes}",
                todo="Correct them.",
            )

    @property
    def untrained(self) -> Any:
        """The learner that a fit begins with."""
        return self.learner if self.recipe is None else self.recipe

    @property
    def is_classifier(self) -> bool:
        """Whether it tells classes apart."""
        return isinstance(self.learner, base.Classifier)

    @property
    def is_multiclass(self) -> bool:
        """Whether it learns any number of classes, by their names."""
        return self.is_classifier and bool(self.learner._multiclass)  # noqa: SLF001  # River has no other way to ask


def model_of(estimator: Any) -> RiverModel:
    """Return the model of an estimator: itself, or a bare learner without classes."""
    return estimator if isinstance(estimator, RiverModel) else RiverModel(estimator)
