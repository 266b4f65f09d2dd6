"""The size of any form: by what its adapter knows of it, or by the numbers that hang on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from renewal.compress.counting import Count, count_array, total
from renewal.compress.form import Form
from renewal.compress.size import Size
from renewal.core.errors import Missing
from renewal.core.plugin import load_plugin, plugin_names
from renewal.models.reachable import reachable

_KIND = "sizes"


def size_of(form: Form, artifact_bytes: int) -> Size:
    """Return how large a form is.

    Who counts is registered under the entry-point group ``renewal.sizes`` by the name of
    the adapter: a function that takes the estimator and returns a
    `renewal.compress.counting.Count`. For an adapter without one the arrays of floats that
    hang on the estimator are counted, and nobody can tell its multiplications.

    Parameters
    ----------
    form : Form
        Any; it is not changed.
    artifact_bytes : int
        Length of what its adapter dumps.

    Examples
    --------
    >>> from renewal.core.spec import Signature
    >>> class Line:
    ...     slope = np.array([2.0])
    ...     def __init__(self): self.weights = np.array([0.0, -1.5])
    >>> size_of(Form("line", Line(), Signature(()), ()), 120)
    Size(bytes=120, parameters=2, nonzero=1, l1=1.5, macs=None)
    """
    found = _count(form)
    return Size(artifact_bytes, found.parameters, found.nonzero, found.l1, found.macs)


def count_reachable(estimator: Any) -> Count:
    """Return the count of all arrays of floats that hang on an object, each once."""
    arrays = (each for each in reachable(estimator) if isinstance(each, np.ndarray))
    counted = total(count_array(each) for each in arrays if np.issubdtype(each.dtype, np.floating))
    return Count(counted.parameters, counted.nonzero, counted.l1, None)


def _count(form: Form) -> Count:
    if form.adapter in plugin_names(_KIND):
        try:
            found: Count = load_plugin(_KIND, form.adapter)(form.estimator)
        except Missing:
            # Bytes of a framework that is not here can still be told by their length.
            return Count(macs=None)
        return found
    return count_reachable(form.estimator)
