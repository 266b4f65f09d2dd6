"""How rows go into a River learner, and what comes out of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from river import rules

from renewal.core.errors import Invalid, RenewalError
from renewal.models.contract import Weights
from renewal.models.labels import Labels, sorted_classes
from renewal.models.river_model import RiverModel
from renewal.models.river_parts import last_of, parts_of
from renewal.models.river_rows import demand_frame, dictionaries
from renewal.models.task import Classes, Scores

_WRONG_ROWS = (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError)


def knowing(model: RiverModel, labels: Labels, *, who: str) -> RiverModel:
    """Return the model with the classes that it will know after these labels.

    A learner of two classes reads every label as true or false, and takes a third class for
    one of the two without a word.

    Raises
    ------
    Invalid
        When it tells two classes apart, and these labels make it another number.
    """
    if not model.is_classifier:
        return model
    classes = sorted_classes(np.array([*model.classes, *labels.tolist()], dtype=object))
    if not model.is_multiclass and len(classes) != 2:
        shown = ", ".join(map(repr, classes[:5])) + (", ..." if len(classes) > 5 else "")
        raise Invalid(
            who,
            needs=f"labels of two classes, which {last_of(model.learner)} tells apart",
            came=f"{len(classes)}: {shown}" if classes else "none",
            todo="Put multiclass.OneVsRestClassifier(...) around it, or take a learner of "
            "any number of classes, such as tree.HoeffdingTreeClassifier.",
            classes=tuple(label for label in classes if label not in model.classes),
        )
    return replace(model, classes=classes)


def learn(
    model: RiverModel, features: pa.Table, labels: Labels, weights: Weights | None, *, who: str
) -> None:
    """Let the learner of a model go through rows once, in their order; it is changed."""
    targets: list[Any] = labels.tolist()
    if model.is_classifier and not model.is_multiclass:
        targets = [label == model.classes[1] for label in targets]
    if model.columns:
        demand_columns(model, features, who=who)
        features = features.select(list(model.columns))
    if model.rows_at_once == 1:
        tried(who, _learn_each, model.learner, features, targets, weights)
        return
    if weights is not None or not hasattr(model.learner, "learn_many"):
        raise Invalid(
            who,
            needs="a learner with learn_many, and no weights, for several rows at once",
            came=f"{last_of(model.learner)}" + (" and weights" if weights is not None else ""),
            todo="Take RiverModel(learner, rows_at_once=1).",
        )
    frame = demand_frame(features, who=who)
    for start in range(0, len(targets), model.rows_at_once):
        stop = start + model.rows_at_once
        rows, some = frame.iloc[start:stop], pd.Series(targets[start:stop])
        tried(who, model.learner.learn_many, rows.reset_index(drop=True), some)


def demand_storable(model: RiverModel, *, who: str) -> None:
    """Raise `Invalid` on what would be another learner after it was stored.

    AMRules finds its rules by their addresses in memory: a copy of it, or a pickle, has lost
    them as soon as it changes one.
    """
    for _, part in parts_of(model.untrained):
        if isinstance(part, rules.AMRules):
            raise Invalid(
                who,
                needs="a learner that is the same after it was stored",
                came=f"{part}, which keeps its rules by their addresses in memory",
                todo="Take another learner, such as tree.HoeffdingTreeRegressor.",
            )


def demand_weights(model: RiverModel, *, who: str) -> None:
    """Raise `Invalid` unless the learner weighs rows."""
    last = last_of(model.learner)
    if "w" not in inspect.signature(last.learn_one).parameters:
        raise Invalid(
            who,
            needs="a learner that can weigh rows",
            came=f"{last}, whose learn_one has no w",
            todo="Leave weights, half_life and balance out, or take another learner.",
        )


def demand_columns(model: RiverModel, features: pa.Table, *, who: str) -> None:
    """Raise `Invalid` when a column of the fit is missing: River would go on without it."""
    missing = [name for name in model.columns if name not in features.column_names]
    if missing:
        raise Invalid(
            who,
            needs=f"the columns {', '.join(model.columns)}",
            came=f"none called {', '.join(map(repr, missing))}",
            todo="Send every column of the signature.",
            columns=missing,
        )


def values_of(learner: Any, features: pa.Table, frame: Any | None) -> Scores:
    """Return the value of each row, of shape (n_rows,)."""
    if frame is not None:
        return np.asarray(learner.predict_many(frame), dtype=np.float64)
    return np.array([float(learner.predict_one(row)) for row in dictionaries(features)])


def shares_of(learner: Any, features: pa.Table, frame: Any | None, keys: Classes) -> Scores:
    """Return the probability of each class in the order of `keys`; each row sums to one."""
    if frame is not None:
        found = learner.predict_proba_many(frame)
        shares = np.column_stack(
            [np.asarray(found[key]) if key in found else np.zeros(len(frame)) for key in keys]
        )
    else:
        answers = map(learner.predict_proba_one, dictionaries(features))
        shares = np.array([[answer.get(key, 0.0) for key in keys] for answer in answers])
    shares = np.asarray(shares, dtype=np.float64)
    sums = shares.sum(axis=1, keepdims=True)
    even = np.full_like(shares, 1.0 / len(keys))
    np.divide(shares, sums, out=even, where=~(sums <= 0))
    return even


def tried(who: str, verb: Callable[..., Any], *inputs: Any) -> Any:
    """Call River; what it says of rows that it does not take becomes `Invalid`.

    NumPy's warnings are kept quiet: whether scores are numbers is looked at afterwards.
    """
    try:
        with np.errstate(all="ignore"):
            return verb(*inputs)
    except (RenewalError, NotImplementedError):
        raise
    except _WRONG_ROWS as error:
        raise Invalid(
            who,
            needs="rows, or parameters, that the learner takes",
            came=f"{type(error).__name__}: {error}",
            todo="Compare the rows with those of the fit; put a OneHotEncoder before a learner "
            "that takes no texts.",
        ) from error


def _learn_each(
    learner: Any, features: pa.Table, targets: list[Any], weights: Weights | None
) -> None:
    if weights is None:
        for row, target in zip(dictionaries(features), targets, strict=True):
            learner.learn_one(row, target)
        return
    for row, target, weight in zip(dictionaries(features), targets, weights.tolist(), strict=True):
        learner.learn_one(row, target, w=weight)
