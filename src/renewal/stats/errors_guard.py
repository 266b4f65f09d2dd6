r"""Do errors of a canary exceed its share of the traffic? An e-value of two counts.

If both arms fail equally often, each failure falls on the canary with chance *s*, its share
of the requests. So the failures alone decide; requests need not be counted.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.checked import check_share

_NODES, _WEIGHTS = np.polynomial.laguerre.laggauss(16)


def log_error_share_e(
    n_canary: int,
    n_control: int,
    share: float,
    *,
    side: Literal["more", "both"] = "more",
    concentration: float = 10.0,
) -> float:
    r"""Return the logarithm of the e-value of "the canary fails no more often than its share".

    With *b* failures in the canary, *c* in the control, :math:`A = k s`, :math:`B = k (1 - s)`
    and the concentration *k*:

    .. math:: e = \frac{B(A + b, B + c)}{B(A, B)\; s^b (1 - s)^c}

    For ``side="more"`` the Beta prior is cut to :math:`(s, 1)`, so that a canary that fails
    less often than the control is no evidence against it.

    Parameters
    ----------
    n_canary, n_control : int >= 0
        Failures of each arm so far, one per sticky key and window: users who retry would
        otherwise count as many.
    share : float in (0, 1)
        Share of the traffic that the canary received while these were counted.
    side : {"more", "both"}, default "more"
        Whether only an excess counts, or any difference.
    concentration : float > 0, default 10
        Weight of the prior in failures.

    Returns
    -------
    float
        At ``log(1 / alpha)`` or more the hypothesis is refuted at `alpha`, at whatever
        moment one looks.

    Raises
    ------
    Invalid
        When a count is negative or the share is not strictly between 0 and 1.

    Notes
    -----
    O(1). When the share changes, start a new count and add the logarithms.

    Examples
    --------
    >>> log_error_share_e(5, 45, share=0.1) < 0  # 5 of 50 is what 10% of traffic gets
    True
    >>> round(math.exp(log_error_share_e(20, 45, share=0.1)))
    8368

    References
    ----------
    .. [1] Lindon and Malek (2022). Anytime-valid inference for multinomial count data.
       NeurIPS.
    """
    who = "log_error_share_e"
    check_share(share, who=who, name="share")
    if n_canary < 0 or n_control < 0 or concentration <= 0:
        raise Invalid(
            who,
            needs="counts of at least 0 and a positive concentration",
            came=f"{n_canary}, {n_control} and {concentration}",
            todo="Count the failures of each arm.",
        )
    a, b = concentration * share, concentration * (1.0 - share)
    if side == "both":
        ratio = float(special.betaln(a + n_canary, b + n_control) - special.betaln(a, b))
        return ratio - n_canary * math.log(share) - n_control * math.log1p(-share)
    kept = _log_beta_tail(a + n_canary, b + n_control, share)
    prior = _log_beta_tail(a, b, share)
    return kept - prior - n_canary * math.log(share) - n_control * math.log1p(-share)


def error_share_e(n_canary: int, n_control: int, share: float) -> float:
    """Return the e-value of `log_error_share_e` with its defaults; 1/alpha or more refutes.

    Examples
    --------
    >>> error_share_e(0, 0, share=0.1)
    1.0
    """
    log_e = log_error_share_e(n_canary, n_control, share)
    return math.exp(log_e) if log_e < 709.0 else math.inf


def _log_beta_tail(a: float, b: float, x: float) -> float:
    r"""Logarithm of :math:`\int_x^1 t^{a-1} (1-t)^{b-1} dt`, also where it underflows."""
    kept = float(special.betaincc(a, b, x))
    if kept > 1e-290:
        return math.log(kept) + float(special.betaln(a, b))
    # So far out the integrand falls like exp(-slope * (t - x)): Gauss-Laguerre is exact to
    # ten digits. Taking 0 here once made an e-value of an error-free canary infinite.
    slope = (b - 1.0) / (1.0 - x) - (a - 1.0) / x
    t = x + _NODES / slope
    inside = t < 1.0
    t = np.where(inside, t, x)
    log_ratio = (a - 1.0) * np.log(t / x) + (b - 1.0) * np.log((1.0 - t) / (1.0 - x))
    total = float(np.sum(np.where(inside, _WEIGHTS * np.exp(log_ratio + _NODES), 0.0)))
    return (a - 1.0) * math.log(x) + (b - 1.0) * math.log1p(-x) + math.log(total / slope)
