r"""An error budget for life: how certain the next update must be, so that errors never add up.

A level is granted *before* the evidence is seen. That turns a p-value into the e-value
:math:`E = 1\{p \le level\} / level`, all or nothing: whatever happened before, its mean is at
most 1 when the candidate is no better, because rows that informed a verdict never count
again. e-LOND accepts candidate *t* when :math:`E_t \ge 1 / level_t`, that is when
:math:`p_t \le level_t`, with

.. math:: level_t = budget \cdot \gamma_t \cdot (\text{accepted before} + 1),
          \qquad \sum_t \gamma_t = 1.

Then, for ever and under any dependence between updates that the past explains,

- the expected share of wrong acceptances among all acceptances is at most the budget:
  a wrong one at *t* weighs at most
  :math:`1\{E_t \ge 1/level_t\} / (A_t + 1) \le budget\, \gamma_t E_t`, where :math:`A_t`
  were accepted before, and these sum to at most the budget;
- while nothing is better, the chance that anything is accepted is at most the budget.

The spending sequence is made for weekly updates: 95% of the budget goes, in falling shares
:math:`\propto 1/t`, to the first 520 updates (ten years), the rest to all that come after.
With a budget of 5%, when none or a third of the candidates were accepted before:

======  ===============  ==================
update  level, none yet  level, a third yet
======  ===============  ==================
1       0.0069526        0.0069526
10      0.00069526       0.0027810
50      0.00013905       0.0023639
200     0.000034763      0.0023291
520     0.000013370      0.0023264
======  ===============  ==================

So the price of a long life is paid by those who never ship anything better: whoever ships
every third candidate keeps a level of about 0.0023 for ten years.

References
----------
.. [1] Xu and Ramdas (2024). Online multiple testing with e-values. AISTATS. arXiv 2311.06412.
.. [2] Javanmard and Montanari (2018). Online rules for control of false discovery rate and
   false discovery exceedance. Annals of Statistics 46(2).
"""

from __future__ import annotations

import math
from functools import lru_cache

from renewal.core.errors import Invalid
from renewal.stats.checked import check_share

# Ten years of weekly updates.
HORIZON = 520
# What they may spend of the budget; the rest is for all that come after.
_WITHIN = 0.95


def spending(t: int, horizon: int = HORIZON) -> float:
    r"""Return the share of the budget that belongs to the *t*-th update of a life.

    :math:`\gamma_t = 0.95 / (H_h\, t)` up to the horizon *h*, with :math:`H_h` the sum of
    :math:`1/t` up to it, and :math:`0.05\, h / (t (t - 1))` after it, which sums to 5%.

    Parameters
    ----------
    t : int >= 1
        Number of the update, the first one is 1.
    horizon : int >= 1, default 520
        Updates that share 95% of the budget. Fix it for life.

    Returns
    -------
    float
        In (0, 1); over all `t` they sum to exactly 1.

    Raises
    ------
    Invalid
        When `t` or `horizon` is below 1.

    Notes
    -----
    It falls from 0.1391 at the first update to 0.000267 at update 520; update 521 starts the
    tail at 0.000096.

    Examples
    --------
    >>> [round(spending(t), 6) for t in (1, 10, 520, 521)]
    [0.139051, 0.013905, 0.000267, 9.6e-05]
    """
    if t < 1 or horizon < 1:
        raise Invalid(
            "spending",
            needs="an update and a horizon of at least 1",
            came=f"t={t}, horizon={horizon}",
            todo="Count updates from 1.",
        )
    if t <= horizon:
        return _WITHIN / (_harmonic(horizon) * t)
    return (1.0 - _WITHIN) * horizon / (t * (t - 1.0))


def granted_level(
    budget: float, n_tested_before: int, n_accepted_before: int, *, horizon: int = HORIZON
) -> float:
    """Return the level at which the next candidate must be proven better.

    Ask before the evidence is seen, and write the answer down: a level that is chosen after
    a look promises nothing.

    Parameters
    ----------
    budget : float in (0, 1)
        Expected share of wrong acceptances for life, such as 0.05.
    n_tested_before : int >= 0
        Candidates of this model, and of this claim, that were given a level before,
        whatever became of them.
    n_accepted_before : int in [0, n_tested_before]
        Those that were accepted. Each earns back a share of the budget.
    horizon : int >= 1, default 520
        As in `spending`.

    Returns
    -------
    float
        At most `budget`. The module's page prints a table of them.

    Raises
    ------
    Invalid
        When more were accepted than tested, or a number is negative.

    Notes
    -----
    Measured with a budget of 5%: of 4,000 lives of 32 candidates that are no better, 3.0%
    accept one. Over 500 updates of which 2%, 10% or 50% are better by three standard errors,
    1.0%, 0.4% and 0.2% of the acceptances are wrong on average; of the better candidates 22%,
    33% and 55% are accepted.

    Examples
    --------
    >>> for t in (1, 10, 50, 200, 520):
    ...     levels = [granted_level(0.05, t - 1, n) for n in (0, (t - 1) // 3)]
    ...     print(t, *(f"{level:.5g}" for level in levels))
    1 0.0069526 0.0069526
    10 0.00069526 0.002781
    50 0.00013905 0.0023639
    200 3.4763e-05 0.0023291
    520 1.337e-05 0.0023264
    """
    check_share(budget, who="granted_level", name="budget")
    if not 0 <= n_accepted_before <= n_tested_before:
        raise Invalid(
            "granted_level",
            needs="a number accepted between 0 and the number tested",
            came=f"{n_accepted_before} accepted of {n_tested_before} tested",
            todo="Read both from the same ledger.",
        )
    share = spending(n_tested_before + 1, horizon)
    return min(budget, budget * share * (n_accepted_before + 1))


def all_or_nothing(p_value: float, level: float) -> float:
    r"""Return the e-value of a p-value at a level that was granted before: 1/level or 0.

    Its mean under the null is :math:`P(p \le level) / level \le 1`, and it reaches the
    threshold :math:`1 / level` exactly when the p-value reaches the level: no power is lost.

    Parameters
    ----------
    p_value : float in [0, 1]
        Valid given everything that happened before.
    level : float in (0, 1)
        From `granted_level`, never chosen after the look.

    Raises
    ------
    Invalid
        When `p_value` is outside [0, 1], or NaN.

    Examples
    --------
    >>> all_or_nothing(0.004, level=0.005), all_or_nothing(0.006, level=0.005)
    (200.0, 0.0)
    """
    check_share(level, who="all_or_nothing", name="level")
    return 1.0 / level if _checked_p(p_value, who="all_or_nothing") <= level else 0.0


@lru_cache(maxsize=16)
def _harmonic(n: int) -> float:
    return math.fsum(1.0 / t for t in range(1, n + 1))


def _checked_p(p_value: float, *, who: str) -> float:
    if not 0.0 <= p_value <= 1.0:
        raise Invalid(
            who,
            needs="a p-value between 0 and 1",
            came=f"{p_value!r}",
            todo="Pass the p-value of one look at rows that were never used before.",
        )
    return p_value
