"""Score maps: a few numbers that correct the scores of a model which stays as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import reduce
from typing import Any, Protocol, cast

from renewal.core.errors import Invalid
from renewal.models.score_map_curves import Isotonic, Sigmoid, Temperature
from renewal.models.score_map_weights import Costs, Prior, Shift
from renewal.models.task import Scores

_FORMAT = "renewal.score_map/1"
_KINDS: dict[str, Any] = {
    each.kind: each for each in (Temperature, Sigmoid, Isotonic, Prior, Shift, Costs)
}


class Step(Protocol):
    """One correction: a frozen dataclass of numbers and tuples of numbers.

    Attributes
    ----------
    kind : str
        As it is stored.
    n_scores : int or None
        Columns that it takes; None: any number.
    """

    @property
    def kind(self) -> str:
        """Its name in the stored form."""
        ...

    @property
    def n_scores(self) -> int | None:
        """The columns that it takes."""
        ...

    def apply(self, scores: Scores) -> Scores:
        """Return the corrected scores, of the same shape."""
        ...


@dataclass(frozen=True)
class ScoreMap:
    """Corrections of scores, applied one after the other.

    Usually one (a calibration); two where a decision by costs follows a calibration.

    Parameters
    ----------
    steps : tuple of Step
        One or more, all for the same number of scores.

    Raises
    ------
    Invalid
        When there is no step, or two take different numbers of scores.

    Examples
    --------
    >>> import numpy as np
    >>> halved = ScoreMap((Temperature(2.0),))
    >>> halved.apply(np.array([[0.1, 0.9]])).round(3).tolist()
    [[0.25, 0.75]]
    >>> ScoreMap.from_bytes(halved.to_bytes()) == halved
    True
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        """Refuse steps that do not fit together."""
        widths = {each.n_scores for each in self.steps} - {None}
        if not self.steps or len(widths) > 1:
            raise Invalid(
                "ScoreMap",
                needs="one or more steps for the same number of scores",
                came=f"{len(self.steps)} steps for {sorted(map(str, widths))} scores",
                todo="Fit all of them on the scores of one model.",
            )

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it does, in order, such as ``("sigmoid", "costs")``."""
        return tuple(each.kind for each in self.steps)

    @property
    def n_scores(self) -> int | None:
        """The number of scores that it takes; None: any."""
        return next((each.n_scores for each in self.steps if each.n_scores is not None), None)

    def apply(self, scores: Scores) -> Scores:
        """Return the corrected scores; what came in is not changed.

        Parameters
        ----------
        scores : float64 array, shape (n_rows, n_scores)
            Of the model inside.

        Raises
        ------
        Invalid
            When it was made for another number of scores.

        Notes
        -----
        About 10 microseconds for one row.
        """
        if self.n_scores is not None and scores.shape[1] != self.n_scores:
            raise Invalid(
                "ScoreMap.apply",
                needs=f"{self.n_scores} scores a row, for which it was made",
                came=f"shape {scores.shape}",
                todo="Fit a map on the scores of this very model.",
            )
        return reduce(lambda found, step: step.apply(found), self.steps, scores)

    def to_bytes(self) -> bytes:
        """Return it as canonical JSON: equal maps have equal bytes, and digests."""
        plain = {"format": _FORMAT, "steps": list(map(_plain, self.steps))}
        return json.dumps(
            plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"), sort_keys=True
        ).encode()

    @staticmethod
    def from_bytes(data: bytes) -> ScoreMap:
        """Return the map in `data`: numbers alone, so no code and nothing to trust.

        Raises
        ------
        Invalid
            When the bytes are no score map, or one of a newer release.
        """
        try:
            plain = json.loads(data)
            if plain["format"] != _FORMAT:
                raise _unreadable(f"the format {plain['format']!r}")
            return ScoreMap(tuple(map(_step, plain["steps"])))
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise _unreadable(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Mapped:
    """A fitted estimator with a map of its scores: what a version with both loads as.

    Never stacked: of a `Mapped` handed in as `estimator`, the one inside is taken, so that
    recalibrating replaces the map.

    Parameters
    ----------
    estimator : object
        Of any adapter; shared, not copied.
    score_map : ScoreMap
        For its number of scores.
    artifact : str or None, default None
        Digest of the bytes from which `estimator` was loaded, where it is as it was then:
        these are stored, and not what another dump would give.

    Examples
    --------
    >>> first = Mapped("a model", ScoreMap((Temperature(2.0),)))
    >>> Mapped(first, ScoreMap((Temperature(3.0),))).estimator
    'a model'
    """

    estimator: Any
    score_map: ScoreMap
    artifact: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Take the estimator out of an earlier map."""
        object.__setattr__(self, "estimator", unmapped(self.estimator))


def unmapped(estimator: Any) -> Any:
    """Return the estimator inside a `Mapped`; any other as it is."""
    return estimator.estimator if isinstance(estimator, Mapped) else estimator


def decision_of(estimator: Any) -> tuple[Costs, ...]:
    """Return the steps of its map by which an estimator decides; none where it has none.

    What mistakes cost holds whatever the model learns next; the other steps correct the scores
    of the model as it was, and are gone with it.

    Examples
    --------
    >>> costs = Costs(((0.0, 1.0), (5.0, 0.0)))
    >>> decision_of(Mapped("a model", ScoreMap((Temperature(2.0), costs)))) == (costs,)
    True
    >>> decision_of("a model")
    ()
    """
    steps = estimator.score_map.steps if isinstance(estimator, Mapped) else ()
    return tuple(step for step in steps if isinstance(step, Costs))


def _plain(step: Step) -> dict[str, Any]:
    named = {each.name: getattr(step, each.name) for each in fields(cast("Any", step))}
    return {"kind": step.kind, **named}


def _step(plain: dict[str, Any]) -> Step:
    values = {name: _tuples(value) for name, value in plain.items() if name != "kind"}
    return cast("Step", _KINDS[plain["kind"]](**values))


def _tuples(value: Any) -> Any:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return tuple(map(_tuples, value)) if is_list else value


def _unreadable(came: str) -> Invalid:
    return Invalid(
        "ScoreMap.from_bytes",
        needs=f"a score map in the format {_FORMAT}",
        came=came,
        todo="Upgrade renewal, or recalibrate the version again.",
    )
