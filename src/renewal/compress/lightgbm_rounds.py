"""How models of LightGBM are cut short."""

from __future__ import annotations

from dataclasses import replace

import lightgbm

from renewal.compress.boosted import boosted_of
from renewal.compress.form import Form

# The names by which a recipe may say how many rounds it wants.
_ROUNDS = ("n_estimators", "num_iterations", "num_iteration", "n_iter", "num_tree", "num_trees",
           "num_round", "num_rounds", "nrounds", "num_boost_round", "max_iter")  # fmt: skip


class LightgbmRounds:
    """The library's text format, written with fewer iterations."""

    def n_rounds(self, form: Form) -> int:
        """Return how many iterations there are."""
        return int(boosted_of(form).booster.current_iteration())

    def first(self, form: Form, rounds: int) -> Form:
        """Return the form with its first iterations alone; its recipe then asks for as many."""
        model = boosted_of(form)
        text = model.booster.model_to_string(num_iteration=rounds)
        params = {name: rounds if name in _ROUNDS else each for name, each in model.params.items()}
        cut = replace(model, booster=lightgbm.Booster(model_str=text), params=params)
        return replace(form, estimator=cut)
