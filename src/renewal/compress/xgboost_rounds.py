"""How models of XGBoost are cut short."""

from __future__ import annotations

from dataclasses import replace

from renewal.compress.boosted import boosted_of
from renewal.compress.form import Form


class XgboostRounds:
    """A slice of the booster."""

    def n_rounds(self, form: Form) -> int:
        """Return how many rounds there are; 0 where the model is linear."""
        model = boosted_of(form)
        if model.params.get("booster") == "gblinear":
            return 0
        return int(model.booster.num_boosted_rounds())

    def first(self, form: Form, rounds: int) -> Form:
        """Return the form with its first rounds alone; its recipe then asks for as many."""
        model = boosted_of(form)
        params = {**model.params, "n_estimators": rounds}
        cut = replace(model, booster=model.booster[:rounds], params=params)
        # Written and read once: a slice and a stored model are then one thing.
        return replace(form, estimator=form.runs.load(form.runs.dump(cut)))
