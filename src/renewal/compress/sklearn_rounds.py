"""How boosted models of scikit-learn are cut short."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import AdaBoostClassifier, AdaBoostRegressor
from sklearn.ensemble._gb import BaseGradientBoosting
from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting

from renewal.compress.form import Form
from renewal.compress.sklearn_inside import changed, learner_of, with_learner

# What holds an entry a round, beside the trees themselves.
_OF_ADABOOST = ("estimators_", "estimator_weights_", "estimator_errors_")
_OF_GRADIENT = ("estimators_", "train_score_", "oob_improvement_", "oob_scores_")
# These begin with the score before the first round, where they were kept at all.
_OF_HISTOGRAMS = ("train_score_", "validation_score_")


class SklearnRounds:
    """Gradient boosting, with and without histograms, and AdaBoost."""

    def n_rounds(self, form: Form) -> int:
        """Return how many rounds there are; 0 where the model is not boosted."""
        learner = learner_of(form)
        if isinstance(learner, BaseHistGradientBoosting):
            return len(learner._predictors)  # noqa: SLF001  # no public way
        if isinstance(learner, BaseGradientBoosting | AdaBoostClassifier | AdaBoostRegressor):
            return len(learner.estimators_)
        return 0

    def first(self, form: Form, rounds: int) -> Form:
        """Return the form with its first rounds alone; its recipe then asks for as many."""
        learner = learner_of(form)
        if isinstance(learner, BaseHistGradientBoosting):
            kept = _cut(learner, _OF_HISTOGRAMS, rounds + 1)
            kept |= {"_predictors": learner._predictors[:rounds], "max_iter": rounds}  # noqa: SLF001  # no public way
        elif isinstance(learner, BaseGradientBoosting):
            kept = _cut(learner, _OF_GRADIENT, rounds)
            kept |= {"n_estimators": rounds, "n_estimators_": rounds}
        else:
            kept = _cut(learner, _OF_ADABOOST, rounds) | {"n_estimators": rounds}
        return with_learner(form, changed(learner, **kept))


def _cut(learner: Any, names: tuple[str, ...], length: int) -> dict[str, Any]:
    return {name: vars(learner)[name][:length] for name in names if name in vars(learner)}
