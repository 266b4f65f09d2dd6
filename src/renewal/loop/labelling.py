"""Labels where they decide: which rows to ask about, so that few labels tell two versions apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from renewal.core.errors import Conflict
from renewal.core.plugin import load_plugin
from renewal.core.version import Version
from renewal.data.rows import Rows
from renewal.gate.label_plan import LabelPlan
from renewal.gate.ledger import looks_at
from renewal.gate.requests import Frame, LabelRequest, add_request, request_for
from renewal.loop.choosing import Wanted, choose
from renewal.loop.lease import held
from renewal.loop.sampled import frame_of
from renewal.loop.sealing import seal
from renewal.loop.workshop import Workshop
from renewal.models.task import Task
from renewal.rollout.states import open_rollout

_WHO = "renewal label-request"


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A request for labels, with the rows that still need one.

    Parameters
    ----------
    request : LabelRequest
        As it is kept.
    rows : Rows
        Asked for and without a label, in the order of event time.
    numbers : int64 array, shape (n_rows,)
        Their numbers in the request, from 0.
    chance : float64 array, shape (n_rows,)
        With which each was asked for.
    said : tuple of two arrays of shape (n_rows,)
        What the champion and the candidate predict: a label or a value.
    n_known : int
        Rows whose label was there already and counts, too.
    n_decisive : int or None
        Rows without a label on which the versions can differ; None for a request that was
        made before.
    plan : LabelPlan or None
        None for a request that was made before, and where nothing can be planned.
    """

    request: LabelRequest
    rows: Rows
    numbers: NDArray[np.int64]
    chance: NDArray[np.float64]
    said: tuple[NDArray[Any], NDArray[Any]]
    n_known: int
    n_decisive: int | None = None
    plan: LabelPlan | None = None

    @property
    def n_came(self) -> int:
        """Labels of the request that are there."""
        return self.request.n_asked - len(self.rows)


def ask(shop: Workshop, candidate: Version, wanted: Wanted, *, who: str) -> Asked:
    """Ask for labels that tell a candidate from the champion; show an open request again.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    candidate : Version
        Not the champion.
    wanted : Wanted
        How many, for what.
    who : str
        For the log.

    Returns
    -------
    Asked
        With no row where the versions answer alike: there is nothing to label, and the gate
        judges that as it stands.

    Raises
    ------
    Refused
        When no row, or no row without a label, is left to ask about; when there are fewer
        blocks than the gate decides on; when no number of labels suffices and none was named.
    Conflict
        When it is the champion; when the one fixed look at the pair has been taken, or its
        rollout is under way; when an open request was made for something else.
    Invalid
        When a claim of the policy cannot be proved by such labels.

    Notes
    -----
    Scores both versions on the whole frame, once. Rows, chances and scores are kept with
    the request, so the verdict does not depend on what is read later.
    """
    champion = shop.registry.version(shop.spec.name, "champion")
    _judgeable(shop, candidate, champion)
    with held(shop.db, shop.watched):
        seal(shop)
        before = request_for(shop.db, shop.spec.name, (candidate.id, champion.id))
        if before is not None and not wanted.anew:
            if wanted.n_labels is not None or wanted.metric not in {None, before.metric}:
                raise Conflict(
                    _WHO,
                    needs="no open request for the two versions",
                    came=f"one for {before.n_asked:,} labels of {before.made_at:%Y-%m-%d %H:%M}",
                    todo="Leave the options out to see it again, or ask anew: --anew.",
                )
            return _shown(shop, before, candidate, champion)
        request, n_decisive, plan = choose(shop, candidate, champion, wanted)
        with shop.db.transaction() as connection:
            add_request(connection, request)
            shop.registry.note(
                shop.spec.name,
                "label_request",
                who=who,
                why=f"{request.n_asked:,} labels to tell {candidate.name} from {champion.name}",
                details={"request": request.id, "metric": request.metric},
                connection=connection,
            )
    shown = _shown(shop, request, candidate, champion)
    return replace(shown, n_decisive=n_decisive, plan=plan)


def _judgeable(shop: Workshop, candidate: Version, champion: Version) -> None:
    """Refuse a pair of which such labels could not decide."""
    if candidate.id == champion.id:
        raise Conflict(
            _WHO,
            needs="a candidate beside the champion",
            came=f"{candidate.name}, which is the champion",
            todo="Name another version.",
        )
    with shop.db.read() as connection:
        rollout = open_rollout(connection, shop.spec.name)
    if rollout is not None and rollout.candidate == candidate.id:
        raise Conflict(
            _WHO,
            needs="a candidate whose rollout has not begun",
            came=f"{candidate.name}, in {rollout.stage}",
            todo="Its live pairs decide now: renewal watch.",
        )
    look = next(iter(looks_at(shop.db, shop.spec.name, candidate.id, champion.id)), None)
    if look is not None:
        raise Conflict(
            _WHO,
            needs="a pair that the gate has not looked at",
            came=f"{candidate.name}, which was first looked at on {look.at:%Y-%m-%d}",
            todo="Its running test goes on over labelled rows that come from now on.",
        )


def _shown(shop: Workshop, request: LabelRequest, candidate: Version, champion: Version) -> Asked:
    """Return a request with those of its rows that have no label yet."""
    frame = frame_of(shop, request)
    task = load_plugin("tasks", shop.spec.task)()
    found, at = counted_rows(shop, frame)
    is_asked = frame.is_asked[at]
    wanted = np.flatnonzero(is_asked & ~found.has_label)
    places = at[wanted]
    said = [
        np.asarray(_predicted(task, scores[places], version))
        for version, scores in (
            (champion, frame.baseline_scores),
            (candidate, frame.candidate_scores),
        )
    ]
    numbers = (np.cumsum(frame.is_asked) - 1)[places].astype(np.int64)
    return Asked(
        request,
        found.take(wanted),
        numbers,
        frame.chance[places],
        (said[0], said[1]),
        n_known=int((~frame.is_asked).sum()),
    )


def _predicted(task: Task, scores: NDArray[np.float64], version: Version) -> NDArray[Any]:
    outputs = task.outputs(scores, version.manifest.classes)
    return outputs["label"] if "label" in outputs else scores[:, 0]


def counted_rows(shop: Workshop, frame: Frame) -> tuple[Rows, NDArray[np.int64]]:
    """Return the rows of a frame whose label counts, and their places in its arrays.

    Parameters
    ----------
    shop : Workshop
        The rooms.
    frame : Frame
        Of a request.

    Returns
    -------
    rows : Rows
        With the labels that came by now; a row that the feed no longer has is left out.
    at : int64 array, shape (n_rows,)
        Places in ``frame.at``, ascending.
    """
    hashes = frame.key_hash[frame.at]
    since_us = None if shop.spec.time is None else int(frame.event_us.min())
    rows = shop.feed.rows(since_us=since_us)
    rows = rows.take(np.isin(rows.key_hash, hashes))
    order = np.argsort(hashes)
    at = order[np.searchsorted(hashes[order], rows.key_hash)].astype(np.int64)
    by_place = np.argsort(at)
    return rows.take(by_place), at[by_place]
