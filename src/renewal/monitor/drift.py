"""Drift of the features: each one's shift against its reference, with the sizes paid for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from renewal.monitor.counts import Counts
from renewal.monitor.options import MonitorOptions
from renewal.monitor.reference import FeatureReference, Reference
from renewal.stats.homogeneity import Shift, holm, psi_test


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How far one feature has moved, and whether that is news.

    Parameters
    ----------
    name : str
        The feature.
    psi : float
        Population stability index of the window against the reference.
    critical : float
        What it has to reach alone among all features, at these sizes.
    p_value : float
        Chance of such a PSI if the true one is the tolerated one, adjusted for the number
        of features (Holm).
    effect : float
        PSI without its sampling noise of (bins - 1) (1/n + 1/m).
    has_drifted : bool
        Significant after the adjustment, and an effect above the tolerated one.
    moved : str
        The bin that moved most: ``from 12.5: 10% -> 31%``.
    """

    name: str
    psi: float
    critical: float
    p_value: float
    effect: float
    has_drifted: bool
    moved: str


def drift(
    reference: Reference, counts: Counts, options: MonitorOptions
) -> tuple[FeatureDrift, ...]:
    """Compare a window with the reference, feature by feature.

    Parameters
    ----------
    reference : Reference
        What the features looked like in training.
    counts : Counts
        The window, over its bins; may be empty.
    options : MonitorOptions
        `tolerated_psi`; the level is `daily_alpha`, shared by all features.

    Returns
    -------
    tuple of FeatureDrift
        Largest effect first; empty when the window holds no row.

    Notes
    -----
    Microseconds a feature, whatever the number of rows. Counts enter with the worth of a row
    (`renewal.monitor.reference`), so a week of correlated days is a few witnesses, not
    thousands.
    """
    if counts.n_rows == 0 or not reference.features:
        return ()
    alpha = options.daily_alpha / len(reference.features)
    pairs = list(zip(reference.features, counts.features, strict=True))
    shifts = [_shift(feature, now, alpha, options.tolerated_psi) for feature, now in pairs]
    adjusted = holm([shift.p_value for shift in shifts])
    found = []
    for (feature, now), shift, p_value in zip(pairs, shifts, adjusted.tolist(), strict=True):
        effect = max(0.0, shift.value - _noise(feature, now, shift))
        found.append(
            FeatureDrift(
                name=feature.bins.name,
                psi=shift.value,
                critical=shift.critical,
                p_value=p_value,
                effect=effect,
                has_drifted=p_value <= options.daily_alpha and effect > options.tolerated_psi,
                moved=_moved(feature, now),
            )
        )
    return tuple(sorted(found, key=lambda each: -each.effect))


def _shift(
    feature: FeatureReference, now: tuple[int, ...], alpha: float, tolerated: float
) -> Shift:
    before = np.asarray(feature.counts, np.float64) * feature.row_worth
    current = np.asarray(now, np.float64) * feature.row_worth
    return psi_test(before, current, alpha=alpha, tolerated=tolerated)


def _noise(feature: FeatureReference, now: tuple[int, ...], shift: Shift) -> float:
    sizes = sum(feature.counts) * feature.row_worth, sum(now) * feature.row_worth
    return (shift.n_bins - 1) * (1.0 / sizes[0] + 1.0 / sizes[1])


def _moved(feature: FeatureReference, now: tuple[int, ...]) -> str:
    before = np.asarray(feature.counts) / sum(feature.counts)
    after = np.asarray(now) / sum(now)
    at = int(np.argmax(np.abs(after - before)))
    return f"{feature.bins.label(at)}: {before[at]:.0%} -> {after[at]:.0%}"
