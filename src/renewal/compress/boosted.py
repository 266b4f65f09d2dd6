"""The model of a boosting library in a form, whichever class the library gave it."""

from __future__ import annotations

from renewal.compress.form import Form
from renewal.models.boosters_library import Boosted


def boosted_of(form: Form) -> Boosted:
    """Return a form's model as its adapter stores it.

    Parameters
    ----------
    form : Form
        Of the adapter lightgbm or xgboost; an estimator of the library's own is written and
        read once.
    """
    if isinstance(form.estimator, Boosted):
        return form.estimator
    stored: Boosted = form.runs.load(form.runs.dump(form.estimator))
    return stored
