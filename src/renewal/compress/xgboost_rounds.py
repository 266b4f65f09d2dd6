"""How models of XGBoost are cut short."""

from __future__ import annotations

from dataclasses import replace

from renewal.compress.form import Form
from renewal.models.boosters_library import Boosted


class XgboostRounds:
    """A slice of the booster."""

    def n_rounds(self, form: Form) -> int:
        """Return how many rounds there are; 0 where the model is linear."""
        model = _boosted(form)
        if model.params.get("booster") == "gblinear":
            return 0
        return int(model.booster.num_boosted_rounds())

    def first(self, form: Form, rounds: int) -> Form:
        """Return the form with its first rounds alone; its recipe then asks for as many."""
        model = _boosted(form)
        params = {**model.params, "n_estimators": rounds}
        cut = replace(model, booster=model.booster[:rounds], params=params)
        # Written and read once: a slice and a stored model are then one thing.
        return replace(form, estimator=form.runs.load(form.runs.dump(cut)))


def _boosted(form: Form) -> Boosted:
    """Return the model in the form in which the adapter stores it."""
    if isinstance(form.estimator, Boosted):
        return form.estimator
    stored: Boosted = form.runs.load(form.runs.dump(form.estimator))
    return stored
