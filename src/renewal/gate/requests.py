"""Requests for labels: which rows were asked for, with which chance, and what their labels say.

The frame of a request is every row on which two versions might be judged. Rows on which they
cannot differ count as 0 without a label, rows whose label was there count as what they are,
and a row that was asked for with chance 0.1 stands for ten: the means of the blocks are
unbiased for the whole frame, whatever was asked for.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select

from renewal.core.errors import Corrupt
from renewal.evaluate.series import Series
from renewal.gate.claims import Proof
from renewal.gate.estimates import estimate_of
from renewal.gate.judge import Evidence
from renewal.gate.tables import label_requests
from renewal.registry.db import Database
from renewal.stats.discordant import Discordant
from renewal.stats.sampling import weighted_block_means

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """A request for labels, as the registry keeps it.

    Parameters
    ----------
    id : str
        Sorts by the time of its making.
    model : str
        Whose.
    candidate, baseline : str
        Ids of the versions that the labels are to tell apart.
    metric : {"accuracy", "loss"}
        What the rows were chosen for.
    n_frame : int
        Rows that the answer is about.
    n_asked : int
        Rows whose label was asked for.
    frame : str
        Digest of its `Frame`.
    made_at : datetime
        When; a label of an asked row that arrived later exists because of the request.
    """

    id: str
    model: str
    candidate: str
    baseline: str
    metric: str
    n_frame: int
    n_asked: int
    frame: str
    made_at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The rows that a request is about, and those among them whose label counts.

    Parameters
    ----------
    key_hash, group_hash : uint64 arrays, shape (n_rows,)
        Of every row.
    event_us : int64 array, shape (n_rows,)
        Event time, microseconds since 1970.
    blocks : int64 array, shape (n_blocks,)
        Ids of the units of evidence, in order.
    block_at : int64 array, shape (n_rows,)
        Position of each row's block.
    at : int64 array, shape (n_counted,)
        Rows whose label counts, ascending: asked for, or labeled before and decisive.
    chance : float64 array in (0, 1], shape (n_counted,)
        With which each was asked for; 1 where its label was there.
    is_asked : bool array, shape (n_counted,)
        Whether it was asked for.
    baseline_scores, candidate_scores : float64 arrays, shape (n_counted, n_scores)
        What the versions said of them when they were chosen.
    unit : str
        What a block is, such as ``day``.
    is_ordered : bool
        Whether blocks are stretches of time.
    n_seen : int
        Rows set aside: trained on, or used by a verdict on another pair.
    expected : float
        The baseline's metric as far as it can be known without labels.
    """

    key_hash: NDArray[np.uint64]
    group_hash: NDArray[np.uint64]
    event_us: Ints
    blocks: Ints
    block_at: Ints
    at: Ints
    chance: Floats
    is_asked: NDArray[np.bool_]
    baseline_scores: Floats
    candidate_scores: Floats
    unit: str
    is_ordered: bool
    n_seen: int
    expected: float

    @property
    def asked(self) -> NDArray[np.uint64]:
        """Hashes of the keys that were asked for, in the order of the frame."""
        return self.key_hash[self.at[self.is_asked]]

    @property
    def n_block_rows(self) -> Ints:
        """Rows of each block, labeled or not."""
        return np.bincount(self.block_at, minlength=len(self.blocks)).astype(np.int64)

    def to_bytes(self) -> bytes:
        """Return the frame as the bytes of a NumPy archive."""
        out = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        facts = np.array([self.is_ordered, self.n_seen], np.int64)
        np.savez_compressed(
            out,
            unit=np.array([self.unit]),
            facts=facts,
            expected=np.array([self.expected]),
            **arrays,
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Frame:
        """Read what `to_bytes` wrote.

        Raises
        ------
        Corrupt
            When the bytes are no such archive.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                arrays = {name: found[name] for name in _ARRAYS}
                unit = str(found["unit"][0])
                is_ordered, n_seen = map(int, found["facts"])
                expected = float(found["expected"][0])
        except _UNREADABLE as error:
            raise Corrupt(
                "Frame.from_bytes",
                needs="the bytes of the frame of a request",
                came=f"{len(data)} bytes that start with {data[:8]!r}",
                todo="Restore the blob from a copy of the store.",
            ) from error
        return cls(
            **arrays, unit=unit, is_ordered=bool(is_ordered), n_seen=n_seen, expected=expected
        )


_UNREADABLE = (
    ValueError,
    LookupError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
_ARRAYS = (
    "key_hash",
    "group_hash",
    "event_us",
    "blocks",
    "block_at",
    "at",
    "chance",
    "is_asked",
    "baseline_scores",
    "candidate_scores",
)


def add_request(connection: Connection, request: LabelRequest) -> None:
    """Write a request down, in the caller's transaction.

    Parameters
    ----------
    connection : Connection
        Of `Database.transaction`.
    request : LabelRequest
        Its frame is in the store already, so that a crash leaves no request without one.
    """
    values = {name: getattr(request, name) for name in LabelRequest.__dataclass_fields__}
    connection.execute(insert(label_requests).values(**values))


def requests_of(db: Database, model: str) -> tuple[LabelRequest, ...]:
    """Return every request for labels of a model, oldest first."""
    query = select(label_requests).where(label_requests.c.model == model)
    with db.read() as connection:
        rows = connection.execute(query.order_by(label_requests.c.id)).mappings().all()
    return tuple(LabelRequest(**row) for row in rows)


def request_for(db: Database, model: str, pair: tuple[str, str]) -> LabelRequest | None:
    """Return the newest request that is to tell a pair apart; None when nobody asked.

    Parameters
    ----------
    db : Database
        Of the home.
    model : str
        Whose.
    pair : tuple of (candidate id, baseline id)
        A request against another baseline, such as a former champion, says nothing here.
    """
    found = [each for each in requests_of(db, model) if (each.candidate, each.baseline) == pair]
    return found[-1] if found else None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the labels that came say by one metric, on the rows of a frame that count.

    Parameters
    ----------
    metric : str
        Its name.
    came : bool array, shape (n_counted,)
        Which of the frame's counted rows have a label by now.
    baseline, candidate : float64 arrays, shape (n_came,)
        The metric of each of these rows.
    higher_is_better : bool
        Whether the metric grows with quality.
    reach : float
        The largest absolute difference that a row can have; may be infinite.
    """

    metric: str
    came: NDArray[np.bool_]
    baseline: Floats
    candidate: Floats
    higher_is_better: bool
    reach: float


def evidence_of(proof: Proof, request: LabelRequest, frame: Frame, answer: Answer) -> Evidence:
    r"""Return the evidence for a claim from the labels that a request brought.

    The gain of block *b* is :math:`\frac1{n_b} \sum_{i \in b} y_i / \pi_i` over the labels
    that came, with all :math:`n_b` rows of the block below the line. Asked rows without a
    label are taken as missing at random: the chances of the others shrink by the share that
    came.

    Parameters
    ----------
    proof : Proof
        The claim.
    request : LabelRequest
        What was asked.
    frame : Frame
        Of the request.
    answer : Answer
        The labels that came, by the metric of the claim.

    Notes
    -----
    For accuracy, agreeing rows have no label: both values of the series count them as right.
    Where rows are independent and all were drawn with one chance, the one look is the mid-p
    McNemar test on the rows asked for, which is exact whatever share of them was drawn.
    """
    sign = 1.0 if answer.higher_is_better else -1.0
    y = sign * (answer.candidate - answer.baseline)
    chance = _chances(frame, answer.came)
    rows = frame.n_block_rows
    gains = np.zeros(len(frame.blocks))
    if len(y):
        block_at = frame.block_at[frame.at[answer.came]]
        gains = weighted_block_means(y, chance, block_at, rows)
    is_right = request.metric == "accuracy"
    old, new = (
        _value(each, chance, frame, misses_only=is_right)
        for each in (answer.baseline, answer.candidate)
    )
    series = Series(
        metric=answer.metric,
        baseline=request.baseline,
        candidate=request.candidate,
        baseline_value=old,
        candidate_value=new,
        unit=frame.unit,
        higher_is_better=answer.higher_is_better,
        blocks=frame.blocks,
        n_block_rows=rows,
        gains=gains,
        from_us=int(frame.event_us.min()),
        until_us=int(frame.event_us.max()),
        n_seen=frame.n_seen,
        has_groups=bool((rows > 1).any()),
        is_ordered=frame.is_ordered,
        reach=answer.reach / float(chance.min()) if len(chance) else answer.reach,
    )
    exact = _mcnemar(y, chance, series) if is_right else None
    if exact is None:
        estimate = estimate_of(series)
    else:
        estimate = estimate_of(series, bounds=exact, method="McNemar, mid-p, on the rows asked")
    return Evidence(proof, series, estimate)


def _chances(frame: Frame, came: NDArray[np.bool_]) -> Floats:
    """Return the chance with which each label that came was asked for and came."""
    n_asked = int(frame.is_asked.sum())
    share = int((frame.is_asked & came).sum()) / n_asked if n_asked else 1.0
    found: Floats = np.where(frame.is_asked, frame.chance * share, frame.chance)[came]
    return found


def _value(values: Floats, chance: Floats, frame: Frame, *, misses_only: bool) -> float:
    """Estimate a version's metric over the frame."""
    if misses_only:
        return 1.0 - float(((1.0 - values) / chance).sum()) / len(frame.key_hash)
    if not len(values):
        return frame.expected
    return float((values / chance).sum() / (1.0 / chance).sum())


def _mcnemar(y: Floats, chance: Floats, series: Series) -> Discordant | None:
    """Return the exact test where rows are single and were drawn alike; else None."""
    if series.has_groups or series.is_ordered or not len(y) or np.ptp(chance) > 0.0:
        return None
    won, lost = int((y > 0).sum()), int((y < 0).sum())
    # A share of the disagreeing rows stands for a frame that is smaller by that share.
    n_rows = max(round(series.n_rows * float(chance[0])), won + lost, 1)
    return Discordant(won, lost, n_rows=n_rows)


def is_complete(share: float) -> bool:
    """Say whether so many of the asked labels came that the rest may be taken as random.

    Examples
    --------
    >>> is_complete(0.95), is_complete(0.6)
    (True, False)
    """
    return not math.isnan(share) and share >= LEAST_SHARE


LEAST_SHARE = 0.9
"""The least share of asked labels with which a request is judged."""
