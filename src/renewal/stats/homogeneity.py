r"""Did a distribution shift? Tests on counts over the same bins, aware of their size.

Every statistic has noise that falls with both sample sizes: without drift, PSI is about
:math:`(1/n + 1/m)\,\chi^2_{B-1}`. A fixed threshold such as 0.1 is therefore exceeded by
most quiet columns at 50 rows and by no real shift at 100,000. Here the threshold
follows the sizes, and a shift that is small enough not to matter can be tolerated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.checked import Floats, check_share, finite_series

# Added to each bin of both sides, so that an empty bin neither divides by 0 nor decides alone.
SMOOTHING = 0.5
# The usual floor for the chi-squared approximation of a cell.
_EXPECTED_PER_CELL = 5.0


@dataclass(frozen=True, slots=True)
class Shift:
    """How far two sets of counts lie apart, and whether chance explains it.

    Parameters
    ----------
    value : float
        The statistic: PSI, or chi-squared.
    critical : float
        What it exceeds with chance `alpha` when the true shift is the tolerated one.
    p_value : float
        Chance of a value at least as large under the tolerated shift.
    n_bins : int
        Bins that were compared: those that are empty on both sides say nothing.
    """

    value: float
    critical: float
    p_value: float
    n_bins: int


def psi(reference: ArrayLike, current: ArrayLike, *, smoothing: float = SMOOTHING) -> float:
    r"""Return the population stability index :math:`\sum (p - q) \ln(p / q)`.

    Parameters
    ----------
    reference, current : array_like, shape (n_bins,)
        Counts over the same bins.
    smoothing : float >= 0, default 0.5
        Added to every bin of both sides; with 0 an empty bin makes it infinite.

    Examples
    --------
    >>> round(psi([500, 300, 200], [40, 40, 20], smoothing=0), 6)
    0.051083
    """
    p, q = _shares(reference, current, smoothing, who="psi")
    with np.errstate(divide="ignore"):
        return float(np.sum((p - q) * np.log(p / q)))


def js_divergence(
    reference: ArrayLike, current: ArrayLike, *, smoothing: float = SMOOTHING
) -> float:
    """Return the Jensen-Shannon divergence in nats; its square root is a distance.

    Parameters
    ----------
    reference, current : array_like, shape (n_bins,)
        Counts over the same bins.
    smoothing : float >= 0, default 0.5
        Added to every bin of both sides.

    Examples
    --------
    >>> round(js_divergence([500, 300, 200], [40, 40, 20], smoothing=0) ** 0.5, 6)
    0.079795
    """
    p, q = _shares(reference, current, smoothing, who="js_divergence")
    middle = 0.5 * (p + q)
    return float(0.5 * np.sum(special.rel_entr(p, middle) + special.rel_entr(q, middle)))


def psi_critical(
    n_reference: int, n_current: int, n_bins: int, *, alpha: float = 0.05, tolerated: float = 0.0
) -> float:
    r"""Return the PSI that a true PSI of `tolerated` exceeds with chance `alpha`.

    :math:`(1/n + 1/m)\,F^{-1}_{\chi'^2}(1 - \alpha;\, B - 1,\, \delta\,nm/(n + m))`.

    Parameters
    ----------
    n_reference, n_current : int >= 1
        Rows on each side.
    n_bins : int >= 2
        Bins.
    alpha : float in (0, 1), default 0.05
        Chance of a false alarm.
    tolerated : float >= 0, default 0
        A shift that does not matter, as PSI.

    Examples
    --------
    >>> [round(psi_critical(2000, m, 10, tolerated=0.1), 4) for m in (100, 2000)]
    [0.338, 0.1442]

    References
    ----------
    .. [1] Yurdakul and Naranjo (2020). Statistical properties of the population stability
       index. Journal of Risk Model Validation 14(4).
    .. [2] The population resemblance statistic (2023). arXiv 2307.11878.
    """
    check_share(alpha, who="psi_critical", name="alpha")
    size = n_reference * n_current / (n_reference + n_current)
    return _quantile(alpha, n_bins - 1, tolerated * size) / size


def psi_test(
    reference: ArrayLike, current: ArrayLike, *, alpha: float = 0.05, tolerated: float = 0.0
) -> Shift:
    """Test whether PSI exceeds a tolerated shift, given the sizes of both samples.

    Parameters
    ----------
    reference, current : array_like, shape (n_bins,)
        Counts over the same bins, frozen before `current` was seen.
    alpha : float in (0, 1), default 0.05
        Chance of a false alarm.
    tolerated : float >= 0, default 0
        A shift that does not matter, as PSI.

    Returns
    -------
    Shift
        Significant where ``p_value <= alpha``, which is where ``value >= critical``.

    Raises
    ------
    Invalid
        When the bins differ in number, a count is negative, or a side is empty.

    Notes
    -----
    O(n_bins). Rows must be independent: repeated rows of one entity make anything significant.

    Examples
    --------
    >>> quiet = psi_test([500, 300, 200], [40, 40, 20])
    >>> round(quiet.p_value, 2), quiet.value < quiet.critical
    (0.1, True)
    """
    a, b = _counts(reference, current, who="psi_test")
    n, m = float(a.sum()), float(b.sum())
    size = n * m / (n + m)
    n_bins = a.size
    value = psi(a, b) if n_bins > 1 else 0.0
    if n_bins < 2:
        return Shift(value=0.0, critical=0.0, p_value=1.0, n_bins=n_bins)
    p_value = _tail(value * size, n_bins - 1, tolerated * size)
    critical = _quantile(alpha, n_bins - 1, tolerated * size) / size
    return Shift(value=value, critical=critical, p_value=p_value, n_bins=n_bins)


def chi2_test(reference: ArrayLike, current: ArrayLike, *, alpha: float = 0.05) -> Shift:
    r"""Test two sets of counts for equal shares: the chi-squared test of homogeneity.

    Both sides are samples. Taking the reference for the truth instead, as some tools do,
    rejects a quarter to three quarters of quiet columns at equal sizes. Bins in which either
    side expects fewer than 5 are pooled with the next smallest.

    Parameters
    ----------
    reference, current : array_like, shape (n_bins,)
        Counts over the same bins.
    alpha : float in (0, 1), default 0.05
        For `Shift.critical`.

    Examples
    --------
    >>> found = chi2_test([500, 300, 200], [40, 40, 20])
    >>> round(found.value, 6), round(found.p_value, 6)
    (4.793028, 0.091035)
    """
    check_share(alpha, who="chi2_test", name="alpha")
    a, b = _pooled(*_counts(reference, current, who="chi2_test"))
    n, m = a.sum(), b.sum()
    dof = a.size - 1
    if dof < 1:
        return Shift(value=0.0, critical=0.0, p_value=1.0, n_bins=a.size)
    value = float(np.sum(n * m / (a + b) * (a / n - b / m) ** 2))
    return Shift(
        value=value,
        critical=float(special.chdtri(dof, alpha)),
        p_value=float(special.chdtrc(dof, value)),
        n_bins=a.size,
    )


def holm(p_values: ArrayLike) -> Floats:
    """Return p-values adjusted for their number: reject those at or below `alpha`.

    Holm's step-down: the chance of any false rejection among all of them is at most alpha,
    whatever their dependence.

    Parameters
    ----------
    p_values : array_like, shape (n,)
        In [0, 1].

    Returns
    -------
    ndarray, shape (n,)
        In the order given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]

    References
    ----------
    .. [1] Holm (1979). A simple sequentially rejective multiple test procedure.
       Scandinavian Journal of Statistics 6(2).
    """
    series = finite_series(p_values, who="holm")
    if series.min() < 0 or series.max() > 1:
        raise Invalid(
            "holm",
            needs="p-values in [0, 1]",
            came=f"values from {series.min():g} to {series.max():g}",
            todo="Pass probabilities.",
        )
    order = np.argsort(series, kind="stable")
    stepped = series[order] * np.arange(series.size, 0, -1)
    adjusted = np.empty_like(series)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def _counts(reference: ArrayLike, current: ArrayLike, *, who: str) -> tuple[Floats, Floats]:
    """Return both counts without the bins that are empty on both sides."""
    a, b = finite_series(reference, who=who), finite_series(current, who=who)
    if a.size != b.size or min(a.min(), b.min()) < 0 or min(a.sum(), b.sum()) <= 0:
        raise Invalid(
            who,
            needs="counts of at least 0 over the same bins, with rows on both sides",
            came=f"{a.size} bins with {a.sum():g} rows and {b.size} bins with {b.sum():g} rows",
            todo="Count both sides over the edges of the reference.",
        )
    kept: NDArray[np.bool_] = (a + b) > 0
    return a[kept], b[kept]


def _shares(
    reference: ArrayLike, current: ArrayLike, smoothing: float, *, who: str
) -> tuple[Floats, Floats]:
    a, b = _counts(reference, current, who=who)
    a, b = a + smoothing, b + smoothing
    return a / a.sum(), b / b.sum()


def _pooled(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    n, m = a.sum(), b.sum()
    # The smaller side expects the least: (a + b) * min(n, m) / (n + m) in each bin.
    need = _EXPECTED_PER_CELL * (n + m) / min(n, m)
    order = np.argsort(a + b, kind="stable")
    a, b = a[order], b[order]
    total = np.cumsum(a + b)
    if total[0] >= need:
        return a, b
    first = min(int(np.searchsorted(total, need)) + 1, a.size)
    return np.append(a[first:], a[:first].sum()), np.append(b[first:], b[:first].sum())


def _quantile(alpha: float, dof: int, noncentrality: float) -> float:
    if noncentrality == 0.0:
        return float(special.chdtri(dof, alpha))
    return float(special.chndtrix(1.0 - alpha, dof, noncentrality))


def _tail(value: float, dof: int, noncentrality: float) -> float:
    if noncentrality == 0.0:
        return float(special.chdtrc(dof, value))
    return float(np.clip(1.0 - special.chndtr(value, dof, noncentrality), 0.0, 1.0))
