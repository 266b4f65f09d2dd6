"""What the steps of a chain may learn from: the training side of the rows, and the parent."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from renewal.compress.form import Form
from renewal.data.rows import Rows
from renewal.models.labels import Labels
from renewal.models.task import Scores, Task


class Material:
    """Rows that a step may calibrate on, be distilled from, or recover on.

    Validation and test rows are not here: what a step cannot reach it cannot learn from.

    Parameters
    ----------
    task : Task
        Of the model.
    train : Rows
        Labelled rows that a candidate may be fitted on; may be empty.
    parent : Form
        What is compressed: the teacher.
    unlabelled : pyarrow.Table or None, default None
        Features of further rows of the training side whose label has not come.
    effort : float in (0, 1], default 1
        Share of the epochs and the rows that a step which learns should spend: early rungs
        of the search spend less.
    scratch : Path or None, default None
        A folder that survives a kill.
    trust : tuple of str, default ()
        Own classes that stored models may load.

    Examples
    --------
    A technique asks for what it needs, and nothing is computed before::

        features = material.train.features
        answers = material.teacher_scores  # of the training rows, shape (n_rows, n_scores)
    """

    def __init__(
        self,
        task: Task,
        train: Rows,
        parent: Form,
        *,
        unlabelled: pa.Table | None = None,
        effort: float = 1.0,
        scratch: Path | None = None,
        trust: tuple[str, ...] = (),
    ) -> None:
        self.task = task
        self.train = train
        self.parent = parent
        self.unlabelled = unlabelled
        self.effort = effort
        self.scratch = scratch
        self.trust = trust

    def at(self, effort: float) -> Material:
        """Return the same material with another effort; what is computed already is shared."""
        other = copy(self)
        other.effort = effort
        return other

    @cached_property
    def labels(self) -> Labels:
        """Labels of the training rows, as `Task.labels` returns them."""
        return self.task.labels(self.train.label, who="compress")

    @cached_property
    def teacher_scores(self) -> Scores:
        """What the parent says of the training rows."""
        return self.parent.predict(self.train.features)

    @cached_property
    def unlabelled_scores(self) -> Scores:
        """What the parent says of the rows without a label; of no row where there are none."""
        if self.unlabelled is None:
            return np.empty((0, len(self.parent.classes) or 1))
        return self.parent.predict(self.unlabelled)

    def few(self, n_rows: int, *, seed: int = 0) -> NDArray[np.intp]:
        """Return places of about `n_rows` training rows, each class in its proportion.

        A random subset, for calibration and the sensitivity of layers: the rows with the
        largest errors would show a model that nobody serves.
        """
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(self.train))
        if len(order) <= n_rows:
            return np.sort(order).astype(np.intp)
        if self.parent.classes:
            # Sorted by label and read at even distances, each class comes by its share.
            order = order[np.argsort(self.labels[order].astype(str), kind="stable")]
        at = np.linspace(0, len(order) - 1, n_rows).round().astype(np.intp)
        return np.sort(order[at]).astype(np.intp)
