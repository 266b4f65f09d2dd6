"""prune.rounds: the first rounds of a boosted model, as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from renewal.compress.contract import Family
from renewal.compress.form import Form
from renewal.compress.material import Material
from renewal.core.errors import Invalid
from renewal.core.plugin import load_plugin, plugin_names

_N_LEVELS = 12


class Truncation(Protocol):
    """How the models of one adapter are cut short.

    Constructed without arguments; registered under ``renewal.truncations`` by the name of the
    adapter.
    """

    def n_rounds(self, form: Form) -> int:
        """Return how many rounds there are; 0 where the model is not boosted."""
        ...

    def first(self, form: Form, rounds: int) -> Form:
        """Return the form with its first rounds alone, at least 1 and at most all."""
        ...


@dataclass(frozen=True, slots=True)
class RoundsOptions:
    """How many rounds are kept.

    Parameters
    ----------
    rounds : int >= 1 or None, default None
        The first ones; more than there are, or None: all of them.
    """

    rounds: int | None = None


class PruneRounds:
    """Keep the first rounds of a boosted model.

    Rounds are added one by one, each to what those before it say, so the first n are the
    model that a fit of n rounds would have been. Nothing is fitted, and shorter models are
    nested in longer ones. With several classes a round holds a tree for each.

    Notes
    -----
    A few milliseconds. Scores equal those of the library's own early end
    (``num_iteration``, ``iteration_range``, ``staged_predict``).

    Examples
    --------
    >>> PruneRounds().takes
    ('lightgbm', 'sklearn', 'xgboost')
    """

    name: ClassVar[str] = "prune.rounds"
    family: ClassVar[Family] = "prune"
    takes: ClassVar[tuple[str, ...]] = plugin_names("truncations")
    Options: ClassVar[type[Any]] = RoundsOptions
    knob: ClassVar[str | None] = "rounds"
    learns: ClassVar[bool] = False

    def why_not(self, form: Form, material: Material) -> str | None:  # noqa: ARG002  # the contract's
        """Return that it is not boosted, or has one round."""
        if form.adapter not in self.takes:
            return f"nobody registered how models of {form.adapter} are cut short"
        n_rounds = _truncation(form).n_rounds(form)
        if n_rounds == 0:
            return "the model is not boosted: it has no rounds"
        return "the model has a single round" if n_rounds == 1 else None

    def levels(self, form: Form, material: Material) -> tuple[RoundsOptions, ...]:  # noqa: ARG002  # the contract's
        """Return numbers of rounds, each about 0.7 of the one before."""
        n_rounds = _truncation(form).n_rounds(form)
        shares = 0.5 ** (0.5 * np.arange(1, _N_LEVELS + 1))
        counts = np.unique(np.maximum(1, np.round(n_rounds * shares).astype(int)))[::-1]
        return tuple(RoundsOptions(int(each)) for each in counts if each < n_rounds)

    def apply(
        self,
        form: Form,
        options: RoundsOptions,
        material: Material,
        *,
        seed: int,  # noqa: ARG002  # nothing is drawn
    ) -> Form:
        """Return the form with its first rounds alone."""
        reason = self.why_not(form, material)
        if reason is not None or (options.rounds is not None and options.rounds < 1):
            raise Invalid(
                self.name,
                needs="a boosted model of several rounds, and at least one of them to keep",
                came=reason or f"rounds={options.rounds}",
                todo="Take another technique, or one of the levels.",
            )
        truncation = _truncation(form)
        n_rounds = truncation.n_rounds(form)
        kept = n_rounds if options.rounds is None else min(options.rounds, n_rounds)
        return truncation.first(form, kept)


def _truncation(form: Form) -> Truncation:
    found: Truncation = load_plugin("truncations", form.adapter)()
    return found
