r"""The realised loss of the live version: a detector with a proven time between false alarms.

The first blocks of the version's own live losses are the reference; every later block, once
its labels have had time to arrive, goes into a Shiryaev-Roberts e-detector
(`renewal.stats.edetector`) that takes upper bounds of the reference's mean and deviation.
An alarm also needs a rise that matters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from renewal.core.errors import Invalid
from renewal.monitor.options import DAY, MonitorOptions
from renewal.stats.edetector import EDetector, from_reference


@dataclass(frozen=True, slots=True)
class BlockLoss:
    """Mean loss of the live version over one matured block.

    Parameters
    ----------
    block : int
        Ascending with time: the day, in days since 1970.
    mean : float, unit of the loss
        Over its labelled rows.
    n_rows : int >= 1
        Their number.
    """

    block: int
    mean: float
    n_rows: int

    def __post_init__(self) -> None:
        """Refuse a loss that is no number and a block without rows."""
        if not math.isfinite(self.mean) or self.n_rows < 1:
            raise Invalid(
                "BlockLoss",
                needs="a finite mean loss over at least one row",
                came=f"{self.mean} over {self.n_rows} rows",
                todo="Leave out blocks whose labels have not come yet.",
            )


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the version lost while all was well.

    Parameters
    ----------
    mean : float, unit of the loss
        Mean of the block means.
    sd : float
        Their standard deviation.
    n_blocks : int
        Blocks.
    rows_per_block : float
        Mean number of rows.
    detector : EDetector
        Fresh; its `mean` and `sd` are upper confidence bounds of the two above.
    """

    mean: float
    sd: float
    n_blocks: int
    rows_per_block: float
    detector: EDetector


@dataclass(frozen=True, slots=True)
class Performance:
    """The state of the watch over a version's losses; O(1) in time.

    Parameters
    ----------
    baseline : Baseline or None
        None until enough blocks have come.
    detector : EDetector or None
        None until then.
    recent : tuple of BlockLoss
        The newest blocks: first the reference in the making, then one window.
    last_block : int or None
        Newest block taken in; a block is never taken twice.
    """

    baseline: Baseline | None = None
    detector: EDetector | None = None
    recent: tuple[BlockLoss, ...] = ()
    last_block: int | None = None

    @property
    def mean_now(self) -> float:
        """Mean loss a row over the recent blocks; NaN without any."""
        n_rows = sum(each.n_rows for each in self.recent)
        return sum(each.mean * each.n_rows for each in self.recent) / n_rows if n_rows else math.nan

    @property
    def rows_per_block(self) -> float:
        """Mean number of labelled rows over the recent blocks; NaN without any."""
        return (
            sum(each.n_rows for each in self.recent) / len(self.recent) if self.recent else math.nan
        )

    @property
    def excess(self) -> float | None:
        """Rise of the loss a row above the reference; None while there is no reference."""
        if self.baseline is None or not self.recent:
            return None
        return self.mean_now - self.baseline.mean

    def is_worse(self, options: MonitorOptions) -> bool:
        """Whether the loss is believed to have risen, by more than is tolerated."""
        if self.baseline is None or self.detector is None or self.excess is None:
            return False
        floor = options.loss_floor_share * abs(self.baseline.mean)
        return self.excess > floor and self.detector.has_alarm


def baseline_of(losses: Sequence[BlockLoss], options: MonitorOptions) -> Baseline:
    """Build the reference of a version's losses.

    Parameters
    ----------
    losses : sequence of BlockLoss
        At least 2 blocks in which all was well.
    options : MonitorOptions
        `false_alarm_every`, at one block a day.

    Returns
    -------
    Baseline
        With a detector that pays for the reference being short.

    Raises
    ------
    Invalid
        With fewer than 2 blocks.

    Examples
    --------
    >>> days = [BlockLoss(day, 0.4 + 0.01 * (day % 3), 900) for day in range(7)]
    >>> found = baseline_of(days, MonitorOptions())
    >>> round(found.mean, 3), found.detector.mean > found.mean, found.detector.sd > found.sd
    (0.409, True, True)
    """
    if len(losses) < 2:
        raise Invalid(
            "baseline_of",
            needs="at least 2 blocks of losses",
            came=str(len(losses)),
            todo="Wait until the labels of more blocks have arrived.",
        )
    values = [each.mean for each in losses]
    mean = math.fsum(values) / len(values)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    every = options.false_alarm_every / DAY
    # Blocks that are all alike (a model that never erred) fix the mean; any rise is news.
    least = 1e-9 * max(abs(mean), 1e-3)
    detector = (
        from_reference(values, every=every)
        if sd > least
        else EDetector(mean=mean + least, sd=least, every=every)
    )
    n_rows = sum(each.n_rows for each in losses)
    return Baseline(mean, sd, len(losses), n_rows / len(losses), detector)


def take_in(state: Performance, loss: BlockLoss, options: MonitorOptions) -> Performance:
    """Return the state after one more block; the same when the block is not newer.

    A block with fewer rows than those of the reference is noisier; its deviation from the
    reference is shrunk by the root of the ratio, so that a holiday is no alarm.
    """
    if state.last_block is not None and loss.block <= state.last_block:
        return state
    recent = (*state.recent, loss)
    if state.baseline is None or state.detector is None:
        state = replace(state, recent=recent, last_block=loss.block)
        if len(recent) < options.min_reference_blocks:
            return state
        baseline = baseline_of(recent, options)
        return replace(state, baseline=baseline, detector=baseline.detector, recent=())
    detector = state.detector
    trust = min(1.0, math.sqrt(loss.n_rows / state.baseline.rows_per_block))
    detector = detector.update(detector.mean + trust * (loss.mean - detector.mean))
    return replace(
        state,
        detector=detector,
        recent=recent[-options.window_days :],
        last_block=loss.block,
    )
