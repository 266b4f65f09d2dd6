"""Ready-made students of scikit-learn, from large to small: unfitted recipes for a signature.

Each takes the columns as they are: texts become codes, columns of 0 and 1, or weights of
words; and gaps are filled, but for histogram boosting, which knows what to do with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from renewal.core.spec import Signature
from renewal.models.task import Classes

# Histogram boosting and its binning know at most so many values of a column of codes.
_CATEGORIES = 200


def boosting(signature: Signature, classes: Classes, size: float) -> Any:
    """Return histogram boosting: 200 rounds at size 1, with smaller trees where it is small.

    A round is a tree for each class, so that many classes get fewer rounds: about 600 trees
    at size 1, however many classes there are.

    Parameters
    ----------
    signature : Signature
        Columns of numbers, booleans and texts.
    classes : tuple
        Of the task; empty for a regression.
    size : float in (0, 1]
        1 is the largest student.

    Examples
    --------
    >>> from renewal.core.spec import Field
    >>> boosting(Signature((Field("hour", "float"),)), ("in time", "late"), 0.1).max_iter
    20
    """
    n_trees = len(classes) if len(classes) > 2 else 1
    n_rounds = max(1, round(200 * size * min(1.0, 3.0 / n_trees)))
    shape = {
        "max_iter": n_rounds,
        "max_leaf_nodes": max(4, round(31 * size**0.5)),
        # Few rounds must each go further.
        "learning_rate": min(0.5, max(0.1, 8.0 / n_rounds)),
        # It would hold rows back by class, and stop by chance.
        "early_stopping": False,
    }
    learner = (
        HistGradientBoostingClassifier(**shape)
        if classes
        else HistGradientBoostingRegressor(**shape)
    )
    return _behind(_coded(signature, fill=False), learner)


def forest(signature: Signature, classes: Classes, size: float) -> Any:
    """Return a random forest: 64 trees of 512 leaves at size 1, 7 of 6 at size 0.01.

    Parameters
    ----------
    signature, classes, size
        As of `boosting`.
    """
    shape = {
        "n_estimators": max(3, round(64 * size**0.5)),
        "max_leaf_nodes": max(4, round(512 * size)),
        "min_samples_leaf": 2,
    }
    learner = RandomForestClassifier(**shape) if classes else RandomForestRegressor(**shape)
    return _behind(_coded(signature, fill=True), learner)


def tree(signature: Signature, classes: Classes, size: float) -> Any:
    """Return a single tree: 2,048 leaves at size 1, 20 at size 0.01.

    Parameters
    ----------
    signature, classes, size
        As of `boosting`.
    """
    leaves = max(2, round(2048 * size))
    learner = (
        DecisionTreeClassifier(max_leaf_nodes=leaves)
        if classes
        else DecisionTreeRegressor(max_leaf_nodes=leaves)
    )
    return _behind(_coded(signature, fill=True), learner)


def linear(signature: Signature, classes: Classes, size: float) -> Any:  # noqa: ARG001  # every student is given one
    """Return logistic regression, or ridge regression of numbers.

    Texts become columns of 0 and 1. The size changes nothing: it is small anyway, and rare
    texts in one column would not survive a conversion to ONNX (skl2onnx 1.20).

    Parameters
    ----------
    signature, classes, size
        As of `boosting`.
    """
    words = OneHotEncoder(handle_unknown="ignore")
    columns = _numbers_scaled(signature)
    if texts := _texts(signature):
        columns.append(("texts", words, texts))
    return _behind(ColumnTransformer(columns), _weighed(classes))


def text_linear(signature: Signature, classes: Classes, size: float) -> Any:
    """Return logistic or ridge regression on the words of texts, and on the numbers beside.

    The weights of words and of pairs of words (tf-idf): 20,000 of each column at size 1, the
    most frequent ones. A gap among texts is refused: there are no words in it.

    Parameters
    ----------
    signature, classes, size
        As of `boosting`.
    """
    columns = _numbers_scaled(signature)
    for at, name in enumerate(_texts(signature)):
        words = TfidfVectorizer(
            ngram_range=(1, 2),
            max_features=max(20, round(20_000 * size)),
            sublinear_tf=True,
            # Words of one letter count; and single precision halves the bytes.
            token_pattern=r"(?u)\b\w+\b",  # noqa: S106  # a pattern of words
            dtype=np.float32,
        )
        columns.append((f"words_{at}", words, name))
    return _behind(ColumnTransformer(columns), _weighed(classes, strength=10.0))


def _behind(columns: Any, learner: Any) -> Any:
    return learner if columns is None else Pipeline([("columns", columns), ("learner", learner)])


def _weighed(classes: Classes, *, strength: float = 1.0) -> Any:
    if not classes:
        return Ridge(alpha=1.0 / strength)
    return LogisticRegression(C=strength, max_iter=1000, tol=1e-3)


def _coded(signature: Signature, *, fill: bool) -> ColumnTransformer | None:
    """Return what makes numbers of all columns; None: they are numbers that may have gaps."""
    texts = _texts(signature)
    numbers = _numbers(signature)
    if not texts and not fill:
        return None
    columns: list[tuple[str, Any, Any]] = []
    if numbers:
        filled = SimpleImputer(strategy="median", keep_empty_features=True)
        columns.append(("numbers", filled if fill else "passthrough", numbers))
    if texts:
        codes = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=-1,
            # A code, not NaN: converted graphs read NaN among texts otherwise.
            encoded_missing_value=-2,
            max_categories=_CATEGORIES,
        )
        columns.append(("texts", codes, texts))
    return ColumnTransformer(columns)


def _numbers_scaled(signature: Signature) -> list[tuple[str, Any, Any]]:
    numbers = _numbers(signature)
    scaled = Pipeline(
        [
            ("filled", SimpleImputer(strategy="median", keep_empty_features=True)),
            ("scaled", StandardScaler()),
        ]
    )
    return [("numbers", scaled, numbers)] if numbers else []


def _texts(signature: Signature) -> list[str]:
    return [each.name for each in signature.fields if each.kind == "string"]


def _numbers(signature: Signature) -> list[str]:
    return [each.name for each in signature.fields if each.kind in {"float", "int", "bool"}]
