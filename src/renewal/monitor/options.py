"""When the monitor speaks: its part of the policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from renewal.core.errors import Invalid

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """What is compared, how large a change has to be, and how often a false alarm may come.

    Parameters
    ----------
    window : timedelta, whole days, default 7 days
        How much of the newest traffic is compared with the reference; a week, so that
        weekdays and weekends are in it as they are in the reference.
    tolerated_psi : float >= 0, default 0.2
        A shift of a feature that is not worth an alarm, as population stability index.
    false_alarm_every : timedelta, at least 2 days, default 365 days
        Mean time between false alarms of one kind, at least.
    min_reference_blocks : int >= 2, blocks, default 7
        Days of live losses that become the reference of the performance detector.
    loss_floor_share : float >= 0, default 0.05
        A rise of the loss that is not worth an alarm, as a share of the reference loss.
    n_bins : int >= 2, default 10
        Bins of a numeric feature, and most frequent categories that are told apart.

    Examples
    --------
    >>> MonitorOptions().daily_alpha < 0.003
    True
    """

    window: timedelta = timedelta(days=7)
    tolerated_psi: float = 0.2
    false_alarm_every: timedelta = timedelta(days=365)
    min_reference_blocks: int = 7
    loss_floor_share: float = 0.05
    n_bins: int = 10

    def __post_init__(self) -> None:
        """Refuse a window without whole days and thresholds that say nothing."""
        if self.window < DAY or self.window % DAY:
            _refuse("a window of whole days, at least one", f"window = {self.window}")
        if self.false_alarm_every < 2 * DAY:
            came = f"false_alarm_every = {self.false_alarm_every}"
            _refuse("at least 2 days between false alarms", came)
        if self.min_reference_blocks < 2:
            came = f"min_reference_blocks = {self.min_reference_blocks}"
            _refuse("at least 2 reference blocks", came)
        if self.n_bins < 2:
            _refuse("at least 2 bins", f"n_bins = {self.n_bins}")
        for name in ("tolerated_psi", "loss_floor_share"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                _refuse(f"{name} of at least 0", repr(getattr(self, name)))

    @property
    def window_days(self) -> int:
        """How many days one comparison of the features covers."""
        return self.window // DAY

    @property
    def daily_alpha(self) -> float:
        """Level of one look at the features, of which there is one a day.

        The expected number of false looks is the sum of their levels, however much
        neighboring windows overlap: one in `false_alarm_every`.
        """
        return DAY / self.false_alarm_every


def _refuse(needs: str, came: str) -> None:
    raise Invalid("MonitorOptions", needs=needs, came=came, todo="Correct the [monitor] table.")
