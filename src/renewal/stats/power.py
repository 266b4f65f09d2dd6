"""How often a one-sided paired t test will find an effect, before anything is looked at."""

from __future__ import annotations

import math

from scipy import special

from renewal.core.errors import Invalid
from renewal.stats.checked import check_share

# Beyond this no experiment of ours will ever wait; the search stops instead of overflowing.
_MOST = 10**12
# The noncentral t of scipy loses digits for very many degrees of freedom, and by then the
# normal distribution agrees with it to five digits.
_NORMAL_FROM = 20_000


def power_of(effect: float, sd: float, n: int, alpha: float) -> float:
    r"""Return the chance that a one-sided t test at `alpha` proves an effect with `n` blocks.

    :math:`P(T > t_{n-1,1-\alpha})` where *T* is noncentral t with :math:`n - 1` degrees of
    freedom and noncentrality :math:`\sqrt n\, effect / sd`.

    Parameters
    ----------
    effect : float
        True mean difference beyond the margin; at or below 0 the chance is at most `alpha`.
    sd : float > 0
        Standard deviation of one block's difference, in the unit of `effect`.
    n : int
        Blocks; fewer than 2 prove nothing.
    alpha : float in (0, 1)
        One-sided level.

    Examples
    --------
    >>> round(power_of(effect=0.5, sd=1.0, n=27, alpha=0.05), 3)
    0.812
    """
    check_share(alpha, who="power_of", name="alpha")
    _check_sd(sd, who="power_of")
    if n < 2:
        return 0.0
    if sd == 0.0:
        return 1.0 if effect > 0 else 0.0
    shift = math.sqrt(n) * effect / sd
    if n >= _NORMAL_FROM or abs(shift) > 30.0:
        return float(special.ndtr(special.ndtri(alpha) + shift))
    critical = -special.stdtrit(n - 1, alpha)
    return float(1.0 - special.nctdtr(n - 1, shift, critical))


def blocks_needed(effect: float, sd: float, alpha: float, power: float = 0.8) -> int:
    """Return the fewest blocks with which the test finds `effect` with chance `power`.

    Parameters
    ----------
    effect : float > 0
        The effect worth finding, beyond the margin.
    sd : float >= 0
        Standard deviation of one block's difference.
    alpha : float in (0, 1)
        One-sided level.
    power : float in (0, 1), default 0.8
        Chance of finding it.

    Raises
    ------
    Invalid
        When `effect` is not positive: no number of blocks proves what is not there.

    Examples
    --------
    >>> blocks_needed(effect=0.5, sd=1.0, alpha=0.05, power=0.8)
    27

    References
    ----------
    .. [1] Connor (1987). Sample size for testing differences in proportions for the
       paired-sample design. Biometrics 43(1).
    """
    check_share(power, who="blocks_needed", name="power")
    _check_sd(sd, who="blocks_needed")
    if not effect > 0.0:
        raise Invalid(
            "blocks_needed",
            needs="a positive effect",
            came=f"{effect!r}",
            todo="Name the smallest effect that is worth finding.",
        )
    few, many = 1, 2
    while power_of(effect, sd, many, alpha) < power:
        few, many = many, many * 2
        if many > _MOST:
            return _MOST
    while many - few > 1:
        middle = (few + many) // 2
        if power_of(effect, sd, middle, alpha) < power:
            few = middle
        else:
            many = middle
    return many


def _check_sd(sd: float, *, who: str) -> None:
    if not (sd >= 0.0 and math.isfinite(sd)):
        raise Invalid(
            who,
            needs="a standard deviation of at least 0",
            came=f"{sd!r}",
            todo="Estimate it from at least two blocks.",
        )
