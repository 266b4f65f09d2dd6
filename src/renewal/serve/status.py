"""What a worker process says of itself, and how the words of several are added up.

Counts are kept in one form: a family, the values of its labels, and one or more numbers (of a
histogram the count of each bucket, then the sum). Two workers are added number by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from renewal.core.plan import Plan

Labels = tuple[str, ...]
Counts = dict[str, list[tuple[Labels, list[float]]]]
"""By family: pairs of label values and numbers."""


class ArmStatus(msgspec.Struct, frozen=True):
    """An arm of a plan, or a shadow: whom it asks and how much of the traffic it gets."""

    arm: str
    version: str
    weight: float
    form: str = ""


class ModelStatus(msgspec.Struct, frozen=True):
    """What a worker serves a model by.

    Parameters
    ----------
    plan_seq : int
        Number of the plan; -1 where nothing is loaded.
    stage : str
        Of the plan.
    arms : list of ArmStatus
        With those of weight 0, and the shadows, whose arm is ``shadow``.
    queue_rows : dict of str to int
        Rows that wait, by version.
    failure : str
        Why the newest plan could not be followed.
    is_unloaded : bool
        Whether somebody has unloaded it.
    """

    plan_seq: int = -1
    stage: str = ""
    arms: list[ArmStatus] = []
    queue_rows: dict[str, int] = {}
    failure: str = ""
    is_unloaded: bool = False


class Event(msgspec.Struct, frozen=True):
    """A swap, or one that failed.

    Parameters
    ----------
    at : float, seconds since 1970
        When.
    model, what : str
        Whose, and what happened.
    is_failure : bool
        Whether it failed.
    """

    at: float
    model: str
    what: str
    is_failure: bool = False


class WorkerStatus(msgspec.Struct, frozen=True):
    """What a worker process says of itself once a second.

    Parameters
    ----------
    worker, pid : int
        Its number among the workers, and its process.
    started_at, at : float, seconds since 1970
        When it started, and when it said this.
    url : str
        Where it listens.
    listens_late : bool
        Whether it takes connections only once its models are loaded.
    has_started : bool
        Whether it listens and has tried to load every model.
    is_ready, is_draining : bool
        Whether it takes requests, and whether it is on its way out.
    models : dict of str to ModelStatus
        By name.
    gauges : dict of str to float
        What goes up and down.
    counts : Counts
        What only grows.
    events : list of Event
        The newest swaps and failures, the oldest first.
    """

    worker: int
    pid: int
    started_at: float
    at: float
    url: str = ""
    listens_late: bool = False
    has_started: bool = False
    is_ready: bool = False
    is_draining: bool = False
    models: dict[str, ModelStatus] = {}
    gauges: dict[str, float] = {}
    counts: Counts = {}
    events: list[Event] = []


class Ended(msgspec.Struct, frozen=True):
    """The counts of workers that are gone, and the names of their files."""

    names: list[str] = []
    counts: Counts = {}


_STATUS = msgspec.json.Decoder(WorkerStatus)
_ENDED = msgspec.json.Decoder(Ended)
_ENCODER = msgspec.json.Encoder()


def encode_status(status: WorkerStatus | Ended) -> bytes:
    """Return a state as JSON."""
    return _ENCODER.encode(status)


def decode_status(data: bytes) -> WorkerStatus | None:
    """Read the state of a worker; None where it is of another form, say another release's."""
    try:
        return _STATUS.decode(data)
    except msgspec.MsgspecError:
        return None


def decode_ended(data: bytes) -> Ended:
    """Read the counts of workers that are gone; nothing where they are of another form."""
    try:
        return _ENDED.decode(data)
    except msgspec.MsgspecError:
        return Ended()


def added(several: Iterable[Counts]) -> Counts:
    """Add counts, family by family and label by label.

    Examples
    --------
    >>> one = {"rows": [(("flights", "v1"), [3.0])]}
    >>> two = {"rows": [(("flights", "v1"), [4.0]), (("flights", "v2"), [1.0])]}
    >>> added([one, two])
    {'rows': [(('flights', 'v1'), [7.0]), (('flights', 'v2'), [1.0])]}
    """
    sums: dict[str, dict[Labels, list[float]]] = {}
    for counts in several:
        for family, series in counts.items():
            there = sums.setdefault(family, {})
            for labels, values in series:
                before = there.get(labels)
                if before is None or len(before) != len(values):
                    there[labels] = list(values)
                else:
                    there[labels] = [a + b for a, b in zip(before, values, strict=True)]
    return {family: list(series.items()) for family, series in sums.items()}


def plan_words(plan: Plan, names: Mapping[str, str]) -> str:
    """Return a plan in a few words.

    Parameters
    ----------
    plan : Plan
        Of a model.
    names : mapping of str to str
        By version id its name, such as ``v3``.

    Examples
    --------
    >>> from renewal.core.plan import Arm
    >>> arms = (Arm("champion", "a", 0.9), Arm("candidate", "b", 0.1))
    >>> plan_words(Plan("flights", "canary", arms), {"a": "v1", "b": "v2"})
    'canary: v1 90%, v2 10%'
    """
    said = [
        f"{names.get(arm.version_id, '?')} {100 * arm.weight:.3g}%"
        for arm in plan.arms
        if arm.weight > 0
    ]
    answering = {arm.version_id for arm in plan.arms if arm.weight > 0}
    said += [f"{names.get(each, '?')} in shadow" for each in plan.shadow if each not in answering]
    return f"{plan.stage}: {', '.join(said)}"
