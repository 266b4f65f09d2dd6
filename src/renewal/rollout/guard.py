"""The two guards of a rollout: shown to lose more, shown to fail more often.

Both are e-values, so they may be asked after every row, for as long as the rollout lasts,
without their error growing. Each answers with a sentence that carries its numbers, or with
None as long as nothing is shown. None is no proof of harmlessness.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from renewal.core.errors import Invalid
from renewal.rollout.options import RolloutOptions
from renewal.stats.anytime import log_t_e_values
from renewal.stats.checked import block_weights, finite_series
from renewal.stats.errors_guard import log_error_share_e
from renewal.stats.paired import effective_n

# Harm comes in two sizes: slight (half a block's deviation) and gross (several of them). A
# detector of the first kind alone needs 9 days to take back a candidate that loses every day
# by the same amount; with both it needs 5, and the slight one pays a factor of 2 for it.
_SCALES = (0.5, 2.0)

ErrorCount = tuple[int, int, float]
"""Failures of the candidate, failures of the champion, the candidate's share meanwhile."""


def harm(
    gains: ArrayLike,
    n_rows: ArrayLike,
    options: RolloutOptions,
    *,
    champion_loss: float | None = None,
) -> str | None:
    r"""Say that the candidate is shown to lose more than the champion, or nothing.

    With :math:`g_b` the mean gain of block *b*, :math:`n_b` its rows and margin *m*, the
    values :math:`n_b (-g_b - m)` have a mean of at most 0 as long as the candidate is no
    worse. The t e-process of `renewal.stats.anytime`, averaged over two sizes of harm,
    refutes that once it has reached :math:`1/\alpha` after any block. Neighbors that
    resemble each other are paid for: :math:`\ln(1/\alpha)` is stretched by
    :math:`n / n_{\mathrm{eff}}`.

    Parameters
    ----------
    gains : array_like, shape (n_blocks,), unit of the loss
        Champion's mean loss minus candidate's, on the same rows, in the order of time.
    n_rows : array_like of positive int, shape (n_blocks,)
        Rows of each block.
    options : RolloutOptions
        `harm_alpha` and `harm_margin_share`.
    champion_loss : float or None, default None
        Mean loss of the champion; needed when the margin is a share of it.

    Returns
    -------
    str or None
        One sentence; None with no block, or while nothing is shown.

    Raises
    ------
    Invalid
        When a gain is no number, a block has no rows, or the margin lacks its unit.

    Examples
    --------
    >>> worse = [-0.11, -0.08, -0.12, -0.10, -0.09, -0.10]
    >>> harm(worse, [300] * 6, RolloutOptions())
    'it loses 0.1000 more a row than the champion over 6 blocks (1,800 rows): ...'
    >>> harm([0.01, -0.02, 0.01, 0.00], [300] * 4, RolloutOptions()) is None
    True
    """
    if np.size(gains) == 0:
        return None
    series = finite_series(gains, who="rollout.harm")
    shares = block_weights(n_rows, series.size, who="rollout.harm")
    values = shares * (-series - _margin(options, champion_loss))
    log_e = float(np.max(_log_mean(values)))
    needed = math.log(1.0 / options.harm_alpha) * series.size / effective_n(values)
    if log_e < needed:
        return None
    loss = -float(np.average(series, weights=shares))
    return (
        f"it loses {loss:.4f} more a row than the champion over {series.size} blocks "
        f"({int(np.sum(n_rows)):,} rows): e-value {_number(log_e)}, "
        f"{_number(needed)} needed at harm_alpha {options.harm_alpha:g}"
    )


def errors(
    n_candidate: int,
    n_champion: int,
    share: float,
    options: RolloutOptions,
    *,
    earlier: Sequence[ErrorCount] = (),
) -> str | None:
    """Say that the candidate is shown to fail more often than its share, or nothing.

    Parameters
    ----------
    n_candidate, n_champion : int >= 0
        Failed sticky keys of each arm, each counted once a window, since the share was set.
    share : float in [0, 1]
        The candidate's share of the traffic meanwhile. At 0 and at 1 there is nothing to
        compare with, and only `earlier` counts.
    options : RolloutOptions
        `error_alpha`.
    earlier : sequence of (int, int, float), default ()
        The same three numbers of earlier shares of this rollout: one test over all of it.

    Returns
    -------
    str or None
        One sentence, or None while nothing is shown.

    Examples
    --------
    >>> errors(20, 45, 0.1, RolloutOptions())
    'it failed 20 times against 45 of the champion: e-value 8368, 100 needed at error_alpha 0.01'
    >>> errors(5, 45, 0.1, RolloutOptions()) is None
    True
    """
    counts = [each for each in (*earlier, (n_candidate, n_champion, share)) if 0.0 < each[2] < 1.0]
    log_e = sum(log_error_share_e(b, c, s) for b, c, s in counts)
    needed = math.log(1.0 / options.error_alpha)
    if log_e < needed:
        return None
    failed = sum(b for b, _, _ in counts), sum(c for _, c, _ in counts)
    return (
        f"it failed {failed[0]:,} times against {failed[1]:,} of the champion: e-value "
        f"{_number(log_e)}, {_number(needed)} needed at error_alpha {options.error_alpha:g}"
    )


def _log_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the mean e-value over the scales, after each block."""
    paths = np.stack([log_t_e_values(values, scale=scale) for scale in _SCALES])
    return np.asarray(np.logaddexp.reduce(paths, axis=0) - math.log(len(_SCALES)))


def _margin(options: RolloutOptions, champion_loss: float | None) -> float:
    if options.harm_margin_share == 0.0:
        return 0.0
    if champion_loss is None or not math.isfinite(champion_loss):
        raise Invalid(
            "rollout.harm",
            needs="the champion's mean loss, of which harm_margin_share is a share",
            came=repr(champion_loss),
            todo="Pass champion_loss, or set harm_margin_share to 0.",
        )
    return options.harm_margin_share * abs(champion_loss)


def _number(log_e: float) -> str:
    """Write an e-value so that it can be read: 8368, or 10^31."""
    return f"{math.exp(log_e):.0f}" if log_e < 20.0 else f"10^{log_e / math.log(10.0):.0f}"
